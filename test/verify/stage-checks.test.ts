import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import type { LogFile } from "../../src/core/document.ts";
import { logKey } from "../../src/core/layout.ts";
import { documentProblems } from "../../src/verify/stage-log.ts";
import { fileProblems } from "../../src/verify/file-checks.ts";
import { compareStageWithSource, differences, type Verdict } from "../support/rebuild.ts";
import { FAR, Fixture } from "./fixture.ts";
import { known, type Row, type TestTable } from "./stage-builder.ts";

const at = new Fixture();

const COPY: Row[] = [
  ["t", "0/1", 0, [null, null]],
  ["r", "0/1", 0, ["1", "a"]],
];

async function oneRow(): Promise<{ target: TestTable; copy: LogFile }> {
  const target = await at.table("id int PRIMARY KEY, v text");
  await at.sql("INSERT INTO t VALUES (1, 'a')");
  return { target, copy: await at.stage.file(target, COPY) };
}

function verify(choice: Parameters<typeof compareStageWithSource>[2] = {}): Promise<Verdict> {
  return compareStageWithSource(at.directory, at.url, choice);
}

async function problemsWith(
  change: (file: LogFile, target: TestTable) => Promise<LogFile[]> | LogFile[],
): Promise<string[]> {
  const { target, copy } = await oneRow();
  await at.stage.batch({ files: await change(copy, target), events: [known(target, "0/1")], endLsn: FAR });
  await at.stage.batch({ endLsn: FAR });
  const { stage, ok } = await verify();
  expect(ok).toBe(stage.problems.length === 0);
  return stage.problems.map(({ problem }) => problem);
}

test("a stage as it must be has no problems", async () => {
  expect(await problemsWith((file) => [file])).toEqual([]);
});

test("a file with other bytes than recorded", async () => {
  const problems = await problemsWith(async (file) => {
    const bytes = await at.stage.store.get(file.key);
    bytes?.writeUInt8(7, 9);
    await writeFile(join(at.directory, file.key), bytes ?? "");
    return [file];
  });
  expect(problems).toEqual([
    expect.stringMatching(/^has the checksum sha256:[0-9a-f]+; the log says sha256:/),
  ]);
});

test("a file of another length than recorded", async () => {
  expect(await problemsWith((file) => [{ ...file, bytes: file.bytes - 1 }])).toEqual([
    expect.stringContaining("the log says"),
  ]);
});

test("a file that is gone, that the log counts wrong, that it does not know", async () => {
  const problems = await problemsWith(async (file, target) => {
    const gone = await at.stage.file(target, [["c", "0/10", 1, ["2", "b"]]]);
    await rm(join(at.directory, gone.key));
    await at.stage.file(target, [["c", "0/20", 1, ["3", "c"]]]);
    return [{ ...file, rows: 5 }, gone];
  });
  expect(problems.toSorted()).toEqual([
    "has 2 rows; the log says 5",
    "is missing",
    "is not in the log: it is not ours, or was published twice",
  ]);
});

test("a change that is there twice, also in two tables", async () => {
  const { target, copy } = await oneRow();
  const other = await at.table("id int PRIMARY KEY, v text", ["id"], "other");
  const files = [
    copy,
    await at.stage.file(target, [["u", "0/10", 1, ["1", "a"]]]),
    await at.stage.file(other, [["t", "0/1", 0, [null, null]]]),
    await at.stage.file(other, [["d", "0/10", 1, ["1", null]]]),
  ];
  await at.stage.batch({ files, events: [known(target, "0/1"), known(other, "0/1")], endLsn: FAR });
  const { stage, tables } = await verify();
  expect(tables.map(({ outcome }) => outcome)).toEqual(["equal", "equal"]);
  expect(stage.problems.map(({ problem }) => problem)).toEqual([
    expect.stringMatching(
      /^\(_lsn, _seq\) = \(00000000\/00000010, 1\) is there 2 times, in public\.(t|other), /,
    ),
  ]);
});

test("a transaction of which rows are not there", async () => {
  const { target, copy } = await oneRow();
  const other = await at.table("id int PRIMARY KEY, v text", ["id"], "other");
  const files = [
    copy,
    await at.stage.file(target, [
      ["u", "0/10", 2, ["1", "a"]],
      ["u", "0/20", 1, ["1", "a"]],
      ["u", "0/30", 2, ["1", "a"]],
    ]),
    await at.stage.file(other, [["t", "0/1", 0, [null, null]]]),
    await at.stage.file(other, [
      ["d", "0/30", 1, ["1", null]],
      ["d", "0/20", 4, ["2", null]],
    ]),
  ];
  await at.stage.batch({ files, events: [known(target, "0/1"), known(other, "0/1")], endLsn: FAR });
  expect((await verify()).stage.problems.map(({ problem }) => problem)).toEqual([
    "of transaction 00000000/00000010 only 1 of 2 rows are there, in public.t",
    expect.stringMatching(/^of transaction 00000000\/00000020 only 2 of 4 rows are there, in public\./),
  ]);
  expect((await verify({ wanted: ({ name }) => name === "t" })).stage.problems).toEqual([]);
});

test("a gap in the log", async () => {
  const { target, copy } = await oneRow();
  for (const endLsn of ["0/2", "0/3", "0/4"]) await at.stage.batch({ endLsn });
  await at.stage.batch({ files: [copy], events: [known(target, "0/1")], endLsn: FAR });
  await at.stage.store.delete([logKey(2), logKey(3)]);
  expect((await verify()).stage.problems).toEqual([
    { key: logKey(2), problem: "the log has a gap: documents 2 to 3 are missing" },
  ]);
});

test("files of tables that are gone from the source are checked, too", async () => {
  const { target, copy } = await oneRow();
  await at.stage.batch({ files: [{ ...copy, rows: 7 }], events: [known(target, "0/1")], endLsn: FAR });
  await at.sql("DROP TABLE t");
  const verdict = await verify();
  expect(verdict.tables).toEqual([]);
  expect(differences(verdict)).toEqual([`${copy.key} has 2 rows; the log says 7`]);
});

test("rows that break the contract", () => {
  const file = {
    key: "public/t/2026/11/22/07/0000000000000010-0000000000000020-0001.csv.gz",
    schemaName: "public",
    tableName: "t",
    rows: 3,
    firstLsn: "00000000/00000010",
    lastLsn: "00000000/00000020",
  } as LogFile & { sequence: number };
  const facts = {
    rows: 3,
    firstLsn: "00000000/00000010",
    lastLsn: "00000000/00000020",
    firstHour: "2026-11-22 07",
    lastHour: "2026-11-22 07",
    badPosition: 0,
    badOperation: 0,
    badSequence: 0,
  };
  expect(fileProblems(file, facts)).toEqual([]);
  expect(fileProblems(file, { ...facts, lastHour: "2026-11-22 08" })).toEqual([
    "holds rows of the hour 2026-11-22 08",
  ]);
  expect(fileProblems(file, { ...facts, badPosition: 1, badOperation: 2, badSequence: 3 })).toHaveLength(3);
  expect(fileProblems({ ...file, key: file.key.replace("/t/", "/s/") }, facts)).toEqual([
    "is not where a file of its table belongs",
  ]);
  expect(fileProblems({ ...file, lastLsn: "00000000/00000021" }, facts)).toEqual([
    "has 00000000/00000020 as its last _lsn; the log says 00000000/00000021",
    "is not named after its last _lsn, 00000000/00000021",
  ]);
});

test("documents that do not follow from each other", async () => {
  const { target } = await oneRow();
  const file = await at.stage.file(target, [["c", "0/10", 1, ["1", "a"]]]);
  const document = await at.stage.batch({ files: [file], endLsn: "0/20" });
  expect(documentProblems(document, "00000000/00000010")).toEqual([]);
  expect(documentProblems(document, "00000000/00000011")).toEqual([expect.stringContaining("begins at")]);
  expect(documentProblems(document, "00000000/00000030")).toHaveLength(2);
  expect(documentProblems({ ...document, endLsn: "00000000/00000010" }, null)).toEqual([
    expect.stringContaining("ends at"),
  ]);
});

test("a sample compares a part of the keys, the same on both sides", async () => {
  const target = await at.table("id numeric PRIMARY KEY, b bool, v text");
  await at.sql("INSERT INTO t SELECT i + 0.5, i % 2 = 0, 'v' FROM generate_series(1, 2000) i");
  const rows = Array.from({ length: 2000 }, (_, i): Row => [
    "r",
    "0/1",
    0,
    [`${i + 1}.5`, i % 2 ? "t" : "f", "v"],
  ]);
  const files = [await at.stage.file(target, [["t", "0/1", 0, [null, null, null]], ...rows])];
  await at.stage.batch({ files, events: [known(target, "0/1")], endLsn: FAR });
  const verdict = await verify({ sample: 0.25 });
  expect(differences(verdict)).toEqual([]);
  expect(verdict.tables[0]?.rows).toBeGreaterThan(400);
  expect(verdict.tables[0]?.rows).toBeLessThan(600);
  expect(verdict.tables[0]?.stagedRows).toBe(2001);
  await at.sql("DELETE FROM t");
  expect((await verify({ sample: 0.25 })).tables[0]?.extra).toBe(verdict.tables[0]?.rows);
});

test("a sample of a table without a key", async () => {
  const target = await at.table("b bool, v text", []);
  await at.sql("INSERT INTO t SELECT NULL, i FROM generate_series(1, 500) i");
  const rows = Array.from({ length: 500 }, (_, i): Row => ["r", "0/1", 0, [null, String(i + 1)]]);
  const files = [await at.stage.file(target, [["t", "0/1", 0, [null, null]], ...rows])];
  await at.stage.batch({ files, events: [known(target, "0/1")], endLsn: FAR });
  const verdict = await verify({ sample: 0.5 });
  expect(differences(verdict)).toEqual([]);
  expect(verdict.tables[0]?.rows).toBeGreaterThan(150);
});

test.each([0, 60])("a sample of a table without a key that has %i columns", async (many) => {
  const names = Array.from({ length: many }, (_, i) => `c${i}`);
  const target = await at.table(names.map((name) => `${name} text DEFAULT 'v'`).join(", "), []);
  await at.sql("INSERT INTO t DEFAULT VALUES");
  const copied: Row[] = [
    ["t", "0/1", 0, names.map(() => null)],
    ["r", "0/1", 0, names.map(() => "v")],
  ];
  const files = [await at.stage.file({ ...target, columns: names }, copied)];
  await at.stage.batch({ files, events: [known({ ...target, columns: names }, "0/1")], endLsn: FAR });
  expect(differences(await verify({ sample: 0.5 }))).toEqual([]);
});

test("a sample compares the same keys in a database that is not in UTF-8", async () => {
  await at.sql(`CREATE DATABASE ${at.database}_latin1 TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'`);
  await at.useDatabase(`${at.database}_latin1`);
  const target = await at.table("id text PRIMARY KEY");
  await at.sql("INSERT INTO t SELECT 'ü' || i FROM generate_series(1, 100) i");
  const rows = Array.from({ length: 100 }, (_, i): Row => ["r", "0/1", 0, [`ü${i + 1}`]]);
  const files = [await at.stage.file(target, [["t", "0/1", 0, [null]], ...rows])];
  await at.stage.batch({ files, events: [known(target, "0/1")], endLsn: FAR });
  expect(differences(await verify({ sample: 0.5 }))).toEqual([]);
});
