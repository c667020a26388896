import { DuckDBInstance, type DuckDBConnection } from "@duckdb/node-api";
import type { Client } from "pg";
import { readStageTables, type StageTable } from "../commands/sql-tables.ts";
import { RAW_TYPES } from "../postgres/connect.ts";
import { ident } from "../postgres/quote.ts";
import type { SnowflakeOptions } from "../snowflake/input.ts";
import { schemaPath, tableNames } from "../snowflake/names.ts";
import { snowflakeSections } from "../snowflake/script.ts";
import { insertRows } from "../snowpipe/insert.ts";
import { Snowpipe } from "../snowpipe/snowpipe.ts";
import { readStatements, type LandingColumn } from "../snowpipe/statements.ts";
import type { Store } from "../stores/store.ts";

/**
 * The demo's warehouse: a DuckDB database with the landing tables and views that `pgstage sql` prints, filled by a
 * loader with Snowpipe's rules: files in any order, in pieces, some announced twice.
 */

const OPTIONS: SnowflakeOptions = {
  database: "PGSTAGE",
  schema: "PUBLIC",
  landingSchema: "PUBLIC_LANDING",
  warehouse: "COMPUTE_WH",
  integration: "PGSTAGE_S3",
  roleArn: null,
  identifiers: "upper",
  currentState: "view",
  partial: false,
};

/** DuckDB names a database by its file, and the generated SQL names it, too. */
export const WAREHOUSE_FILE = "pgstage.duckdb";

/** What Snowflake's functions in the views are here. */
const FUNCTIONS = [
  "iff(condition, a, b) AS CASE WHEN condition THEN a ELSE b END",
  "to_varchar(x) AS CAST(x AS VARCHAR)",
  `try_parse_json(x) AS CASE WHEN json_valid(x) THEN from_json(x, '["VARCHAR"]') END`,
  "array_contains(x, a) AS COALESCE(list_contains(a, x), FALSE)",
];

export interface WarehouseVerdict {
  readonly ok: boolean;
  readonly tables: number;
  readonly files: number;
  readonly rows: number;
  /** What is wrong, a line each. */
  readonly problems: readonly string[];
}

/** Loads the whole stage and compares the view of every table with the table. `path` is a file that is not there yet. */
export async function loadWarehouse(path: string, store: Store, client: Client): Promise<WarehouseVerdict> {
  const instance = await DuckDBInstance.create(path, { threads: "2" });
  const connection = await instance.connect();
  try {
    return await new Warehouse(connection, store).prove(client);
  } finally {
    connection.closeSync();
    instance.closeSync();
  }
}

class Warehouse {
  readonly #connection: DuckDBConnection;
  readonly #store: Store;

  constructor(connection: DuckDBConnection, store: Store) {
    this.#connection = connection;
    this.#store = store;
  }

  async prove(client: Client): Promise<WarehouseVerdict> {
    const { slot, tables } = await readStageTables(this.#store, "_");
    const statements = scriptFor(slot, tables);
    await this.#createTables(statements);
    const pipe = await this.#load([...statements.values()]);
    const problems = pipe.skipped.map(({ key, reason }) => `${key} was not loaded: ${reason}`);
    for (const table of tables) {
      const names = tableNames(table, OPTIONS);
      await this.#connection.run(onDuckDB(statements.get(`view ${names.textView}`) ?? ""));
      const different = await this.#differences(client, table);
      if (different > 0) problems.push(`${names.textView}: ${different} rows are not as in ${table.name}`);
    }
    const rows = pipe.loaded.reduce((sum, file) => sum + file.rows, 0);
    return { ok: problems.length === 0, tables: tables.length, files: pipe.loaded.length, rows, problems };
  }

  async #createTables(statements: ReadonlyMap<string, string>): Promise<void> {
    for (const definition of FUNCTIONS) await this.#connection.run(`CREATE MACRO ${definition}`);
    for (const schema of [OPTIONS.schema, OPTIONS.landingSchema])
      await this.#connection.run(`CREATE SCHEMA ${schemaPath(OPTIONS, schema)}`);
    for (const [name, columns] of readStatements([...statements.values()]).columns)
      await this.#connection.run(`CREATE TABLE ${name} (${columns.map(columnOnDuckDB).join(", ")})`);
  }

  async #load(statements: readonly string[]): Promise<Snowpipe> {
    const read = async (key: string): Promise<Uint8Array> => {
      const bytes = await this.#store.get(key);
      if (!bytes) throw new Error("it is not there");
      return bytes;
    };
    const pipe = new Snowpipe({ connection: this.#connection, read, statements });
    for await (const key of this.#store.list("")) {
      pipe.notify(key);
      if (Math.random() < 0.3) pipe.notify(key);
    }
    await pipe.run();
    return pipe;
  }

  /** Rows, each as often as it is there, that only one of the two has. */
  async #differences(client: Client, table: StageTable): Promise<number> {
    const { schemaName, tableName, columns } = table.shape;
    const { rows } = await client.query<(string | null)[]>({
      text: `SELECT ${columns.map(({ name }) => ident(name)).join(", ")} FROM ${ident(schemaName)}.${ident(tableName)}`,
      rowMode: "array",
      types: RAW_TYPES as never,
    });
    const source = columns.map((_, index) => `s${index}`);
    await this.#connection.run(
      `CREATE OR REPLACE TEMP TABLE source_rows (${source.map((name) => `${name} VARCHAR`).join(", ")})`,
    );
    await insertRows(this.#connection, { table: "source_rows", columns: source, rows });
    const names = tableNames(table, OPTIONS);
    const view = `SELECT ${columns.map(({ name }) => names.column(name)).join(", ")} FROM ${names.textView}`;
    const both = `(FROM source_rows EXCEPT ALL ${view}) UNION ALL (${view} EXCEPT ALL FROM source_rows)`;
    const reader = await this.#connection.runAndReadAll(`SELECT count(*) FROM (${both})`);
    return Number(reader.getRows()[0]?.[0]);
  }
}

/** The generated statements by their ids. */
function scriptFor(slot: string, tables: readonly StageTable[]): Map<string, string> {
  const pipeline = { stageUrl: "s3://demo/stage", compression: "gzip", slot } as const;
  const sections = snowflakeSections({ pipeline, tables, options: OPTIONS });
  return new Map(sections.flatMap(({ statements }) => statements.map(({ id, sql }) => [id, sql])));
}

function columnOnDuckDB({ name, type }: LandingColumn): string {
  return `${name} ${type.replace("NUMBER", "DECIMAL")}`;
}

function onDuckDB(view: string): string {
  return view.replace(" COPY GRANTS", "").replaceAll("::VARIANT", "").replaceAll(")::ARRAY", ")");
}
