import { expect, test } from "vitest";
import { Fixture } from "./fixture.ts";

const at = new Fixture({ setup: "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)" });

async function endStream(how: "pg_cancel_backend" | "pg_terminate_backend"): Promise<void> {
  await at.pipeline.sql(`SELECT ${how}(pid) FROM pg_stat_activity WHERE backend_type = 'walsender'`);
}

test("a stream that somebody cancels, as scripts do with what runs long, goes on", async () => {
  await at.pipeline.untilCopied("public.t");
  const since = at.pipeline.lines.length;
  await endStream("pg_cancel_backend");
  await at.pipeline.until("the next stream", () => at.pipeline.linesOf("started", undefined, since)[0]);
  await at.pipeline.sql("INSERT INTO t VALUES (2)");
  expect(await at.pipeline.differences("public.t")).toEqual([]);
});

test("a start waits for whoever has locked a catalog that it reads", async () => {
  const holder = await at.server.connect({ database: "app" });
  const since = at.pipeline.lines.length;
  const inVain = (): boolean =>
    at.pipeline
      .linesOf("the pipeline starts again", undefined, since)
      .some((line) => JSON.stringify(line["err"]).includes("lock timeout"));
  try {
    await holder.query("BEGIN; LOCK TABLE pg_catalog.pg_publication");
    await endStream("pg_terminate_backend");
    await at.pipeline.until("a start in vain", inVain);
  } finally {
    await holder.end();
  }
  await at.pipeline.until("the stream", () => at.pipeline.linesOf("started", undefined, since)[0]);
});
