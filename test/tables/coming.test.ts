import { describe, expect, test } from "vitest";
import { publicationsOf } from "../../src/postgres/publication.ts";
import { differences } from "../support/rebuild.ts";
import { stagedRows } from "../support/values-csv.ts";
import { Fixture } from "./fixture.ts";

describe.each([13, 18] as const)("tables that come and go on Postgres %i", (version) => {
  const at = new Fixture({
    version,
    settings: { DISCOVERY_INTERVAL: "300ms", SOURCE_SCHEMAS: "public,other" },
    setup: "CREATE SCHEMA other",
  });
  const sql = async (...statements: string[]): Promise<void> => {
    for (const statement of statements) await at.pipeline.sql(statement);
  };
  const found = (since: number): string[] =>
    at.pipeline.linesOf("table found", undefined, since).map(({ table }) => String(table));
  const gone = (since: number): string[] =>
    at.pipeline.linesOf("table is not captured any more", undefined, since).map(({ table }) => String(table));
  const equal = async (): Promise<void> =>
    expect(differences(await at.pipeline.settled({ schemas: ["public", "other"] }))).toEqual([]);
  const members = async (): Promise<string[]> => {
    const names = publicationsOf("pgstage");
    const rows = await at.pipeline.sql<{ name: string }>(
      "SELECT pubname || ' ' || schemaname || '.' || tablename AS name FROM pg_publication_tables WHERE pubname = ANY ($1) AND tablename NOT LIKE 'zz%' ORDER BY 1",
      [[names.all, names.insertOnly]],
    );
    return rows.map(({ name }) => name);
  };

  test("a table that is made and filled while the daemon runs is copied and streamed; others go on", async () => {
    const since = at.pipeline.lines.length;
    await sql(
      "CREATE TABLE first (id int PRIMARY KEY, v text)",
      "INSERT INTO first SELECT i, i FROM generate_series(1, 100) i",
    );
    await at.pipeline.untilCopied("public.first");
    await sql(
      "BEGIN; CREATE TABLE second (id int PRIMARY KEY, v text); INSERT INTO second SELECT i, i FROM generate_series(1, 100) i; COMMIT",
      "UPDATE second SET v = 'early'",
      "UPDATE first SET v = 'x'",
      "CREATE TABLE other.third AS SELECT * FROM first",
    );
    await equal();
    await sql(
      "UPDATE second SET v = 'late' WHERE id < 50",
      "DELETE FROM first WHERE id < 10",
      "INSERT INTO other.third VALUES (1, 'more')",
    );
    await equal();
    expect(found(since).toSorted()).toEqual(["other.third", "public.first", "public.second"]);
    expect(at.pipeline.reasonsSince(since)).toEqual([]);
  });

  test("a table that is dropped and made again under its name is a new table", async () => {
    await sql(
      "CREATE TABLE again (id int PRIMARY KEY, v text)",
      "INSERT INTO again VALUES (1, 'old'), (2, 'old')",
    );
    await at.pipeline.untilCopied("public.again");
    const since = at.pipeline.lines.length;
    await sql(
      "UPDATE again SET v = 'older'",
      "DROP TABLE again",
      "CREATE TABLE again (v int, id text PRIMARY KEY)",
      "INSERT INTO again VALUES (7, 'new')",
    );
    await at.pipeline.untilCopied("public.again", since);
    await sql("INSERT INTO again VALUES (8, 'newer')");
    await equal();
    await sql("DROP TABLE again");
    await at.pipeline.until("its end", () => gone(since).length >= 2);
    expect(gone(since)).toEqual(["public.again", "public.again"]);
    const copies = (await stagedRows(at.pipeline.directory, "public", "again")).filter(
      ({ op, seq }) => op === "t" && seq === 0,
    );
    expect(copies).toHaveLength(2);
  });

  test("a table that lives for a moment only does no harm", async () => {
    for (let i = 0; i < 10; i++)
      await sql(
        `CREATE TABLE brief_${i} (id int PRIMARY KEY); INSERT INTO brief_${i} VALUES (1)`,
        `DROP TABLE brief_${i}`,
      );
    await equal();
  });

  test("tables that swap their names, and one that takes the name of another", async () => {
    await sql(
      "CREATE TABLE left_one (id int PRIMARY KEY, v text); INSERT INTO left_one VALUES (1, 'left')",
      "CREATE TABLE right_one (id int PRIMARY KEY, w int); INSERT INTO right_one VALUES (1, 2)",
    );
    await at.pipeline.discovered();
    await at.pipeline.copiesDone();
    const since = at.pipeline.lines.length;
    await sql(
      "BEGIN; ALTER TABLE left_one RENAME TO x; ALTER TABLE right_one RENAME TO left_one; ALTER TABLE x RENAME TO right_one; COMMIT",
      "INSERT INTO left_one VALUES (2, 3); UPDATE right_one SET v = 'right'",
    );
    await equal();
    expect(at.pipeline.reasonsSince(since).toSorted()).toEqual([
      "public.left_one: it was public.right_one before",
      "public.right_one: it was public.left_one before",
    ]);
    await sql(
      "ALTER TABLE left_one RENAME TO left_two",
      "ALTER TABLE right_one RENAME TO left_one",
      "ALTER TABLE left_two SET SCHEMA other",
      "INSERT INTO other.left_two VALUES (9, 9); DELETE FROM left_one",
    );
    await equal();
  });

  test("include and exclude are globs, and may change from one start to the next", async () => {
    await sql(
      ...["app_a", "app_b", "log_a", "other.app_c"].map(
        (name) => `CREATE TABLE ${name} (id int PRIMARY KEY); INSERT INTO ${name} VALUES (1)`,
      ),
    );
    await at.pipeline.discovered();
    await at.pipeline.copiesDone();
    const restart = async (settings: Record<string, string>, captured: RegExp): Promise<number> => {
      await at.pipeline.drain();
      const since = at.pipeline.lines.length;
      await at.pipeline.start(settings);
      await at.pipeline.until(
        "a look",
        () => at.pipeline.linesOf("catalog read", undefined, since).length > 0,
      );
      await sql(
        ...["app_a", "app_b", "log_a", "other.app_c"].map(
          (name) => `INSERT INTO ${name} SELECT max(id) + 1 FROM ${name}`,
        ),
      );
      const verdict = await at.pipeline.settled({
        schemas: ["public", "other"],
        captured: ({ schema, name }) => captured.test(`${schema}.${name}`) || name.startsWith("zz"),
      });
      expect(differences(verdict)).toEqual([]);
      return since;
    };
    await restart({ SOURCE_INCLUDE: "*.app_?,public.zz*", SOURCE_EXCLUDE: "other.*" }, /^public\.app_.$/);
    expect(await members()).toEqual(["pgstage public.app_a", "pgstage public.app_b"]);
    const since = await restart({ SOURCE_INCLUDE: "", SOURCE_EXCLUDE: "*_b" }, /[^b]$/);
    expect(await members()).not.toContain("pgstage public.app_b");
    expect(gone(since)).toEqual(["public.app_b"]);
    expect(found(since)).toEqual(expect.arrayContaining(["public.log_a", "other.app_c"]));
    expect(found(since)).not.toContain("public.app_a");
    await restart({ SOURCE_EXCLUDE: "" }, /./);
  });

  test("a start without changes copies nothing again", async () => {
    await equal();
    await at.pipeline.drain();
    const since = at.pipeline.lines.length;
    await at.pipeline.start();
    await at.pipeline.discovered();
    await sql("INSERT INTO first VALUES (1000, 'after')", "UPDATE second SET id = id + 1000");
    await equal();
    expect([...found(since), ...at.pipeline.reasonsSince(since), ...gone(since)]).toEqual([]);
  });

  test("tables move between the publications, and what a DBA takes out comes back with a new copy", async () => {
    await sql("CREATE TABLE mover (id int, v text); INSERT INTO mover VALUES (1, 'a')");
    await at.pipeline.untilCopied("public.mover");
    expect(await members()).toContain("pgstage_insert_only public.mover");
    let since = at.pipeline.lines.length;
    await sql("ALTER TABLE mover ADD PRIMARY KEY (id)", "UPDATE mover SET v = 'lost to the stream'");
    await equal();
    expect(await members()).toContain("pgstage public.mover");
    expect(at.pipeline.reasonsSince(since)).toEqual(["public.mover: it has gained a replica identity"]);
    since = at.pipeline.lines.length;
    await sql("ALTER PUBLICATION pgstage DROP TABLE mover", "UPDATE mover SET v = 'unseen'");
    await equal();
    expect(at.pipeline.reasonsSince(since)).toEqual(["public.mover: it had left the publication"]);
  });
});
