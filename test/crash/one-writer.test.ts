import { expect, test } from "vitest";
import type { Daemon } from "../support/daemon.ts";
import { documentsOf, until } from "./documents.ts";
import { sceneFor, type Scene } from "./scene.ts";

const newScene = sceneFor();

async function leaderAndStandby(scene: Scene): Promise<{ leader: Daemon; standby: Daemon }> {
  await scene.sql("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT generate_series(1, 50)");
  const leader = await scene.daemon();
  await scene.settled(leader);
  const standby = await scene.daemon();
  await standby.untilState("standby");
  return { leader, standby };
}

async function secondsUntilWriting(daemon: Daemon): Promise<number> {
  const startedAt = performance.now();
  await daemon.line("started");
  return (performance.now() - startedAt) / 1000;
}

test("a standby publishes nothing, and takes over within 15 s of a death", async () => {
  await using scene = await newScene("s3");
  const { leader, standby } = await leaderAndStandby(scene);
  await scene.sql("INSERT INTO t VALUES (100)");
  await leader.until(({ lag }) => lag.open_rows === 0, "staged");
  expect(standby.lines.some(({ msg }) => msg === "staged" || msg === "started")).toBe(false);
  await leader.kill();
  expect(await secondsUntilWriting(standby)).toBeLessThan(15);
  await scene.sql("INSERT INTO t VALUES (101)");
  await scene.drainAndProve(standby);
});

test("a standby takes over within 5 s of a clean exit, and back again: a rolling deploy", async () => {
  await using scene = await newScene("file");
  let { leader, standby } = await leaderAndStandby(scene);
  for (let i = 0; i < 2; i++) {
    await scene.sql(`INSERT INTO t VALUES (${200 + i})`);
    const waiting = secondsUntilWriting(standby);
    await leader.drain();
    expect(await waiting).toBeLessThan(5);
    leader = standby;
    standby = await scene.daemon();
    await standby.untilState("standby");
  }
  standby.signal("SIGTERM");
  expect((await standby.exited).code).toBe(0);
  await scene.drainAndProve(leader);
});

/** Ends the connection that holds the slot, as the server does when it thinks that we are gone. */
async function endWalsender(scene: Scene): Promise<void> {
  await scene.sql(
    "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = 'pgstage' AND active",
  );
  await until(
    () => scene.slot(),
    (slot) => slot?.active === false,
  );
}

for (const kind of ["s3", "file"] as const) {
  test(`a daemon that slept while another one took over publishes nothing of its own on ${kind}://`, async () => {
    await using scene = await newScene(kind);
    await scene.sql(
      "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT generate_series(1, 50)",
    );
    // A batch that is full of rows and due the moment it wakes up.
    const zombie = await scene.daemon({ PGSTAGE_FLUSH_INTERVAL: "2s" });
    await scene.settled(zombie);
    await scene.sql("UPDATE t SET v = 'before'");
    await zombie.until(({ lag }) => lag.open_rows > 0, "busy");
    zombie.signal("SIGSTOP");
    await endWalsender(scene);
    const next = await scene.daemon();
    await next.line("started");
    await scene.sql("INSERT INTO t VALUES (300)");
    await scene.settled(next);
    const written = (await documentsOf(scene.stage.store)).length;
    const said = zombie.lines.length;
    zombie.signal("SIGCONT");
    await zombie.untilState("standby");
    expect(zombie.lines.slice(said).some(({ msg }) => msg === "staged")).toBe(false);
    await scene.sql("INSERT INTO t VALUES (301)");
    await next.until(({ lag }) => lag.open_rows === 0, "staged");
    const documents = await documentsOf(scene.stage.store);
    expect(documents.length).toBeGreaterThanOrEqual(written);
    // And when its successor dies, it is the one that goes on.
    await next.kill();
    await zombie.line("started", said);
    await scene.drainAndProve(zombie);
  });
}

test("a daemon that slept between its record and the publication ends with what its successor published", async () => {
  await using scene = await newScene("s3");
  const { s3 } = scene.stage;
  await scene.sql("CREATE TABLE t (id int PRIMARY KEY, v text)");
  const zombie = await scene.daemon();
  await scene.settled(zombie);
  let release = (): void => {};
  const hold = new Promise<void>((resolve) => {
    release = resolve;
  });
  const held = s3?.faults.add({ op: "PutObject", key: /\.csv\.gz$/, hold });
  await scene.sql("INSERT INTO t VALUES (1)");
  await held?.met;
  zombie.signal("SIGSTOP");
  await endWalsender(scene);
  const next = await scene.daemon();
  await next.line("started");
  release();
  zombie.signal("SIGCONT");
  await zombie.untilState("standby");
  await zombie.kill();
  await scene.drainAndProve(next);
});

test("three that start at once on nothing agree on who writes", async () => {
  await using scene = await newScene("s3");
  await scene.sql("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)");
  const both = await Promise.all([scene.daemon(), scene.daemon(), scene.daemon()]);
  const states = async (): Promise<string[]> =>
    Promise.all(
      both.map(async (one) => (await one.status())?.state ?? (one.isRunning ? "starting" : one.story())),
    );
  await until(
    states,
    (all) => all.filter((state) => state === "standby").length === 2 && all.includes("streaming"),
    60_000,
  );
  const found = await states();
  const leader = both[found.indexOf("streaming")];
  if (!leader) throw new Error("nobody streams");
  await scene.settled(leader);
  for (const one of both) if (one !== leader) await one.kill();
  await scene.drainAndProve(leader);
});
