import { setTimeout as delay } from "node:timers/promises";
import { expect, test } from "vitest";
import type { Daemon } from "../support/daemon.ts";
import { newSeed, Random } from "../support/random.ts";
import { createTables, Workload } from "../support/workload.ts";
import { sceneFor, type Scene } from "./scene.ts";

/** A fast shutdown waits for us to confirm what was sent: so it takes a moment, but not more. */
const FAST_MS = 6_000;

const newScene = sceneFor();

async function restart(scene: Scene, mode: "fast" | "immediate"): Promise<number> {
  const startedAt = performance.now();
  await scene.server.stop(mode);
  const tookMs = performance.now() - startedAt;
  await scene.server.start();
  return tookMs;
}

/** Streams again, and not what it was streaming before. */
async function streamsAgain(daemon: Daemon, scene: Scene): Promise<void> {
  await scene.settled(daemon);
  expect(daemon.isRunning).toBe(true);
}

test("a server that is stopped fast while we are idle is down in a moment, and back with us by itself", async () => {
  await using scene = await newScene("file");
  await scene.sql("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)");
  const daemon = await scene.daemon();
  await scene.settled(daemon);
  for (let i = 0; i < 3; i++) {
    expect(await restart(scene, "fast")).toBeLessThan(FAST_MS);
    await streamsAgain(daemon, scene);
  }
  await scene.drainAndProve(daemon);
});

test("a server that is stopped fast with an hour's batch open gets it confirmed before it is down", async () => {
  await using scene = await newScene("file");
  await scene.sql("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)");
  const daemon = await scene.daemon({ PGSTAGE_FLUSH_INTERVAL: "1h" });
  await scene.settled(daemon, { isFlushing: false });
  await scene.sql("INSERT INTO t SELECT generate_series(2, 1000)");
  await daemon.until(({ lag }) => lag.open_rows > 0, "busy");
  expect(await restart(scene, "fast")).toBeLessThan(FAST_MS);
  await scene.settled(daemon, { isFlushing: false });
  await daemon.drain();
  await scene.drainAndProve(await scene.daemon());
});

for (const mode of ["fast", "immediate"] as const) {
  const seed = newSeed();
  test(
    `a server restarted ${mode} while we copy and stream loses nothing (CRASH_SEED=${seed})`,
    { timeout: 240_000 },
    async () => {
      await using scene = await newScene("file");
      const random = new Random(seed);
      await createTables(scene.url);
      await using workload = new Workload({ url: scene.url, random: random.fork() });
      const daemon = await scene.daemon({ PGSTAGE_SNAPSHOT_MAX_BYTES_PER_SECOND: "300KiB" });
      for (let i = 0; i < 4; i++) {
        await daemon.until(({ state }) => state === "copying" || state === "streaming", "at work");
        await delay(random.below(1500));
        const tookMs = await restart(scene, mode);
        expect(tookMs).toBeLessThan(FAST_MS);
      }
      await workload.stop();
      await scene.drainAndProve(daemon);
      expect(workload.commits).toBeGreaterThan(50);
    },
  );
}

test("a server that dies while we drain leaves rows for the next start, and does not count as drained", async () => {
  await using scene = await newScene("s3");
  await scene.sql("CREATE TABLE t (id int PRIMARY KEY)");
  const daemon = await scene.daemon({ PGSTAGE_FLUSH_INTERVAL: "1h" });
  await daemon.untilState("streaming");
  await scene.sql("INSERT INTO t SELECT generate_series(1, 1000)");
  await daemon.until(({ lag }) => lag.open_rows > 0, "busy");
  const fault = scene.stage.s3?.faults.add({ op: "PutObject", key: /_pgstage\/packs\//, silent: true });
  daemon.signal("SIGTERM");
  await fault?.met;
  await scene.server.stop("immediate");
  expect((await daemon.exited).code).toBe(1);
  expect(daemon.said()).toContain("not drained");
  await scene.server.start();
  await scene.drainAndProve(await scene.daemon());
});
