import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from "vitest";
import { freePort } from "../../src/embedded/ports.ts";
import type { StatusJson } from "../../src/observe/status-json.ts";
import { Daemon, killDaemons } from "../support/daemon.ts";
import { startPostgres, type EmbeddedPostgres } from "../support/postgres.ts";
import { openDirectory, type TestStage } from "../support/stage.ts";
import { pgstage, settingsFor, type Outcome } from "./support.ts";

let server: EmbeddedPostgres;
let database: string;
let stage: TestStage;
beforeAll(async () => {
  server = await startPostgres();
});
afterAll(() => server.destroy());
beforeEach(async () => {
  database = await server.createDatabase();
  await server.sql("CREATE TABLE t (id int PRIMARY KEY)", [], { database });
  await server.sql("CREATE UNLOGGED TABLE fast (id int PRIMARY KEY)", [], { database });
  stage = await openDirectory();
});
afterEach(async () => {
  await killDaemons();
  await stage[Symbol.asyncDispose]();
  await server.sql("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots");
});

function status(args: readonly string[] = [], more: Record<string, string> = {}): Promise<Outcome> {
  return pgstage(["status", ...args], { ...settingsFor(server.url(database), stage), ...more });
}

async function json(more: Record<string, string> = {}): Promise<StatusJson & { code: number }> {
  const { code, out, err } = await status(["--json"], more);
  expect(err).toBe("");
  return { ...(JSON.parse(out) as StatusJson), code };
}

it("tells a pipeline's life: nothing yet, running, stopped, blocked", async () => {
  expect(await json()).toMatchObject({
    code: 0,
    state: "stopped",
    summary: "Nothing is staged yet: the stage has no log. `pgstage run` begins.",
  });

  const daemon = await Daemon.start({ source: server.url(database), stage: stage.env });
  await daemon.untilState("streaming");
  const running = await json();
  expect(running).toMatchObject({
    code: 0,
    state: "streaming",
    tables: [{ table: "public.t", phase: "copied" }],
  });
  expect(running.summary).toMatch(/^A daemon runs \(the server's process \d+ sends it changes\)\./);
  await daemon.drain();

  await server.sql("INSERT INTO t SELECT generate_series(1, 1000)", [], { database });
  const stopped = await json();
  expect(stopped).toMatchObject({ code: 0, state: "stopped", not_captured: [{ table: "public.fast" }] });
  expect(stopped.summary).toMatch(
    /^No daemon runs: nobody reads the slot pgstage, and WAL piles up at the source\. .* of WAL are not staged yet\. Start `pgstage run`\.$/,
  );
  expect(stopped.lag.lag_seconds).toBeNull();
  expect(stopped.lag.lag_bytes).toBeGreaterThan(0);
  expect(stopped.batches[0]?.file_count).toBeGreaterThan(0);
  const text = await status();
  expect(text.out).toMatch(/^stopped {2}No daemon runs/);
  expect(text.out).toMatch(/\npublic\.t +done/);
  expect(text.out).not.toContain("\u001b");

  await server.sql("SELECT pg_drop_replication_slot('pgstage')");
  const blocked = await json();
  expect(blocked).toMatchObject({ code: 3, state: "blocked" });
  expect(blocked.summary).toContain("slot pgstage is gone");
  expect(blocked.summary).toContain("pgstage resync --all");
});

it("asks the daemon itself where it answers, and no other pipeline's", async () => {
  const here = { PGSTAGE_HTTP_PORT: String(await freePort()) };
  const daemon = await Daemon.start({ source: server.url(database), stage: stage.env, settings: here });
  await daemon.line("table copied");
  const told = await json(here);
  expect(told).toMatchObject({ code: 0, flush_interval_seconds: 0.2 });
  expect((await json(here)).started_at).toBe(told.started_at);
  expect((await status([], here)).out).toMatch(/^(streaming|copying) {2}/);
  const other = await openDirectory();
  expect((await json({ ...here, ...other.env })).started_at).not.toBe(told.started_at);
  await other[Symbol.asyncDispose]();
  await daemon.drain();
});

it("works with the source down, with the stage gone, and without either", async () => {
  const daemon = await Daemon.start({ source: server.url(database), stage: stage.env });
  await daemon.untilState("streaming");
  await daemon.drain();
  const nowhere = { PGSTAGE_SOURCE_URL: "postgres://u:geheim@127.0.0.1:1/db" };
  const noSource = await json(nowhere);
  expect(noSource.summary).toBe(
    "The database does not answer, so whether a daemon runs cannot be told. The stage holds 1 table.",
  );
  expect(noSource.notices.map(({ id }) => id)).toContain("source-unreachable");
  expect(JSON.stringify(noSource)).not.toContain("geheim");
  const noStage = await json({ PGSTAGE_STAGE_URL: "file:///dev/null/stage" });
  expect(noStage.summary).toBe("No daemon runs, and the stage cannot be read: see the notice.");
  expect(noStage.notices.map(({ id }) => id)).toContain("store-failing");
  const neither = await json({ ...nowhere, PGSTAGE_STAGE_URL: "file:///dev/null/stage" });
  expect(neither.notices.map(({ id }) => id)).toEqual(
    expect.arrayContaining(["source-unreachable", "store-failing"]),
  );
});

it("tells a stage of snapshots", async () => {
  expect((await pgstage(["snapshot"], settingsFor(server.url(database), stage))).code).toBe(0);
  expect(await json()).toMatchObject({
    code: 0,
    state: "stopped",
    summary:
      "No slot: the stage holds a snapshot of 1 table. `pgstage run` begins a stream, `pgstage snapshot` takes the next one.",
  });
});
