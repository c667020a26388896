import type { Client } from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startPostgres, type EmbeddedPostgres } from "../support/postgres.ts";
import { Pipeline } from "./pipeline.ts";

let server: EmbeddedPostgres;
let application: Client;
let pipeline: Pipeline;
beforeAll(async () => {
  server = await startPostgres();
  const database = await server.createDatabase("app");
  application = await server.connect({ database });
  await application.query("SET application_name = 'loader'");
  await application.query(
    `CREATE TABLE old (id int PRIMARY KEY, v int); INSERT INTO old VALUES (1, 1);
     CREATE TABLE held (id int PRIMARY KEY)`,
  );
  pipeline = await Pipeline.start({ server, database });
  await pipeline.untilCopied("public.old");
  await pipeline.untilCopied("public.held");
});
afterAll(async () => {
  await application.end();
  await pipeline.destroy();
  await server.destroy();
});

/** Beside a lock on one table: another one is found, and one that lost its key takes the application's updates. */
async function expectOthersServed(name: string): Promise<void> {
  await pipeline.sql(`CREATE TABLE ${name} (id int PRIMARY KEY, v int); INSERT INTO ${name} VALUES (1, 1)`);
  // Its copy waits for the transaction that has the lock, as every consistent point does.
  await pipeline.until("the table", () => pipeline.linesOf("table found", `public.${name}`)[0]);
  await pipeline.sql(`ALTER TABLE ${name} DROP CONSTRAINT ${name}_pkey`);
  await pipeline.until("updates that are not refused", () =>
    pipeline.sql(`UPDATE ${name} SET v = v + 1 RETURNING v`).catch(() => null),
  );
}

test("a captured table that somebody has locked keeps no other table waiting", async () => {
  await application.query("BEGIN; LOCK TABLE held IN ACCESS EXCLUSIVE MODE");
  await expectOthersServed("beside_captured");
  await application.query("COMMIT");
  await pipeline.untilCopied("public.beside_captured");
});

test.each([{ mode: "SHARE" }, { mode: "ACCESS EXCLUSIVE" }])(
  "nor does a new one that is locked in $mode mode from its first moment",
  async ({ mode }) => {
    const name = mode.toLowerCase().replace(" ", "_");
    await application.query("BEGIN");
    await pipeline.sql(`CREATE TABLE new_${name} (id int PRIMARY KEY); INSERT INTO new_${name} VALUES (1)`);
    await application.query(`LOCK TABLE new_${name} IN ${mode} MODE`);
    await expectOthersServed(`beside_${name}`);
    expect(JSON.stringify(pipeline.linesOf("publication waits"))).toMatch(
      new RegExp(`new_${name}.*loader, idle in`),
    );
    await application.query("COMMIT");
    await pipeline.untilCopied(`public.new_${name}`);
  },
);

test("and in the end the stage has what the source has", async () => {
  await pipeline.until("the notices' end", () => pipeline.linesOf("over: publication waits")[1]);
  expect(await pipeline.differences()).toEqual([]);
});
