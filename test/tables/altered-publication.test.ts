import { afterAll, beforeAll, expect, test } from "vitest";
import { startPostgres, type EmbeddedPostgres } from "../support/postgres.ts";
import { Pipeline } from "./pipeline.ts";

let server: EmbeddedPostgres;
beforeAll(async () => {
  server = await startPostgres();
});
afterAll(() => server.destroy());

test.each([
  [
    "kinds",
    "ALTER PUBLICATION pgstage SET (publish = 'insert')",
    /does not publish update, delete, truncate/,
    /resync --all/,
  ],
  [
    "filter",
    "ALTER PUBLICATION pgstage SET TABLE t WHERE (id > 5), ONLY zz_ticks",
    /has a row filter or a column list for public\.t/,
    /DROP TABLE/,
  ],
  [
    "columns",
    "ALTER PUBLICATION pgstage SET TABLE t (id), ONLY zz_ticks",
    /has a row filter or a column list for public\.t/,
    /DROP TABLE/,
  ],
  ["inserts", "DROP PUBLICATION pgstage_insert_only", /pgstage_insert_only is gone/, /resync --all/],
  ["all", "DROP PUBLICATION pgstage", /publication pgstage is gone/, /resync --all/],
])("a publication that is altered under the daemon stops it: %s", async (name, alter, found, mend) => {
  const database = await server.createDatabase(`altered_${name}`);
  await server.sql("CREATE TABLE t (id int PRIMARY KEY, n int)", [], { database });
  await server.sql("CREATE TABLE u (n int)", [], { database });
  const pipeline = await Pipeline.start({ server, database });
  try {
    await pipeline.untilCopied("public.u");
    await pipeline.sql(alter);
    const end = pipeline.until<never>("the end", () => null);
    await expect(end).rejects.toMatchObject({
      name: "OperatorError",
      message: expect.stringMatching(found) as string,
      mend: expect.stringMatching(mend) as string,
    });
  } finally {
    await pipeline.destroy();
  }
});
