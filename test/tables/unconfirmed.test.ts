import type { Client } from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startPostgres, type EmbeddedPostgres } from "../support/postgres.ts";
import { stagedRows } from "../support/values-csv.ts";
import { Pipeline } from "./pipeline.ts";

/** A value that is stored out of line. */
const BIG = "(SELECT string_agg(md5(random()::text), '') FROM generate_series(1, 125))";

let server: EmbeddedPostgres;
let application: Client;
let pipeline: Pipeline;
beforeAll(async () => {
  server = await startPostgres({ settings: { max_prepared_transactions: "2" } });
  const database = await server.createDatabase("app");
  application = await server.connect({ database });
  await application.query("CREATE TABLE t (k text PRIMARY KEY, big text)");
  pipeline = await Pipeline.start({ server, database });
  await pipeline.untilCopied("public.t");
});
afterAll(async () => {
  await application.end();
  await pipeline.destroy();
  await server.destroy();
});

async function synchronousStandby(name: string): Promise<void> {
  await pipeline.sql(`ALTER SYSTEM SET synchronous_standby_names = '${name}'`);
  await pipeline.sql("SELECT pg_reload_conf()");
  await pipeline.until("the setting", async () => {
    const [row] = await pipeline.sql<{ names: string }>("SHOW synchronous_standby_names");
    return row && Object.values(row)[0] === name;
  });
}

// The stream shows a commit as soon as its record is on disk; other sessions see it once the standby has it, too.
test.each([
  { what: "a commit", ends: ["COMMIT"] },
  { what: "a prepared commit", ends: ["PREPARE TRANSACTION 'p'", "COMMIT PREPARED 'p'"] },
])("values are read back when $what is visible, not before", async ({ ends }) => {
  const since = pipeline.lines.length;
  await application.query(`INSERT INTO t VALUES ('moves', ${BIG}), ('goes', ${BIG}) ON CONFLICT DO NOTHING`);
  await application.query("BEGIN");
  await application.query("DELETE FROM t WHERE k = 'goes'");
  await application.query("UPDATE t SET k = 'goes' WHERE k = 'moves'");
  for (const statement of ends.slice(0, -1)) await application.query(statement);
  await synchronousStandby("nobody");
  const committed = application.query(ends.at(-1) ?? "");
  await pipeline.until("the warning", () =>
    pipeline.lines
      .slice(since)
      .find(({ msg, table }) => msg.startsWith("a commit is not visible") && table === "public.t"),
  );
  await synchronousStandby("");
  await committed;
  expect(await pipeline.differences()).toEqual([]);
  const rows = await stagedRows(pipeline.directory, "public", "t");
  expect(rows.flatMap(({ unchanged }) => unchanged)).toEqual([]);
});
