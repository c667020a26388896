import { describe, expect, test } from "vitest";
import { stagedFiles } from "../support/values-csv.ts";
import { Fixture } from "./fixture.ts";
import { Pipeline } from "./pipeline.ts";

const BIG = "(SELECT string_agg(md5(random()::text), '') FROM generate_series(1, 125))";

describe.each([13, 18] as const)("partitions and other relations on Postgres %i", (version) => {
  const at = new Fixture({ version, settings: { DISCOVERY_INTERVAL: "300ms" } });
  const sql = async (...statements: string[]): Promise<void> => {
    for (const statement of statements) await at.pipeline.sql(statement);
  };
  const warned = (table: string): boolean =>
    at.pipeline.lines.some((line) => line.level === "warn" && JSON.stringify(line).includes(table));

  test("partitions on two levels, in other schemas, with columns in another order; rows that move", async () => {
    await sql(
      "CREATE TABLE parts (id int, region text, big text, v int DEFAULT 0, PRIMARY KEY (id, region)) PARTITION BY LIST (region)",
      "CREATE SCHEMA leaves",
    );
    await sql(
      "CREATE TABLE leaves.parts_a PARTITION OF parts FOR VALUES IN ('a') PARTITION BY RANGE (id)",
      "CREATE TABLE leaves.parts_a1 PARTITION OF leaves.parts_a FOR VALUES FROM (0) TO (10)",
      "CREATE TABLE parts_a2 PARTITION OF leaves.parts_a DEFAULT",
    );
    await sql(
      "CREATE TABLE parts_b (v int DEFAULT 0, dropped int, big text, region text NOT NULL, id int NOT NULL, PRIMARY KEY (id, region)); ALTER TABLE parts_b DROP dropped; ALTER TABLE parts ATTACH PARTITION parts_b FOR VALUES IN ('b')",
    );
    await sql(
      `INSERT INTO parts SELECT i, CASE WHEN i % 2 = 0 THEN 'a' ELSE 'b' END, ${BIG}, i FROM generate_series(1, 20) i`,
    );
    await at.pipeline.untilCopied("public.parts");
    await sql(
      "UPDATE parts SET v = v + 1",
      "UPDATE parts SET region = 'a' WHERE id = 3",
      "UPDATE parts SET id = id + 100 WHERE id < 5",
      "DELETE FROM parts WHERE id = 7",
      "UPDATE parts_b SET v = -1 WHERE id = 9",
    );
    expect(await at.pipeline.differences("public.parts")).toEqual([]);
    expect(
      at.pipeline
        .linesOf("table found")
        .map(({ table }) => table)
        .filter((table) => table?.includes("parts")),
    ).toEqual(["public.parts"]);
  });

  test("partitions are attached, detached, and truncated by themselves: only that table is copied again", async () => {
    await sql(
      "CREATE TABLE months (id int, m int, v text, PRIMARY KEY (id, m)) PARTITION BY LIST (m)",
      "CREATE TABLE months_1 PARTITION OF months FOR VALUES IN (1)",
      "CREATE TABLE months_2 PARTITION OF months FOR VALUES IN (2)",
      "INSERT INTO months SELECT i, 1 + i % 2, i FROM generate_series(1, 10) i",
    );
    await sql(
      "CREATE TABLE months_3 (LIKE months INCLUDING ALL)",
      "INSERT INTO months_3 SELECT i, 3, i FROM generate_series(1, 5) i",
    );
    await at.pipeline.discovered();
    await at.pipeline.copiesDone();
    const steps: [string[], RegExp[]][] = [
      [
        ["ALTER TABLE months ATTACH PARTITION months_3 FOR VALUES IN (3)"],
        [/^public.months: a partition was attached/],
      ],
      [["TRUNCATE months_1"], [/^public.months: partition months_1 was truncated/]],
      [
        ["ALTER TABLE months DETACH PARTITION months_2"],
        [/^public.months: a partition was attached or detached/],
      ],
      [
        [
          "ALTER TABLE months DETACH PARTITION months_3",
          "DELETE FROM months_3 WHERE id = 2",
          "ALTER TABLE months ATTACH PARTITION months_3 FOR VALUES IN (3)",
        ],
        [/^public.months: (a partition was|partition months_3 was attached)/],
      ],
      [["DROP TABLE months_1"], [/^public.months: a partition was/]],
      [
        ["DROP TABLE months_3", "INSERT INTO months_2 VALUES (77, 2, 'x')"],
        [/^public.months: a partition was/],
      ],
    ];
    for (const [statements, reasons] of steps) {
      const since = at.pipeline.lines.length;
      await sql(...statements);
      expect(
        await at.pipeline.differences(
          "public.months",
          "public.months_1",
          "public.months_2",
          "public.months_3",
        ),
      ).toEqual([]);
      const given = at.pipeline.reasonsSince(since);
      expect(given.length).toBeGreaterThanOrEqual(reasons.length);
      for (const reason of given) expect(reason).toMatch(reasons[0] as RegExp);
      await sql("INSERT INTO months_2 (id, m, v) SELECT coalesce(max(id), 0) + 1, 2, 'more' FROM months_2");
    }
  });

  test("a partition that comes and goes between two looks at the catalog takes its rows along", async () => {
    await sql(
      "CREATE TABLE brief (id int, r int, PRIMARY KEY (id, r)) PARTITION BY LIST (r)",
      "CREATE TABLE brief_1 PARTITION OF brief FOR VALUES IN (1)",
      "INSERT INTO brief VALUES (1, 1)",
    );
    await at.pipeline.untilCopied("public.brief");
    await at.pipeline.discovered();
    for (const away of ["DROP TABLE brief_2", "ALTER TABLE brief DETACH PARTITION brief_2"]) {
      const since = at.pipeline.lines.length;
      await sql(
        `CREATE TABLE brief_2 PARTITION OF brief FOR VALUES IN (2); INSERT INTO brief VALUES (7, 1), (2, 2); COMMIT; ${away}`,
        "INSERT INTO brief VALUES (8, 1)",
        "DELETE FROM brief WHERE r = 1 AND id > 6",
      );
      expect(await at.pipeline.differences("public.brief")).toEqual([]);
      // A look may happen to fall between the two.
      for (const reason of at.pipeline.reasonsSince(since))
        expect(reason).toMatch(/^public.brief: (partition brief_2 was there for a while|a partition was)/);
    }
  });

  test("partitions whose own identity does not tell the root's key are captured for inserts only", async () => {
    await sql(
      "CREATE TABLE mixed (id int, r int, u int NOT NULL, PRIMARY KEY (id, r)) PARTITION BY LIST (r)",
      "CREATE TABLE mixed_1 PARTITION OF mixed FOR VALUES IN (1)",
      "CREATE UNIQUE INDEX mixed_u ON mixed_1 (u)",
      "ALTER TABLE mixed_1 REPLICA IDENTITY USING INDEX mixed_u",
      "INSERT INTO mixed VALUES (1, 1, 1), (2, 1, 2)",
    );
    await sql(
      "CREATE TABLE bag (id int, r int) PARTITION BY LIST (r)",
      "CREATE TABLE bag_1 PARTITION OF bag FOR VALUES IN (1)",
      "ALTER TABLE bag REPLICA IDENTITY FULL",
      "ALTER TABLE bag_1 ADD PRIMARY KEY (id)",
      "INSERT INTO bag VALUES (1, 1), (2, 1)",
    );
    // In one transaction: no look at the catalog may come between.
    await sql(
      `CREATE TABLE full_bag (id int, r int) PARTITION BY LIST (r); ALTER TABLE full_bag REPLICA IDENTITY FULL;
       CREATE TABLE full_bag_1 PARTITION OF full_bag FOR VALUES IN (1); ALTER TABLE full_bag_1 REPLICA IDENTITY FULL;
       INSERT INTO full_bag VALUES (1, 1), (1, 1), (2, 1)`,
    );
    await at.pipeline.discovered();
    await at.pipeline.copiesDone();
    await sql(
      "INSERT INTO mixed VALUES (3, 1, 3)",
      "INSERT INTO bag VALUES (3, 1)",
      "UPDATE full_bag SET id = 5 WHERE id = 1",
      "DELETE FROM full_bag WHERE id = 2",
    );
    expect(await at.pipeline.differences("public.mixed", "public.bag", "public.full_bag")).toEqual([]);
    await sql("UPDATE mixed SET u = u", "UPDATE bag SET id = id");
    expect([warned("public.mixed"), warned("public.bag"), warned("public.full_bag")]).toEqual([
      true,
      true,
      false,
    ]);
  });

  test("inheritance: each table has its own rows", async () => {
    await sql(
      "CREATE TABLE vehicles (id int PRIMARY KEY, name text)",
      "CREATE TABLE cars (doors int, PRIMARY KEY (id)) INHERITS (vehicles)",
      "INSERT INTO vehicles VALUES (1, 'bike')",
      "INSERT INTO cars VALUES (2, 'car', 4)",
    );
    await at.pipeline.discovered();
    await sql(
      "UPDATE vehicles SET name = name || '!'",
      "INSERT INTO cars VALUES (1, 'same id', 2)",
      "DELETE FROM ONLY vehicles",
    );
    expect(await at.pipeline.differences("public.vehicles", "public.cars")).toEqual([]);
    await sql("TRUNCATE vehicles", "INSERT INTO cars VALUES (3, 'new', 1)");
    expect(await at.pipeline.differences("public.vehicles", "public.cars")).toEqual([]);
  });

  test("an unlogged table is named and not captured; logged, it is", async () => {
    await sql("CREATE UNLOGGED TABLE unlogged (id int PRIMARY KEY)", "INSERT INTO unlogged VALUES (1)");
    await at.pipeline.discovered();
    expect(warned("public.unlogged")).toBe(true);
    expect(at.pipeline.linesOf("table found", "public.unlogged")).toEqual([]);
    await sql("ALTER TABLE unlogged SET LOGGED", "INSERT INTO unlogged VALUES (2)");
    await at.pipeline.untilCopied("public.unlogged");
    await sql("INSERT INTO unlogged VALUES (3)");
    expect(await at.pipeline.differences("public.unlogged")).toEqual([]);
  });

  test("generated, identity and dropped columns", async () => {
    await sql(
      "CREATE TABLE generated (a int, id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, g int GENERATED ALWAYS AS (a * 2) STORED, gone text, b text)",
      "ALTER TABLE generated DROP gone",
      "INSERT INTO generated (a, b) SELECT i, i FROM generate_series(1, 5) i",
    );
    await at.pipeline.untilCopied("public.generated");
    await sql(
      "INSERT INTO generated (a, b) VALUES (100, '')",
      "UPDATE generated SET a = a + 1",
      "UPDATE generated SET id = DEFAULT WHERE b = '2'",
    );
    expect(await at.pipeline.differences("public.generated")).toEqual([]);
    const [file] = await stagedFiles(at.pipeline.directory, "public", "generated");
    expect(file?.header.split(",").slice(5)).toEqual(
      version >= 18 ? ["a", "id", "g", "b"] : ["a", "id", "b"],
    );
  });

  test("a key with a generated column that the stream lacks identifies nothing, and says so", async () => {
    const g = "g int NOT NULL GENERATED ALWAYS AS (a * 2) STORED";
    await sql(
      `CREATE TABLE generated_key (a int, ${g} PRIMARY KEY, v text); INSERT INTO generated_key (a, v) VALUES (1, 'x'), (2, 'y');
       CREATE TABLE generated_part (a int, ${g}, b int, PRIMARY KEY (b, g)); INSERT INTO generated_part (a, b) VALUES (1, 1), (2, 1);
       CREATE TABLE generated_index (a int PRIMARY KEY, ${g} UNIQUE, v text); INSERT INTO generated_index (a, v) VALUES (1, 'x'), (2, 'y');
       ALTER TABLE generated_index REPLICA IDENTITY USING INDEX generated_index_g_key;
       CREATE TABLE generated_full (a int, ${g} PRIMARY KEY, v text); INSERT INTO generated_full (a, v) VALUES (1, 'x'), (2, 'y');
       ALTER TABLE generated_full REPLICA IDENTITY FULL`,
    );
    const tables = ["key", "part", "index", "full"].map((name) => `public.generated_${name}`);
    for (const table of tables) await at.pipeline.untilCopied(table);
    expect(tables.map(warned)).toEqual(tables.map((table) => version < 18 && !table.endsWith("full")));
    const insertsOnly = version < 18 ? [] : tables.slice(0, 3);
    await sql(
      "INSERT INTO generated_key (a, v) VALUES (3, 'z')",
      "INSERT INTO generated_part (a, b) VALUES (3, 1)",
      "INSERT INTO generated_index (a, v) VALUES (3, 'z')",
      "UPDATE generated_full SET v = 'w' WHERE a = 1; UPDATE generated_full SET a = 7 WHERE a = 2",
    );
    expect(await at.pipeline.differences(...tables)).toEqual([]);
    // The application's own statements work, whatever of them is captured.
    await sql(
      "UPDATE generated_key SET v = 'w' WHERE a = 1; DELETE FROM generated_key WHERE a = 2",
      "UPDATE generated_part SET a = 5 WHERE a = 1",
      "UPDATE generated_index SET v = 'w' WHERE a = 1; DELETE FROM generated_index WHERE a = 2",
    );
    expect(await at.pipeline.differences(...insertsOnly, "public.generated_full")).toEqual([]);
  });

  test("row-level security: refused aloud until it may all be read, never partial", async () => {
    const database = await at.server.createDatabase();
    await at.server.sql("CREATE ROLE guest LOGIN REPLICATION", [], { database });
    await at.server.sql(
      `GRANT CREATE ON DATABASE ${database} TO guest; CREATE TABLE secret (id int PRIMARY KEY, owner text); INSERT INTO secret SELECT i, 'guest' FROM generate_series(1, 4) i;
      CREATE POLICY mine ON secret USING (id < 3); ALTER TABLE secret ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY; ALTER TABLE secret OWNER TO guest; GRANT ALL ON SCHEMA public TO guest`,
      undefined,
      { database },
    );
    const pipeline = await Pipeline.start({
      server: at.server,
      database,
      user: "guest",
      settings: { DISCOVERY_INTERVAL: "300ms" },
    }).catch((error: unknown) => error as Error);
    if (pipeline instanceof Error) throw pipeline;
    try {
      await pipeline.sql("ALTER TABLE zz_ticks OWNER TO guest");
      const refusal = await pipeline.until("a refusal", () =>
        pipeline.lines.find(
          (line) =>
            line.level !== "debug" &&
            /secret/.test(JSON.stringify(line)) &&
            /row.?(level )?security/i.test(JSON.stringify(line)),
        ),
      );
      expect(["warn", "error"]).toContain(refusal.level);
      expect(pipeline.linesOf("copied", "public.secret")).toEqual([]);
    } finally {
      await pipeline.destroy();
      await at.server.sql(
        "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE NOT active",
        [],
        { database },
      );
    }
  });
});
