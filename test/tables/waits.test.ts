import type { Client } from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startPostgres, type EmbeddedPostgres } from "../support/postgres.ts";
import { Pipeline, type LogLine } from "./pipeline.ts";

let server: EmbeddedPostgres;
let application: Client;
let pipeline: Pipeline;
beforeAll(async () => {
  server = await startPostgres({ settings: { max_replication_slots: "2" } });
  const database = await server.createDatabase("app");
  application = await server.connect({ database });
  await application.query("SET application_name = 'nightly report'");
  await application.query("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)");
  await application.query("BEGIN; INSERT INTO t VALUES (2)");
  pipeline = await Pipeline.start({ server, database });
});
afterAll(async () => {
  await application.end();
  await pipeline.destroy();
  await server.destroy();
});

/** The notice as the log has it: title, and for whom it waits. */
async function waiting(title: string, since: number): Promise<LogLine> {
  return pipeline.until(`the notice: ${title}`, () =>
    pipeline.lines.slice(since).find(({ msg, notice }) => msg === title && notice !== undefined),
  );
}

async function holder(): Promise<string> {
  const { rows } = await application.query<{ pid: number }>("SELECT pg_backend_pid() AS pid");
  return `pid ${rows[0]?.pid} (nightly report, `;
}

test("the slot's creation waits for a transaction that writes, says for which, and goes on at its end", async () => {
  const notice = await waiting("slot creation waits", 0);
  expect(JSON.stringify(notice)).toContain(await holder());
  expect(JSON.stringify(notice)).toContain("pg_terminate_backend");
  expect(pipeline.linesOf("started")).toEqual([]);
  await application.query("COMMIT");
  await pipeline.untilCopied("public.t");
});

test("so does the consistent point of a later copy", async () => {
  const since = pipeline.lines.length;
  await application.query("BEGIN; INSERT INTO t VALUES (3)");
  await pipeline.sql("CREATE TABLE late (id int PRIMARY KEY)");
  expect(JSON.stringify(await waiting("slot creation waits", since))).toContain(await holder());
  await application.query("COMMIT");
  await pipeline.untilCopied("public.late");
});

test("where all slots are taken a copy waits and says so, and the stream goes on", async () => {
  const since = pipeline.lines.length;
  // A copy that is about to end has the last one yet.
  await pipeline.until("the last slot", async () =>
    pipeline.sql("SELECT pg_create_physical_replication_slot('others')").catch(() => null),
  );
  await pipeline.sql("CREATE TABLE later (id int PRIMARY KEY); INSERT INTO later VALUES (1)");
  expect(JSON.stringify(await waiting("copies wait", since))).toContain("max_replication_slots");
  const told = pipeline.lines.length;
  await pipeline.sql("INSERT INTO t VALUES (4)");
  await pipeline.until("the stream to go on", () => pipeline.linesOf("staged", undefined, told)[0]);
  expect(pipeline.linesOf("table copied", "public.later")).toEqual([]);
  await pipeline.sql("SELECT pg_drop_replication_slot('others')");
  await pipeline.untilCopied("public.later");
  await pipeline.until("the notice's end", () => pipeline.linesOf("over: copies wait", undefined, since)[0]);
  expect(await pipeline.differences()).toEqual([]);
});

test("a copy that has begun waits for a lock, and says who has it", async () => {
  await pipeline.drain();
  await application.query("ALTER TABLE t ADD COLUMN v text");
  await application.query(
    "INSERT INTO t SELECT i, repeat(md5(i::text), 30) FROM generate_series(10, 20000) i",
  );
  await application.query("CREATE TABLE slow (LIKE t INCLUDING ALL); INSERT INTO slow SELECT * FROM t");
  const since = pipeline.lines.length;
  await pipeline.start({
    SNAPSHOT_WORKERS: "1",
    SNAPSHOT_MAX_BYTES_PER_SECOND: "8MiB",
    SNAPSHOT_RANGE_BYTES: "1MiB",
  });
  await pipeline.until("its first range", () => pipeline.linesOf("copied", "public.slow", since)[0]);
  await application.query("BEGIN; LOCK TABLE slow IN ACCESS EXCLUSIVE MODE");
  const notice = JSON.stringify(await waiting("lock waits", since));
  expect(notice).toContain("public.slow");
  expect(notice).toContain(await holder());
  expect(pipeline.linesOf("table copied", "public.slow", since)).toEqual([]);
  await application.query("COMMIT");
  await pipeline.untilCopied("public.slow", since);
  expect(await pipeline.differences()).toEqual([]);
});
