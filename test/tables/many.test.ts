import { afterAll, beforeAll, expect, test } from "vitest";
import { connectSource } from "../../src/postgres/connect.ts";
import { readCatalogAtOnce } from "../../src/postgres/catalog.ts";
import { startPostgres, type EmbeddedPostgres } from "../support/postgres.ts";
import { sourceAccess } from "../support/rebuild.ts";

const TABLES = 10_000;
/** On a busy machine; a query per table would take as many round trips, several times over. */
const WITHIN_MS = 20_000;

let server: EmbeddedPostgres;
beforeAll(async () => {
  server = await startPostgres({});
});
afterAll(() => server.destroy());

/** How many queries one look at the catalog takes, and what it finds. */
async function look(database: string): Promise<{ queries: number; tables: number; tookMs: number }> {
  const client = await connectSource(sourceAccess(server.url(database)), "sql");
  try {
    let queries = 0;
    const query = client.query.bind(client) as (...args: unknown[]) => unknown;
    Object.assign(client, {
      query: (...args: unknown[]) => {
        queries++;
        return query(...args);
      },
    });
    const startedAtMs = performance.now();
    const { tables } = await readCatalogAtOnce(client, ["public"], 18);
    return { queries, tables: tables.length, tookMs: performance.now() - startedAtMs };
  } finally {
    await client.end();
  }
}

test("10,000 tables are found with as many queries as one", { timeout: 180_000 }, async () => {
  const database = await server.createDatabase();
  await server.sql("CREATE TABLE first (id int PRIMARY KEY)", [], { database });
  const one = await look(database);
  // Some at a time: each table is a lock until its transaction ends.
  await server.sql(
    `DO $$ BEGIN FOR i IN 2..${TABLES} LOOP
       EXECUTE format('CREATE TABLE many_%s (id int PRIMARY KEY, v int)', i);
       IF i % 500 = 0 THEN COMMIT; END IF;
     END LOOP; END $$`,
    undefined,
    { database },
  );
  const all = await look(database);
  expect([one.tables, all.tables]).toEqual([1, TABLES]);
  expect(all.queries).toBe(one.queries);
  expect(all.tookMs).toBeLessThan(WITHIN_MS);
});
