import { DuckDBInstance, type DuckDBConnection } from "@duckdb/node-api";
import { createRequire } from "node:module";
import type * as Polyglot from "@polyglot-sql/sdk";

/**
 * Runs the generated Snowflake SQL on DuckDB. Queries and MERGE are translated by a transpiler that is not ours;
 * what has no counterpart (pipes, tasks, streams) is played: a task's body is run when a test says so, and a
 * stream shows the rows that landed since it was last consumed.
 */

/** Polyglot's ES module fetches its WebAssembly from a file URL, which Node 20 does not; its CommonJS one reads it. */
export async function loadPolyglot(): Promise<typeof Polyglot> {
  const polyglot = createRequire(import.meta.url)("@polyglot-sql/sdk") as typeof Polyglot;
  await polyglot.init();
  return polyglot;
}

/**
 * Snowflake's functions that DuckDB lacks, by their documentation. `sf_` names stand for functions that Polyglot
 * translates to something else: it reads the day of a date format as a literal, and has no arrays of variants.
 */
const FUNCTIONS = [
  `to_varchar(x) AS CAST(x AS VARCHAR)`,
  `sf_array_contains(x, a) AS list_contains(a, x)`,
  `sf_try_parse_array(x) AS CASE WHEN json_valid(x) THEN from_json(x, '["VARCHAR"]') END`,
  // strptime takes words such as infinity, Snowflake does not.
  // json_keys() of an object with a duplicate names it twice; Snowflake's PARSE_JSON refuses it.
  `sf_try_parse_json(x) AS CASE WHEN json_valid(x) AND (json_type(x) <> 'OBJECT' OR
     len(json_keys(x)) = len(list_distinct(json_keys(x)))) THEN CAST(x AS JSON) END`,
  `sf_strptime(x, f) AS CASE WHEN regexp_full_match(x, '[-+:. 0-9]+') THEN try_strptime(x, f) END`,
  `sf_try_to_date(x, f) AS TRY_CAST(sf_strptime(x, f) AS DATE)`,
  `sf_try_to_time(x, f) AS TRY_CAST(sf_strptime(x, f) AS TIME)`,
  `sf_try_to_timestamp_ntz(x, f) AS sf_strptime(x, f)`,
  `sf_try_to_timestamp_tz(x, f) AS CAST(sf_strptime(x, f) AS TIMESTAMPTZ)`,
  `sf_try_to_binary(x, f) AS TRY(unhex(x))`,
  `sf_sha2(x, bits) AS sha256(x)`,
  `sf_to_json(x) AS CAST(to_json(x) AS VARCHAR)`,
];

/** Elements of Snowflake's formats as strptime's, which wants its format constant. */
const FORMAT_ELEMENTS = [
  ["YYYY", "%Y"],
  ["MM", "%m"],
  ["DD", "%d"],
  ["HH24", "%H"],
  ["MI", "%M"],
  ["SS", "%S"],
  ["FF6", "%f"],
  ["TZH", "%z"],
] as const;

const RENAMED = [
  "ARRAY_CONTAINS",
  "TRY_PARSE_JSON",
  "TRY_TO_DATE",
  "TRY_TO_TIME",
  "TRY_TO_TIMESTAMP_NTZ",
  "TRY_TO_TIMESTAMP_TZ",
  "TRY_TO_BINARY",
  "SHA2",
  "TO_JSON",
];

interface Task {
  readonly name: string;
  /** Translated. */
  readonly merge: string;
  readonly stream: string;
}

export class SnowflakeOnDuckDB {
  readonly connection: DuckDBConnection;
  readonly #polyglot: typeof Polyglot;
  readonly #instance: DuckDBInstance;
  #database = "";
  readonly #tasks: Task[] = [];

  private constructor(instance: DuckDBInstance, connection: DuckDBConnection, polyglot: typeof Polyglot) {
    this.#instance = instance;
    this.connection = connection;
    this.#polyglot = polyglot;
  }

  static async open(): Promise<SnowflakeOnDuckDB> {
    const polyglot = await loadPolyglot();
    const instance = await DuckDBInstance.create(":memory:", { threads: "2" });
    const connection = await instance.connect();
    await connection.run("SET TimeZone = 'UTC'");
    for (const definition of FUNCTIONS) await connection.run(`CREATE MACRO ${definition}`);
    await connection.run(
      "CREATE SEQUENCE landed; CREATE TABLE consumed (stream VARCHAR PRIMARY KEY, upto BIGINT)",
    );
    return new SnowflakeOnDuckDB(instance, connection, polyglot);
  }

  close(): void {
    this.connection.closeSync();
    this.#instance.closeSync();
  }

  /** Runs the statements of a script that make objects; those of another world (stages, pipes …) are passed over. */
  async create(statements: readonly string[]): Promise<void> {
    for (const statement of statements.map((sql) => this.local(sql))) {
      for (const sql of this.#translate(statement)) await this.#run(sql);
    }
  }

  /** Without the database's name: a transaction of DuckDB writes to one database only. */
  local(sql: string): string {
    this.#database = /^CREATE DATABASE IF NOT EXISTS (.+)$/.exec(sql)?.[1] ?? this.#database;
    return sql.replaceAll(`${this.#database}.`, "");
  }

  async query(sql: string): Promise<Record<string, unknown>[]> {
    const reader = await this.connection.runAndReadAll(this.transpile(this.local(sql)));
    return reader.getRowObjectsJson() as Record<string, unknown>[];
  }

  /** Runs every task whose stream has rows, and moves the stream on. */
  async runTasks(): Promise<void> {
    for (const task of this.#tasks) await this.#inTransaction(() => this.#runTask(task));
  }

  async #runTask({ name, merge, stream }: Task): Promise<void> {
    const seen = await this.connection.runAndReadAll(`SELECT COUNT(*), MAX(landed_as) FROM ${stream}`);
    const [count, last] = seen.getRows()[0] ?? [];
    if (Number(count) === 0) return;
    await this.#run(merge, name);
    const consumed = `('${stream.replaceAll("'", "''")}', ${String(last)})`;
    await this.#run(`INSERT OR REPLACE INTO consumed VALUES ${consumed}`);
  }

  /** The stream moves on only if the MERGE commits. */
  async #inTransaction(work: () => Promise<void>): Promise<void> {
    await this.connection.run("BEGIN");
    try {
      await work();
      await this.connection.run("COMMIT");
    } catch (error) {
      await this.connection.run("ROLLBACK");
      throw error;
    }
  }

  /** Polyglot leaves what is inside a MERGE's source as it is, so that is translated by itself. */
  transpile(sql: string): string {
    const merge = /^(MERGE INTO [^]*?\nUSING \(\n)([^]*)(\n\) AS source\n[^]*)$/.exec(sql);
    if (!merge) return this.#transpileOne(sql);
    const [, head = "", source = "", tail = ""] = merge;
    const shell = this.#transpileOne(`${head}SELECT 'the source'${tail}`);
    return shell.replace("SELECT 'the source'", () => this.#transpileOne(source));
  }

  #transpileOne(sql: string): string {
    const prepared = RENAMED.reduce(
      (text, name) => text.replaceAll(new RegExp(`\\b${name}\\(`, "g"), `SF_${name}(`),
      sql
        .replaceAll(/TRY_PARSE_JSON\(("(?:[^"]|"")+")\)::ARRAY/g, "SF_TRY_PARSE_ARRAY($1)")
        .replaceAll(/'(?:YYYY|HH24)[^']*'/g, (format) =>
          FORMAT_ELEMENTS.reduce((text, [from, to]) => text.replaceAll(from, to), format),
        )
        .replaceAll("::VARIANT", "")
        .replaceAll(/\s+COPY GRANTS\b/g, "")
        .replaceAll("BINARY(67108864)", "BINARY")
        .replaceAll(" AS VARIANT)", " AS JSON)"),
    );
    const result = this.#polyglot.transpile(
      prepared,
      "snowflake" as Polyglot.Dialect,
      "duckdb" as Polyglot.Dialect,
    );
    if (!result.success || !result.sql) throw new Error(`${result.error ?? "no SQL"}\n${prepared}`);
    return result.sql.join(";\n");
  }

  async #run(sql: string, what = ""): Promise<void> {
    try {
      await this.connection.run(sql);
    } catch (error) {
      throw new Error(`${what} ${error instanceof Error ? error.message : String(error)}\n${sql}`, {
        cause: error,
      });
    }
  }

  #translate(statement: string): string[] {
    const schema = /^CREATE SCHEMA IF NOT EXISTS (\S+)/.exec(statement)?.[1];
    if (schema) return [`CREATE SCHEMA IF NOT EXISTS ${schema}`];
    if (/^CREATE (OR REPLACE )?(TABLE|VIEW) /.test(statement)) return [this.#table(statement)];
    if (/^ALTER TABLE .+ (RENAME|DROP) COLUMN /.test(statement)) return [this.transpile(statement)];
    if (statement.startsWith("ALTER TABLE ")) return this.#addColumns(statement);
    const stream = /^CREATE (OR REPLACE )?STREAM (?:IF NOT EXISTS )?(.+?)\n {2}ON TABLE (.+)$/m.exec(
      statement,
    );
    if (stream) return playStream(stream[2] ?? "", stream[3] ?? "", stream[1] !== undefined);
    const task = /^CREATE OR REPLACE TASK (.+)$/m.exec(statement)?.[1];
    if (task !== undefined) this.#rememberTask(task, statement);
    const dynamic = /^CREATE OR REPLACE DYNAMIC TABLE (.+)\n[^]*?\nAS\n([^]*)$/.exec(statement);
    if (dynamic) return [`CREATE OR REPLACE VIEW ${dynamic[1] ?? ""} AS ${this.transpile(dynamic[2] ?? "")}`];
    const made =
      /^CREATE OR REPLACE FUNCTION (.+)\(("(?:[^"]|"")+") \w+\)\nCOPY GRANTS\nRETURNS TABLE \([^]*?\n\)\nAS\n(\$\$[^]*\$\$|'[^]*')$/.exec(
        statement,
      );
    return made
      ? [
          `CREATE OR REPLACE MACRO ${made[1] ?? ""}(${made[2] ?? ""}) AS TABLE ${this.transpile(bodyOf(made[3] ?? ""))}`,
        ]
      : [];
  }

  /** Landing tables get a hidden number by arrival, which the streams go by. */
  #table(statement: string): string {
    const landing = statement.endsWith("\nENABLE_SCHEMA_EVOLUTION = TRUE");
    if (!landing) return this.transpile(statement);
    const sql = this.transpile(statement.replace("\nENABLE_SCHEMA_EVOLUTION = TRUE", ""));
    return sql.replace(/\)$/, ", landed_as BIGINT DEFAULT nextval('main.landed'))");
  }

  #addColumns(statement: string): string[] {
    const table = /^ALTER TABLE (.+?) ADD COLUMN/.exec(statement)?.[1] ?? "";
    return [...statement.matchAll(/IF NOT EXISTS ("(?:[^"]|"")+") (.+?),?$/gm)].map(
      ([, name = "", type = ""]) =>
        this.transpile(`ALTER TABLE ${table} ADD COLUMN IF NOT EXISTS ${name} ${type}`),
    );
  }

  #rememberTask(name: string, statement: string): void {
    const stream = bodyOf(/SYSTEM\$STREAM_HAS_DATA\(('(?:[^'\\]|''|\\\\)+')\)/.exec(statement)?.[1] ?? "");
    const merge = this.transpile(statement.slice(statement.indexOf("\nAS\n") + 4));
    const known = this.#tasks.findIndex((task) => task.name === name);
    if (known >= 0) this.#tasks.splice(known, 1);
    this.#tasks.push({ name, merge, stream });
  }
}

/** The text of a string constant, between dollars or with escapes. */
function bodyOf(literal: string): string {
  if (literal.startsWith("$$")) return literal.slice(2, -2);
  return literal.slice(1, -1).replaceAll(/''|\\\\/g, (pair) => pair.slice(1));
}

/** SHOW_INITIAL_ROWS: a new stream begins with all that has landed. */
function playStream(name: string, table: string, isReplaced: boolean): string[] {
  const literal = `'${name.replaceAll("'", "''")}'`;
  const view = `CREATE OR REPLACE VIEW ${name} AS SELECT * FROM ${table}
    WHERE landed_as > COALESCE((SELECT upto FROM main.consumed WHERE stream = ${literal}), 0)`;
  return isReplaced ? [`DELETE FROM consumed WHERE stream = ${literal}`, view] : [view];
}
