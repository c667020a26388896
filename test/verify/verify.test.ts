import { createHash } from "node:crypto";
import { expect, test } from "vitest";
import { compareStageWithSource, differences } from "../support/rebuild.ts";
import { FAR, Fixture } from "./fixture.ts";
import { known, type Row, type TestTable } from "./stage-builder.ts";

const at = new Fixture();

const COPY_START: Row = ["t", "0/1", 0, []];

/** A stage of one file and one document, compared. */
async function compareRows(
  target: TestTable,
  rows: readonly Row[],
): ReturnType<typeof compareStageWithSource> {
  const padded = rows.map((row): Row => {
    const [op, lsn, seq, values, unchanged] = row;
    const all = [...values, ...Array.from({ length: target.columns.length - values.length }, () => null)];
    return unchanged ? [op, lsn, seq, all, unchanged] : [op, lsn, seq, all];
  });
  const copied = padded.filter(([, , seq]) => seq === 0);
  const changed = padded.filter(([, , seq]) => seq !== 0);
  const files = [await at.stage.file(target, copied)];
  if (changed.length > 0) files.push(await at.stage.file(target, changed));
  await at.stage.batch({ files, events: [known(target, "0/1")], endLsn: FAR });
  return compareStageWithSource(at.directory, at.url);
}

test("the newest row of a key wins, a delete takes it away", async () => {
  const target = await at.table("id int PRIMARY KEY, v text");
  await at.sql("INSERT INTO t VALUES (1, 'new'), (2, NULL), (3, '')");
  const verdict = await compareRows(target, [
    COPY_START,
    ["r", "0/1", 0, ["1", "old"]],
    ["r", "0/1", 0, ["4", "gone"]],
    ["u", "0/20", 1, ["1", "older"]],
    ["u", "0/20", 2, ["1", "new"]],
    ["c", "0/A0", 1, ["2", null]],
    ["c", "0/9", 1, ["3", ""]],
    ["d", "0/30", 1, ["4", null]],
  ]);
  expect(differences(verdict)).toEqual([]);
  expect(verdict).toMatchObject({
    ok: true,
    tables: [{ table: "public.t", outcome: "equal", rows: 3, equal: 3 }],
  });
});

test("names rows that are missing, extra and different, with their values", async () => {
  const target = await at.table("id int PRIMARY KEY, v text, w text");
  await at.sql("INSERT INTO t VALUES (1, '', 'same'), (2, 'only here', NULL), (3, 'x', 'y')");
  const verdict = await compareRows(target, [
    COPY_START,
    ["r", "0/1", 0, ["1", null, "same"]],
    ["r", "0/1", 0, ["3", "x", "y"]],
    ["r", "0/1", 0, ["5", "only there", null]],
  ]);
  expect(verdict.ok).toBe(false);
  expect(verdict.tables).toMatchObject([
    { outcome: "different", rows: 3, equal: 1, missing: 1, extra: 1, different: 1 },
  ]);
  expect(verdict.tables[0]?.examples).toEqual([
    { kind: "missing", row: { id: "2" } },
    { kind: "extra", row: { id: "5" } },
    { kind: "different", row: { id: "1" }, columns: { v: { source: "", stage: null } } },
  ]);
});

test.each([
  ["renamed", "ALTER TABLE t RENAME TO t2", "it was renamed from public.t"],
  ["given a column with a default", "ALTER TABLE t ADD COLUMN d int DEFAULT 5", "has not seen its column d"],
])("a table that was just %s waits for the daemon to see it", async (_what, change, note) => {
  const target = await at.table("id int PRIMARY KEY");
  await at.sql(`INSERT INTO t VALUES (1); ${change}`);
  const verdict = await compareRows(target, [COPY_START, ["r", "0/1", 0, ["1"]]]);
  expect(verdict).toMatchObject({ ok: false, tables: [{ outcome: "pending" }] });
  expect(verdict.tables[0]?.note).toContain(note);
});

test("a truncation and a new copy void what was before them, and nothing else", async () => {
  const target = await at.table("id int PRIMARY KEY, v text");
  await at.sql("INSERT INTO t VALUES (1, 'a'), (2, 'b')");
  const verdict = await compareRows(target, [
    COPY_START,
    ["r", "0/1", 0, ["9", "before"]],
    ["c", "0/20", 1, ["8", "before"]],
    ["t", "0/20", 2, []],
    ["c", "0/20", 3, ["1", "a"]],
    ["c", "0/21", 1, ["2", "b"]],
  ]);
  expect(differences(verdict)).toEqual([]);
});

test("unchanged columns keep the value of the row before, also NULL, also over several rows", async () => {
  const target = await at.table("id int PRIMARY KEY, a text, b text, c text");
  await at.sql("INSERT INTO t VALUES (1, 'a2', 'b1', NULL), (2, 'x', 'y', 'z')");
  const verdict = await compareRows(target, [
    COPY_START,
    ["r", "0/1", 0, ["1", "a1", "b1", "c1"]],
    ["u", "0/10", 1, ["1", "a1", null, null], ["b"]],
    ["u", "0/11", 1, ["1", "a2", null, null], ["b", "c"]],
    ["d", "0/12", 1, ["2"]],
    ["c", "0/13", 1, ["2", "x", "y", "z"]],
    ["u", "0/13", 2, ["2", "x", null, "z"], ["b"]],
  ]);
  expect(differences(verdict)).toEqual([]);
});

test("an unchanged column that no row before has is a difference", async () => {
  const target = await at.table("id int PRIMARY KEY, a text");
  await at.sql("INSERT INTO t VALUES (1, NULL)");
  const verdict = await compareRows(target, [COPY_START, ["u", "0/10", 1, ["1", null], ["a"]]]);
  expect(verdict.tables).toMatchObject([
    { outcome: "different", note: "1 row(s) have an unchanged column that no earlier row has" },
  ]);
});

test("a table without a key is a bag of rows", async () => {
  const target = await at.table("a text, b text", []);
  await at.sql("INSERT INTO t VALUES ('x', NULL), ('x', NULL), ('y', ''), ('n', 'n')");
  const rows: Row[] = [
    COPY_START,
    ["r", "0/1", 0, ["x", null]],
    ["r", "0/1", 0, ["y", null]],
    ["c", "0/10", 1, ["x", null]],
    ["c", "0/10", 2, ["x", null]],
    ["d", "0/11", 1, ["x", null]],
    ["d", "0/12", 1, ["y", null]],
    ["u", "0/12", 2, ["y", ""]],
    ["c", "0/13", 1, ["n", "n"]],
  ];
  expect(differences(await compareRows(target, rows))).toEqual([]);
  await at.sql("DELETE FROM t WHERE a = 'y'; INSERT INTO t VALUES ('x', NULL)");
  const verdict = await compareStageWithSource(at.directory, at.url);
  expect(verdict.tables).toMatchObject([{ outcome: "different", rows: 4, equal: 3, missing: 1, extra: 1 }]);
  expect(verdict.tables[0]?.examples).toEqual([
    { kind: "missing", row: { a: "x", b: null } },
    { kind: "extra", row: { a: "y", b: "" } },
  ]);
});

test("every text comes through: quotes, breaks, blanks, backslashes, long values, single NULL columns", async () => {
  const target = await at.table("id int PRIMARY KEY, v text");
  await at.table("v text", [], "one_column");
  const values = [
    '"',
    '""',
    "a,b",
    "a\nb",
    "a\r\nb",
    "\r",
    "\\",
    "\\.",
    "\\N",
    "NULL",
    " x ",
    "",
    "🐘",
    "'",
    "\t",
  ];
  const long = 'long "quoted"\n'.repeat(300_000);
  const client = await at.server.connect({ database: at.database });
  for (const [index, value] of [...values, long].entries()) {
    await client.query("INSERT INTO t VALUES ($1, $2)", [index, value]);
  }
  await client.query("INSERT INTO one_column VALUES (NULL), (NULL), ('')");
  await client.end();
  const rows = [...values, long].map((value, index): Row => ["r", "0/1", 0, [String(index), value]]);
  const single: TestTable = await at.describe("one_column", []);
  const singleRows = [null, null, ""].map((value): Row => ["r", "0/1", 0, [value]]);
  await at.stage.batch({
    files: [
      await at.stage.file(target, [["t", "0/1", 0, [null, null]], ...rows]),
      await at.stage.file(single, [["t", "0/1", 0, [null]], ...singleRows]),
    ],
    events: [known(target, "0/1"), known(single, "0/1")],
    endLsn: FAR,
  });
  expect(differences(await compareStageWithSource(at.directory, at.url))).toEqual([]);
});

test("columns that differ only in case, are called like ours, or came later", async () => {
  const target = await at.table(
    `id int PRIMARY KEY, "ID" text, file text, op text, "quo""te" text, later text`,
  );
  await at.sql(`INSERT INTO t VALUES (1, 'a', 'b', 'c', 'd', NULL), (2, 'a', 'b', 'c', 'd', 'e')`);
  const old = target.columns.slice(0, 5);
  const files = [
    await at.stage.file(
      target,
      [
        ["t", "0/1", 0, [null, null, null, null, null]],
        ["r", "0/1", 0, ["1", "a", "b", "c", "d"]],
      ],
      old,
    ),
    await at.stage.file(target, [["c", "0/10", 1, ["2", "a", "b", "c", "d", "e"]]]),
  ];
  await at.stage.batch({ files, events: [known(target, "0/1")], endLsn: FAR });
  expect(differences(await compareStageWithSource(at.directory, at.url))).toEqual([]);
});

test("a partitioned table is compared whole, an inheritance child by itself", async () => {
  await at.sql(`CREATE TABLE t (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);
    CREATE TABLE t_1 PARTITION OF t FOR VALUES FROM (0) TO (10); CREATE TABLE t_2 PARTITION OF t DEFAULT;
    INSERT INTO t VALUES (1, 'a'), (99, 'b');
    CREATE TABLE parent (id int PRIMARY KEY, v text); CREATE TABLE child (PRIMARY KEY (id)) INHERITS (parent);
    INSERT INTO parent VALUES (1, 'p'); INSERT INTO child VALUES (1, 'c')`);
  const tables = await Promise.all(["t", "parent", "child"].map((name) => at.describe(name)));
  const rows: Record<string, Row[]> = {
    t: [
      ["r", "0/1", 0, ["1", "a"]],
      ["r", "0/1", 0, ["99", "b"]],
    ],
    parent: [["r", "0/1", 0, ["1", "p"]]],
    child: [["r", "0/1", 0, ["1", "c"]]],
  };
  const files = await Promise.all(
    tables.map((each) => at.stage.file(each, [["t", "0/1", 0, [null, null]], ...(rows[each.name] ?? [])])),
  );
  await at.stage.batch({ files, events: tables.map((each) => known(each, "0/1")), endLsn: FAR });
  const verdict = await compareStageWithSource(at.directory, at.url);
  expect(differences(verdict)).toEqual([]);
  expect(verdict.tables.map(({ table: name }) => name)).toEqual([
    "public.child",
    "public.parent",
    "public.t",
  ]);
});

test("unchanged values may be larger than memory, all together", async () => {
  const target = await at.table("id int PRIMARY KEY, v text, w text");
  const many = 50_000;
  await at.sql(`INSERT INTO t SELECT i, repeat(md5(i::text), 64), 'w' FROM generate_series(1, ${many}) i`);
  const md5 = (text: string): string => createHash("md5").update(text).digest("hex");
  const ids = Array.from({ length: many }, (_, i) => String(i + 1));
  const copied = ids.map((id): Row => ["r", "0/1", 0, [id, md5(id).repeat(64), null]]);
  const changed = ids.map((id, i): Row => ["u", "0/20", i + 1, [id, null, "w"], ["v"]]);
  const files = [
    await at.stage.file(target, [["t", "0/1", 0, [null, null, null]], ...copied]),
    await at.stage.file(target, changed),
  ];
  await at.stage.batch({ files, events: [known(target, "0/1")], endLsn: FAR });
  const verdict = await compareStageWithSource(at.directory, at.url, { memoryBytes: 128 * 2 ** 20 });
  expect(differences(verdict)).toEqual([]);
  expect(verdict.tables[0]?.equal).toBe(many);
});
