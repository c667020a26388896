import { afterEach, beforeEach, expect, test } from "vitest";
import { changedSections } from "../../src/snowflake/diff.ts";
import type { Section, SnowflakeInput, TableShape } from "../../src/snowflake/input.ts";
import { snowflakeSections } from "../../src/snowflake/script.ts";
import { SnowflakeOnDuckDB } from "../support/snowflake-duckdb.ts";
import { options } from "./input.ts";

/** What --diff prints, run over objects made for an earlier shape that have rows already. */
let snowflake: SnowflakeOnDuckDB;
beforeEach(async () => {
  snowflake = await SnowflakeOnDuckDB.open();
});
afterEach(() => snowflake.close());

const OIDS = { integer: 23, text: 25 } as const;

function shape(columns: Record<string, keyof typeof OIDS>, key: readonly string[] = ["id"]): TableShape {
  return {
    schemaName: "public",
    tableName: "t",
    metadataPrefix: "_",
    replicaIdentity: key.length === 0 ? "full" : "default",
    key,
    columns: Object.entries(columns).map(([name, type]) => {
      return { name, type, typeOid: OIDS[type], typeModifier: -1, key: key.includes(name) };
    }),
  };
}

function input(newest: TableShape, earlier: readonly TableShape[]): SnowflakeInput {
  return {
    pipeline: { stageUrl: "s3://bucket/prefix", compression: "none", slot: "pgstage" },
    tables: [{ shape: newest, earlier }],
    options: options({ currentState: "task" }),
  };
}

function run(sections: readonly Section[]): Promise<void> {
  return snowflake.create(sections.flatMap(({ statements }) => statements.map(({ sql }) => sql)));
}

/** `values` by name of the landing column; the file's name stands in `fileColumn`. */
async function land(
  [op, lsn, seq]: readonly [string, string, number],
  values: Record<string, string>,
  fileColumn = "_FILE",
): Promise<void> {
  const row: Record<string, string> = {
    _OP: op,
    _LSN: `00000000/0000000${lsn}`,
    _SEQ: String(seq),
    _COMMITTED_AT: "2026-11-22 07:03:12.123456+00",
    [fileColumn]: `file ${op} ${lsn}`,
    _ROW: String(seq),
    ...values,
  };
  const names = Object.keys(row).map((name) => `"${name}"`);
  const texts = Object.values(row).map((value) => `'${value}'`);
  await snowflake.connection.run(
    `INSERT INTO "PUBLIC_LANDING"."T" (${names.join(", ")}) VALUES (${texts.join(", ")})`,
  );
}

async function rows(columns: string): Promise<unknown[]> {
  await snowflake.runTasks();
  return snowflake.query(`SELECT ${columns} FROM "PUBLIC"."T" ORDER BY 1`);
}

test("a new column takes the name of a column that the task's table has for itself", async () => {
  const before = shape({ id: "integer" });
  await run(snowflakeSections(input(before, [])));
  await land(["r", "1", 0], { ID: "1" });
  await snowflake.runTasks();
  await run(changedSections(input(shape({ id: "integer", instance: "text" }), [before])));
  await land(["c", "2", 1], { ID: "2", INSTANCE: "i-2" });
  expect(await rows(`"ID", "INSTANCE"`)).toEqual([
    { ID: "1", INSTANCE: null },
    { ID: "2", INSTANCE: "i-2" },
  ]);
});

test("a new column takes the name of a column that the pipe fills in", async () => {
  const before = shape({ a: "integer" }, []);
  await run(snowflakeSections(input(before, [])));
  await land(["r", "1", 0], { A: "1" });
  await snowflake.runTasks();
  const sections = changedSections(input(shape({ a: "integer", _file: "text" }, []), [before]));
  expect(JSON.stringify(sections)).toMatch(/CREATE OR REPLACE PIPE .*_FILE_.{3}= METADATA\$FILENAME/);
  await run(sections);
  await land(["c", "2", 1], { A: "2", _FILE: "theirs" }, "_FILE_");
  expect(await rows(`"A", "_FILE"`)).toEqual([
    { A: "1", _FILE: null },
    { A: "2", _FILE: "theirs" },
  ]);
});

test("without a key, a column in place of another is another identity of every row", async () => {
  const before = shape({ a: "text", b: "integer" }, []);
  await run(snowflakeSections(input(before, [])));
  await land(["r", "1", 0], { A: "x", B: "1" });
  await snowflake.runTasks();
  await run(changedSections(input(shape({ a: "text", c: "integer" }, []), [before])));
  await land(["d", "2", 1], { A: "x" });
  expect(await rows(`"A"`)).toEqual([]);
});

test("a name comes back with another type after its column was dropped", async () => {
  const first = shape({ id: "integer", b: "integer" });
  const second = shape({ id: "integer" });
  await run(snowflakeSections(input(first, [])));
  await run(changedSections(input(second, [first])));
  await run(changedSections(input(shape({ id: "integer", b: "text" }), [first, second])));
  await land(["c", "2", 1], { ID: "1", B: "hello" });
  expect(await rows(`"ID", "B"`)).toEqual([{ ID: "1", B: "hello" }]);
});
