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
  ["inserts", "DROP PUBLICATION pgstage_insert_only", /pgstage_insert_only is not there/, /resync --all/],
  ["all", "DROP PUBLICATION pgstage", /publication pgstage is not there/, /resync --all/],
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

test("what a publication did not send while it was altered is copied afresh; new members and another owner alter nothing", async () => {
  const database = await server.createDatabase("altered_back");
  await server.sql("CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t VALUES (1, 1)", [], {
    database,
  });
  const pipeline = await Pipeline.start({ server, database });
  try {
    await pipeline.untilCopied("public.t");
    await pipeline.sql("CREATE TABLE later (id int PRIMARY KEY)");
    await pipeline.untilCopied("public.later");
    await pipeline.discovered();
    await pipeline.drain();
    await pipeline.sql("CREATE ROLE owner SUPERUSER; ALTER PUBLICATION pgstage OWNER TO owner");
    await pipeline.start();
    await pipeline.discovered();
    expect(pipeline.reasonsSince(0)).toEqual([]);
    await pipeline.drain();
    await pipeline.sql("ALTER PUBLICATION pgstage SET (publish = 'insert')");
    await pipeline.sql("UPDATE t SET n = 2");
    await pipeline.sql("ALTER PUBLICATION pgstage SET (publish = 'insert, update, delete, truncate')");
    const since = pipeline.lines.length;
    await pipeline.start();
    await pipeline.untilCopied("public.t", since);
    expect(pipeline.reasonsSince(since)).toContain("public.t: its publication was altered");
    expect(await pipeline.differences()).toEqual([]);
  } finally {
    await pipeline.destroy();
  }
});

test("a new partitioned table that a DBA publishes by its partitions is not captured, and stops nothing", async () => {
  const database = await server.createDatabase("by_partitions");
  const setup = "CREATE TABLE t (id int PRIMARY KEY); CREATE PUBLICATION pgstage FOR ALL TABLES";
  for (const statement of setup.split("; ")) await server.sql(statement, [], { database });
  const pipeline = await Pipeline.start({ server, database, settings: { SOURCE_MANAGE: "false" } });
  try {
    await pipeline.untilCopied("public.t");
    await pipeline.sql(
      "CREATE TABLE p (id int PRIMARY KEY) PARTITION BY RANGE (id); CREATE TABLE p1 PARTITION OF p DEFAULT",
    );
    await pipeline.until("the notice", () =>
      pipeline.lines.find((line) => line["notice"] === "table-not-captured" && line.table === "public.p"),
    );
    await pipeline.sql("INSERT INTO t VALUES (1)");
    expect(await pipeline.differences("public.t")).toEqual([]);
  } finally {
    await pipeline.destroy();
  }
});
