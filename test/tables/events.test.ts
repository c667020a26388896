import { describe, expect, test } from "vitest";
import { stagedRows, type StagedRow } from "../support/values-csv.ts";
import { Fixture } from "./fixture.ts";

/** About 4 kB that do not compress, so that they are stored out of line. */
const BIG = "(SELECT string_agg(md5(random()::text), '') FROM generate_series(1, 125))";

describe.each([13, 18] as const)("row events on Postgres %i", (version) => {
  const at = new Fixture({ version, settings: { DISCOVERY_INTERVAL: "300ms" } });

  /** Makes a table and waits for its first copy. */
  async function make(name: string, definition: string, ...more: string[]): Promise<void> {
    await at.pipeline.sql(`CREATE TABLE ${name} (${definition}); ${more.join("; ")}`);
    await at.pipeline.untilCopied(`public.${name}`);
  }

  /** Rows that came by the stream, after all of it has been compared with the source. */
  async function streamed(...tables: string[]): Promise<StagedRow[]> {
    expect(await at.pipeline.differences(...tables.map((table) => `public.${table}`))).toEqual([]);
    const rows = await stagedRows(at.pipeline.directory, "public", tables[0] ?? "");
    return rows.filter(({ seq }) => seq > 0);
  }

  const brief = ({ op, values }: StagedRow): string => `${op} ${values}`;

  test("a change of key is a delete of the old and an update with the new one", async () => {
    await make(
      "keyed",
      "id int PRIMARY KEY, v text",
      "INSERT INTO keyed VALUES (1, 'a'), (2, NULL), (3, '')",
    );
    await at.pipeline.sql(
      "UPDATE keyed SET id = 10 WHERE id = 1; UPDATE keyed SET id = id + 20 WHERE id < 5",
    );
    const rows = await streamed("keyed");
    expect(rows.map(brief)).toEqual(["d 1,", "u 10,a", "d 2,", "u 22,", "d 3,", 'u 23,""']);
    expect(new Set(rows.map(({ lsn }) => lsn)).size).toBe(1);
    expect(rows.map(({ seq }) => seq)).toEqual([1, 2, 3, 4, 5, 6]);
  });

  test("keys that are swapped in one transaction", async () => {
    await make(
      "swapped",
      "a int, b int, v text, PRIMARY KEY (a, b)",
      "INSERT INTO swapped SELECT i, i, i FROM generate_series(1, 9) i",
    );
    await at.pipeline.sql(
      "UPDATE swapped SET a = -1 WHERE a = 1; UPDATE swapped SET a = 1, b = 1 WHERE a = 2; UPDATE swapped SET a = 2, b = 2 WHERE a = -1; UPDATE swapped SET b = b + 1 WHERE a > 5",
    );
    await streamed("swapped");
  });

  test("a deferrable primary key identifies nothing: updates work, and are not captured", async () => {
    await make(
      "late",
      "id int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED, v text",
      "INSERT INTO late VALUES (1, 'a')",
    );
    await at.pipeline.sql(
      "UPDATE late SET v = 'b'; UPDATE late SET v = 'a'; INSERT INTO late VALUES (2, 'c')",
    );
    expect((await streamed("late")).map(brief)).toEqual(["c 2,c"]);
    expect(
      at.pipeline.lines.filter(
        (line) => JSON.stringify(line).includes("public.late") && line.level === "warn",
      ),
    ).not.toEqual([]);
  });

  test("a deferrable primary key under FULL: keys move through one another", async () => {
    await make(
      "moving",
      "id int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED, v text",
      "ALTER TABLE moving REPLICA IDENTITY FULL",
      "INSERT INTO moving SELECT i, i FROM generate_series(1, 6) i",
    );
    await at.pipeline.sql("UPDATE moving SET id = id + 1; UPDATE moving SET id = id - 1");
    await streamed("moving");
  });

  test("replica identity DEFAULT, INDEX, FULL with and without a primary key", async () => {
    const rows = "SELECT i, i, 'v' || i FROM generate_series(1, 9) i";
    await make("by_default", "id int PRIMARY KEY, u int NOT NULL, v text", `INSERT INTO by_default ${rows}`);
    await make(
      "by_index",
      "id int, u int NOT NULL, v text",
      "CREATE UNIQUE INDEX by_u ON by_index (u) INCLUDE (id)",
      "ALTER TABLE by_index REPLICA IDENTITY USING INDEX by_u",
      `INSERT INTO by_index ${rows}`,
    );
    await make(
      "by_full",
      "id int PRIMARY KEY, u int NOT NULL, v text",
      "ALTER TABLE by_full REPLICA IDENTITY FULL",
      `INSERT INTO by_full ${rows}`,
    );
    await make(
      "by_bag",
      "id int, u int NOT NULL, v text",
      "ALTER TABLE by_bag REPLICA IDENTITY FULL",
      `INSERT INTO by_bag ${rows}`,
      `INSERT INTO by_bag ${rows}`,
    );
    const names = ["by_default", "by_index", "by_full", "by_bag"];
    for (const name of names) {
      await at.pipeline.sql(
        `UPDATE ${name} SET v = 'new' WHERE id = 1; UPDATE ${name} SET u = 100 WHERE id = 2; UPDATE ${name} SET id = 300 WHERE id = 3; DELETE FROM ${name} WHERE id = 4`,
      );
    }
    expect((await streamed("by_default")).map(brief)).toEqual([
      "u 1,1,new",
      "u 2,100,v2",
      "d 3,,",
      "u 300,3,v3",
      "d 4,,",
    ]);
    expect((await streamed("by_index")).map(brief)).toEqual([
      "u 1,1,new",
      "d ,2,",
      "u 2,100,v2",
      "u 300,3,v3",
      "d ,4,",
    ]);
    expect((await streamed("by_full")).map(brief)).toEqual([
      "u 1,1,new",
      "u 2,100,v2",
      "d 3,3,v3",
      "u 300,3,v3",
      "d 4,4,v4",
    ]);
    expect((await streamed("by_bag")).slice(0, 4).map(brief)).toEqual([
      "d 1,1,v1",
      "u 1,1,new",
      "d 1,1,v1",
      "u 1,1,new",
    ]);
  });

  test("replica identity NOTHING: the application goes on, inserts and truncates are captured, and it is named", async () => {
    await make(
      "by_nothing",
      "id int PRIMARY KEY, v text",
      "ALTER TABLE by_nothing REPLICA IDENTITY NOTHING",
      "INSERT INTO by_nothing VALUES (1, 'a')",
    );
    await at.pipeline.sql(
      "UPDATE by_nothing SET v = 'b'; DELETE FROM by_nothing; INSERT INTO by_nothing VALUES (2, 'c')",
    );
    await at.pipeline.sql("TRUNCATE by_nothing; INSERT INTO by_nothing VALUES (3, 'd')");
    expect((await streamed("by_nothing")).map(brief)).toEqual(["c 2,c", "t ,", "c 3,d"]);
  });

  test("unchanged TOAST values are listed, and stay what they were", async () => {
    await make(
      "toast",
      'id int PRIMARY KEY, "a,b" text, v int, c text',
      `INSERT INTO toast SELECT i, ${BIG} || i, 1, ${BIG} FROM generate_series(1, 3) i`,
    );
    await at.pipeline.sql("UPDATE toast SET v = 2 WHERE id = 1");
    await at.pipeline.sql(
      "UPDATE toast SET c = 'short' WHERE id = 1; UPDATE toast SET v = 3 WHERE id = 1; UPDATE toast SET c = NULL WHERE id = 2; UPDATE toast SET v = 4 WHERE id = 2",
    );
    const rows = await streamed("toast");
    expect(rows.map(({ unchanged }) => unchanged)).toEqual([
      ["a,b", "c"],
      ["a,b"],
      ["a,b"],
      ["a,b"],
      ["a,b"],
    ]);
  });

  test("unchanged TOAST values under FULL come from the old row", async () => {
    await make(
      "toast_full",
      "id int PRIMARY KEY, big text, v int",
      "ALTER TABLE toast_full REPLICA IDENTITY FULL",
      `INSERT INTO toast_full SELECT i, ${BIG} || i, 1 FROM generate_series(1, 3) i`,
    );
    await at.pipeline.sql("UPDATE toast_full SET v = v + 1");
    const rows = await streamed("toast_full");
    expect(rows.map(({ op, unchanged }) => ({ op, unchanged }))).toEqual(
      Array(3).fill({ op: "u", unchanged: [] }),
    );
    expect(rows.every(({ values }) => values.length > 4000)).toBe(true);
  });

  test("unchanged TOAST values are read back when the key changes", async () => {
    await make(
      "toast_key",
      "id int PRIMARY KEY, big text, v int",
      `INSERT INTO toast_key SELECT i, ${BIG} || i, 1 FROM generate_series(1, 4) i`,
    );
    await at.pipeline.sql("UPDATE toast_key SET id = id + 100");
    await at.pipeline.sql(
      "UPDATE toast_key SET id = 200 WHERE id = 101; DELETE FROM toast_key WHERE id = 102; UPDATE toast_key SET id = 102 WHERE id = 103",
    );
    const rows = await streamed("toast_key");
    const last = rows.filter(({ op, values }) => op === "u" && /^(200|102|104),/.test(values));
    expect(last.at(-1)?.unchanged).toEqual([]);
  });

  test("a key that is stored out of line is no change of key", async () => {
    const key = "(SELECT string_agg(md5(n || random()::text), '') FROM generate_series(i, i + 74) n)";
    await make(
      "toast_id",
      "id text PRIMARY KEY, v int, w text",
      "ALTER TABLE toast_id ALTER id SET STORAGE EXTERNAL",
      `INSERT INTO toast_id SELECT ${key}, i, 'w' FROM generate_series(1, 3) i`,
    );
    await at.pipeline.sql(
      "UPDATE toast_id SET w = 'x'; UPDATE toast_id SET id = id || 'y' WHERE v = 1; DELETE FROM toast_id WHERE v = 2",
    );
    const rows = await streamed("toast_id");
    expect(rows.map(({ op }) => op)).toEqual(["u", "u", "u", "d", "u", "d"]);
    expect(rows.every(({ values }) => values.length > 2400)).toBe(true);
  });

  test("TRUNCATE of one table, of many, and CASCADE", async () => {
    await make("parent", "id int PRIMARY KEY", "INSERT INTO parent VALUES (1), (2)");
    await make("child", "id int PRIMARY KEY, p int REFERENCES parent", "INSERT INTO child VALUES (1, 1)");
    await make("alone", "id serial PRIMARY KEY", "INSERT INTO alone DEFAULT VALUES");
    await at.pipeline.sql(
      "INSERT INTO parent VALUES (3); TRUNCATE parent, alone RESTART IDENTITY CASCADE; INSERT INTO parent VALUES (9); INSERT INTO child VALUES (5, 9); INSERT INTO alone DEFAULT VALUES",
    );
    expect((await streamed("parent", "child", "alone")).map(brief)).toEqual(["c 3", "t ", "c 9"]);
    expect((await streamed("child")).map(brief)).toEqual(["t ,", "c 5,9"]);
    expect((await streamed("alone")).map(brief)).toEqual(["t ", "c 1"]);
    await at.pipeline.sql("TRUNCATE child; TRUNCATE child");
    expect((await streamed("child")).map(({ op }) => op)).toEqual(["t", "c", "t", "t"]);
  });

  test("savepoints and rollbacks leave what was committed", async () => {
    await make("saved", "id int PRIMARY KEY, v text");
    await at.pipeline
      .sql(`BEGIN; INSERT INTO saved VALUES (1, 'a'); SAVEPOINT s; INSERT INTO saved VALUES (2, 'b'); UPDATE saved SET v = 'gone'; ROLLBACK TO s;
      INSERT INTO saved VALUES (3, 'c'); SAVEPOINT t; DELETE FROM saved WHERE id = 1; RELEASE t; COMMIT`);
    await at.pipeline.sql("BEGIN; INSERT INTO saved VALUES (4, 'd'); TRUNCATE saved; ROLLBACK");
    expect((await streamed("saved")).map(brief)).toEqual(["c 1,a", "c 3,c", "d 1,"]);
  });

  test("two-phase commits count when they are committed", async () => {
    await make("prepared", "id int PRIMARY KEY, v text");
    await at.pipeline.sql("BEGIN; INSERT INTO prepared VALUES (1, 'a'); PREPARE TRANSACTION 'one'");
    await at.pipeline.sql("BEGIN; INSERT INTO prepared VALUES (2, 'b'); PREPARE TRANSACTION 'two'");
    await at.pipeline.sql("INSERT INTO prepared VALUES (3, 'c')");
    await at.pipeline.sql("COMMIT PREPARED 'one'");
    await at.pipeline.sql("ROLLBACK PREPARED 'two'");
    expect((await streamed("prepared")).map(brief)).toEqual(["c 3,c", "c 1,a"]);
  });

  test("transactions of a replication origin, also of one that they make themselves, and others' messages", async () => {
    await make("replicated", "id int PRIMARY KEY, v text", "INSERT INTO replicated VALUES (1, 'a')");
    const name = `origin_${version}`;
    await at.pipeline.sql(
      `SELECT pg_replication_origin_create('${name}'), pg_replication_origin_session_setup('${name}');
       INSERT INTO replicated VALUES (2, 'with its origin');
       COMMIT;
       BEGIN;
       SELECT pg_replication_origin_xact_setup('0/1234', now());
       UPDATE replicated SET v = 'from elsewhere' WHERE id = 1;
       COMMIT;
       SELECT pg_replication_origin_session_reset();
       SELECT pg_logical_emit_message(true, 'pgstage', 'not ours'), pg_logical_emit_message(false, 'other', repeat('x', 3000000));
       INSERT INTO replicated VALUES (3, 'after')`,
    );
    const rows = await streamed("replicated");
    expect(rows.map(brief)).toEqual(["c 2,with its origin", "u 1,from elsewhere", "c 3,after"]);
  });

  test("several statements on one row in one transaction keep their order", async () => {
    await make("busy", "id int PRIMARY KEY, v text");
    await at.pipeline
      .sql(`BEGIN; INSERT INTO busy VALUES (1, 'a'); UPDATE busy SET v = 'b'; DELETE FROM busy; INSERT INTO busy VALUES (1, 'c');
      UPDATE busy SET id = 2; UPDATE busy SET id = 1; UPDATE busy SET v = 'z'; COMMIT`);
    const rows = await streamed("busy");
    expect(rows.map(brief)).toEqual([
      "c 1,a",
      "u 1,b",
      "d 1,",
      "c 1,c",
      "d 1,",
      "u 2,c",
      "d 2,",
      "u 1,c",
      "u 1,z",
    ]);
    expect(rows.map(({ seq }) => seq)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9]);
  });

  test("updates while a table is locked by somebody wait for their unchanged values", async () => {
    await make(
      "locked",
      "id int PRIMARY KEY, big text",
      `INSERT INTO locked SELECT i, ${BIG} FROM generate_series(1, 3) i`,
    );
    const client = await at.server.connect({ database: "app" });
    await client.query(
      "BEGIN; UPDATE locked SET id = id + 10; COMMIT; BEGIN; LOCK TABLE locked IN ACCESS EXCLUSIVE MODE",
    );
    await at.pipeline.until("an attempt to read the values", () =>
      at.pipeline.lines.find(({ msg }) => msg.includes("cannot be read back")),
    );
    await client.query("COMMIT");
    await client.end();
    expect(
      (await streamed("locked")).filter(({ op }) => op === "u").map(({ unchanged }) => unchanged),
    ).toEqual([[], [], []]);
  });
});
