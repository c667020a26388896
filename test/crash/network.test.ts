import { setTimeout as delay } from "node:timers/promises";
import { expect, test } from "vitest";
import type { Daemon } from "../support/daemon.ts";
import { startFaultProxy, type FaultProxy } from "../support/fault-proxy.ts";
import { newSeed, Random } from "../support/random.ts";
import { createTables, Workload } from "../support/workload.ts";
import { sceneFor, type Scene } from "./scene.ts";

const newScene = sceneFor();

/** The database's address, through a proxy. */
function through(proxy: FaultProxy, scene: Scene): string {
  const url = new URL(scene.url);
  url.port = String(proxy.port);
  return url.href;
}

const stagedIn = async (daemon: Daemon): Promise<number> => (await daemon.status())?.totals.batches ?? 0;

test(
  "a network that cuts, tears and delays is lived with while we copy and stream",
  { timeout: 180_000 },
  async () => {
    await using scene = await newScene("file");
    const random = new Random(newSeed());
    await createTables(scene.url);
    await using workload = new Workload({ url: scene.url, random: random.fork() });
    await using proxy = await startFaultProxy(scene.server.port);
    const daemon = await scene.daemon(
      { PGSTAGE_SNAPSHOT_MAX_BYTES_PER_SECOND: "300KiB" },
      through(proxy, scene),
    );
    const faults = [
      () => proxy.cut("rst"),
      () => proxy.cut("fin"),
      () => proxy.cutAfterBytes(random.below(200_000)),
      () => {
        proxy.latencyMs = random.below(200);
      },
      () => {
        proxy.mode = "refuse";
        proxy.cut("rst");
      },
    ];
    for (const fault of [...faults, ...faults]) {
      await daemon.until(({ state }) => state === "copying" || state === "streaming", "at work");
      await delay(random.below(800));
      fault();
      await delay(random.below(800));
      proxy.mode = "pass";
      proxy.latencyMs = 0;
    }
    expect(proxy.accepted).toBeGreaterThan(10);
    await workload.stop();
    await scene.drainAndProve(daemon);
  },
);

test("a connection that is only half there is noticed, and made again", { timeout: 180_000 }, async () => {
  await using scene = await newScene("file");
  await scene.sql("CREATE TABLE t (id int PRIMARY KEY)");
  await using proxy = await startFaultProxy(scene.server.port);
  const daemon = await scene.daemon({}, through(proxy, scene));
  await scene.settled(daemon);
  const before = await stagedIn(daemon);
  proxy.forget();
  await scene.sql("INSERT INTO t VALUES (1)");
  const startedAt = performance.now();
  await daemon.until(({ totals }) => totals.batches > before, "streaming over a new connection", 90_000);
  console.log(`noticed and mended after ${Math.round((performance.now() - startedAt) / 1000)} s`);
  await scene.drainAndProve(daemon);
});

test(
  "connections that are only half there while we copy are made again, and the copy goes on",
  { timeout: 180_000 },
  async () => {
    await using scene = await newScene("file");
    await scene.sql(
      "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT i, repeat(md5(i::text), 8) FROM generate_series(1, 8000) AS i",
    );
    await using proxy = await startFaultProxy(scene.server.port);
    const daemon = await scene.daemon(
      { PGSTAGE_SNAPSHOT_MAX_BYTES_PER_SECOND: "200KiB" },
      through(proxy, scene),
    );
    await daemon.line("copied");
    const before = daemon.lines.length;
    proxy.forget();
    expect(await daemon.line("copying", before)).toMatchObject({ table: "public.t", resumed: true });
    await scene.drainAndProve(daemon);
  },
);

test("a network that is gone for a while is waited for", { timeout: 180_000 }, async () => {
  await using scene = await newScene("file");
  await scene.sql("CREATE TABLE t (id int PRIMARY KEY)");
  await using proxy = await startFaultProxy(scene.server.port);
  const daemon = await scene.daemon({}, through(proxy, scene));
  await scene.settled(daemon);
  proxy.mode = "refuse";
  proxy.cut("rst");
  await scene.sql("INSERT INTO t VALUES (1)");
  await daemon.line(({ msg }) => msg === "the pipeline starts again");
  await delay(3_000);
  proxy.mode = "pass";
  await scene.drainAndProve(daemon);
});
