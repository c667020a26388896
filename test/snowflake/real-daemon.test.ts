import type { Client } from "pg";
import { afterEach, beforeEach, expect, test } from "vitest";
import { readStageTables, type StageTable } from "../../src/commands/sql-tables.ts";
import { connectSource, RAW_TYPES } from "../../src/postgres/connect.ts";
import { ident } from "../../src/postgres/quote.ts";
import type { IdentifierMode, SnowflakeInput, SnowflakeOptions } from "../../src/snowflake/input.ts";
import { tableNames } from "../../src/snowflake/names.ts";
import { snowflakeSections } from "../../src/snowflake/script.ts";
import { selectList, typedColumns } from "../../src/snowflake/typed.ts";
import { sceneFor, type Scene } from "../crash/scene.ts";
import { newSeed, Random } from "../support/random.ts";
import { sourceAccess } from "../support/rebuild.ts";
import { SnowflakeOnDuckDB } from "../support/snowflake-duckdb.ts";
import { Snowpipe } from "../support/snowpipe.ts";
import type { TestStage } from "../support/stage.ts";
import { createTables, Workload } from "../support/workload.ts";
import { options } from "./input.ts";

/**
 * The whole way: the real daemon stages what an application does to every kind of table, Snowpipe loads the files in
 * any order, and the generated SQL computes the tables from them. They are what Postgres has, to the letter.
 */

/** Enough for every kind of change, on any machine. */
const COMMITS = 800;

const newScene = sceneFor();
let snowflake: SnowflakeOnDuckDB;

beforeEach(async () => {
  snowflake = await SnowflakeOnDuckDB.open();
});
afterEach(() => snowflake.close());

interface Loaded {
  readonly tables: readonly StageTable[];
  readonly chosen: SnowflakeOptions;
  readonly pipe: Snowpipe;
  readonly files: readonly string[];
}

async function dataFiles(stage: TestStage): Promise<string[]> {
  const keys: string[] = [];
  for await (const key of stage.store.list("")) if (!key.startsWith("_pgstage/")) keys.push(key);
  return keys;
}

/** Loads every file, some notified twice; the tasks run now and then, whatever has landed by then. */
async function load(
  stage: TestStage,
  { random, identifiers }: { random: Random; identifiers: IdentifierMode },
): Promise<Loaded> {
  const { slot, tables } = await readStageTables(stage.store, "_");
  const chosen = options({ currentState: "task", identifiers });
  const pipeline = { stageUrl: "s3://bucket/landing", compression: "gzip", slot } as const;
  const input: SnowflakeInput = { pipeline, tables, options: chosen };
  const statements = snowflakeSections(input).flatMap((section) => section.statements.map(({ sql }) => sql));
  await snowflake.create(statements);
  const pipe = new Snowpipe({
    connection: snowflake.connection,
    directory: stage.directory ?? "",
    statements: statements.map((sql) => snowflake.local(sql)),
    random: () => random.next(),
  });
  const files = await dataFiles(stage);
  for (const key of files) {
    pipe.notify(key);
    if (random.chance(0.3)) pipe.notify(key);
  }
  for (let steps = 1; await pipe.step(); steps++) if (steps % 150 === 0) await snowflake.runTasks();
  await snowflake.runTasks();
  return { tables, chosen, pipe, files };
}

function asLines(rows: readonly unknown[]): string[] {
  return rows.map((row) => JSON.stringify(row)).toSorted();
}

/** The rows as Postgres prints them. */
async function rowsInPostgres(client: Client, { shape }: StageTable): Promise<string[]> {
  const { rows } = await client.query({
    text: `SELECT ${shape.columns.map(({ name }) => ident(name)).join(", ")} FROM ${ident(shape.schemaName)}.${ident(shape.tableName)}`,
    rowMode: "array",
    types: RAW_TYPES as never,
  });
  return asLines(rows);
}

async function rowsIn(sql: string): Promise<string[]> {
  const reader = await snowflake.connection.runAndReadAll(sql);
  return asLines(reader.getRowsJson());
}

async function compareAll(client: Client, { tables, chosen }: Loaded, endLsn: string): Promise<number> {
  let rows = 0;
  for (const table of tables) {
    const names = tableNames(table, chosen);
    const local = (name: string): string => snowflake.local(name);
    const columns = table.shape.columns.map(({ name }) => names.column(name)).join(", ");
    const expected = await rowsInPostgres(client, table);
    rows += expected.length;
    const inView = await rowsIn(`SELECT ${columns} FROM ${local(names.textView)}`);
    expect(inView, `${table.name}: view`).toEqual(expected);
    // Types are another matter, and another test's: what the task keeps is what the view would give, typed.
    // (DuckDB keeps a VARIANT as something else than the JSON that was put there.)
    const typed = typedColumns(table.shape, names).filter(({ type }) => type !== "VARIANT");
    const all = typed.map(({ name }) => name).join(", ");
    const wanted = await rowsIn(
      snowflake.transpile(`SELECT\n${selectList(typed)}\nFROM ${local(names.textView)}`),
    );
    expect(await rowsIn(`SELECT ${all} FROM ${local(names.current)}`), `${table.name}: task`).toEqual(wanted);
    const then = `SELECT ${all} FROM ${local(names.asOfLsn)}('${endLsn}')`;
    expect(await rowsIn(then), `${table.name}: as of ${endLsn}`).toEqual(wanted);
  }
  return rows;
}

/** Names with what means something in SQL, in CSV, in URLs and in file systems. (DuckDB's ignore case: no two differ by it.) */
const ODD = `"a ""b""'c\\ /%41 é☃ $$--;"`;
const ODD_COLUMNS = {
  key: `"Id, ""1"""`,
  value: `"v'
☃\\"`,
  big: `"$$ big --"`,
};

/** Everything that a table may go through, one transaction each. */
const ODD_HISTORY = [
  `UPDATE ${ODD} SET ${ODD_COLUMNS.value} = E'"\\n,\\\\' WHERE ${ODD_COLUMNS.key} % 3 = 0`,
  `UPDATE ${ODD} SET ${ODD_COLUMNS.key} = ${ODD_COLUMNS.key} + 1000 WHERE ${ODD_COLUMNS.key} < 10`,
  `DELETE FROM ${ODD} WHERE ${ODD_COLUMNS.key} % 7 = 0`,
  `INSERT INTO ${ODD} VALUES (5, '', NULL), (6, '\\N', ''); TRUNCATE ${ODD}; INSERT INTO ${ODD} SELECT i, NULL, repeat(md5(i::text), 150) FROM generate_series(1, 50) AS i`,
  `UPDATE ${ODD} SET ${ODD_COLUMNS.value} = 'big is unchanged' WHERE ${ODD_COLUMNS.key} > 40`,
  `ALTER TABLE ${ODD} ADD COLUMN "new "" one" int DEFAULT 7`,
  `UPDATE ${ODD} SET ${ODD_COLUMNS.key} = -${ODD_COLUMNS.key}, "new "" one" = NULL WHERE ${ODD_COLUMNS.key} < 5`,
];

async function makeOddTable(scene: Scene): Promise<void> {
  const { key, value, big } = ODD_COLUMNS;
  await scene.sql(
    `CREATE TABLE ${ODD} (${key} int PRIMARY KEY, ${value} text, ${big} text); ALTER TABLE ${ODD} ALTER ${big} SET STORAGE EXTERNAL;
     INSERT INTO ${ODD} SELECT i, 'v' || i, repeat(md5(i::text), 150) FROM generate_series(1, 100) AS i`,
  );
}

const seed = newSeed();

test.each<IdentifierMode>(["upper", "quoted"])(
  `Snowflake computes what Postgres has, %s identifiers (CRASH_SEED=${seed})`,
  { timeout: 240_000 },
  async (identifiers) => {
    const random = new Random(seed);
    await using scene = await newScene("file");
    await createTables(scene.url);
    await makeOddTable(scene);
    const daemon = await scene.daemon({ PGSTAGE_FLUSH_INTERVAL: "500ms" });
    await using workload = new Workload({ url: scene.url, random: random.fork(), ddlEveryMs: 1_000 });
    for (const [k, statement] of ODD_HISTORY.entries()) {
      const enough = ((k + 1) * COMMITS) / ODD_HISTORY.length;
      await expect.poll(() => workload.commits, { timeout: 60_000 }).toBeGreaterThan(enough);
      await scene.sql(statement);
    }
    await workload.stop();
    await scene.settled(daemon);
    await daemon.drain();

    const loaded = await load(scene.stage, { random, identifiers });
    expect(loaded.pipe.skipped).toEqual([]);
    const piped = loaded.files.filter((key) => loaded.pipe.loaded.some((one) => one.key === key));
    expect(loaded.pipe.loaded.length).toBe(piped.length);
    const client = await connectSource(sourceAccess(scene.url), "sql");
    try {
      const rows = await compareAll(client, loaded, "FFFFFFFF/FFFFFFFF");
      console.log(
        `${loaded.tables.length} tables, ${piped.length} files, ${rows} rows, ${workload.commits} commits, ${workload.ddl} changes of tables`,
      );
      expect(rows).toBeGreaterThan(100);
    } finally {
      await client.end();
    }
  },
);
