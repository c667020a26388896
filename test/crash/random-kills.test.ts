import { setTimeout as delay } from "node:timers/promises";
import { expect, test } from "vitest";
import type { Daemon } from "../support/daemon.ts";
import { newSeed, Random } from "../support/random.ts";
import type { StageKind } from "../support/stage.ts";
import { createTables, Workload } from "../support/workload.ts";
import { sceneFor, type Scene } from "./scene.ts";

/** Kills on each kind of stage; CI's are twice as many in all. */
const ROUNDS = Number(process.env["CRASH_ROUNDS"] ?? 12);

const newScene = sceneFor();

/** No two starts have the same settings: what is recorded must not depend on them. */
function settingsOf(random: Random): Record<string, string> {
  return {
    PGSTAGE_SNAPSHOT_WORKERS: String(1 + random.below(4)),
    PGSTAGE_SNAPSHOT_RANGE_BYTES: random.pick(["64KiB", "128KiB", "1MiB"]),
    PGSTAGE_SNAPSHOT_MAX_AGE: random.pick(["1s", "30m"]),
    // A slow copy is one that is killed.
    PGSTAGE_SNAPSHOT_MAX_BYTES_PER_SECOND: random.pick(["200KiB", "1MiB", "0"]),
    PGSTAGE_FILE_MAX_BYTES: random.pick(["64KiB", "1MiB"]),
    PGSTAGE_FLUSH_INTERVAL: random.pick(["100ms", "300ms", "1s"]),
    PGSTAGE_FORMAT_COMPRESSION: random.pick(["gzip", "none"]),
  };
}

/** Lets it live for a random while, counted from its start or from when it has the slot. */
async function killAtRandom(daemon: Daemon, random: Random): Promise<void> {
  if (random.chance(0.7)) await Promise.race([daemon.line("started"), daemon.exited]);
  await delay(random.below(random.pick([100, 600, 2_000])));
  expect(daemon.isRunning, daemon.story()).toBe(true);
  await daemon.kill();
}

async function killOften(scene: Scene, random: Random): Promise<void> {
  await createTables(scene.url);
  await using workload = new Workload({ url: scene.url, random: random.fork() });
  for (let round = 1; round <= ROUNDS; round++) {
    await killAtRandom(await scene.daemon(settingsOf(random)), random);
    expect(await scene.stage.changedKeys()).toEqual([]);
  }
  const last = await scene.daemon();
  await workload.stop();
  const verdict = await scene.drainAndProve(last);
  console.log(
    `${ROUNDS} kills, ${workload.commits} commits, ${workload.rollbacks} rollbacks, ${workload.ddl} changes of tables, ${verdict.stage.files} files, ${verdict.stage.rows} rows`,
  );
  expect(workload.commits).toBeGreaterThan(ROUNDS);
}

for (const kind of ["file", "s3"] as const satisfies readonly StageKind[]) {
  const seed = newSeed();
  test(
    `kill -9 at random moments under a workload loses nothing on ${kind}:// (CRASH_SEED=${seed})`,
    { timeout: 60_000 + ROUNDS * 20_000 },
    async () => {
      await using scene = await newScene(kind);
      await killOften(scene, new Random(seed));
    },
  );
}
