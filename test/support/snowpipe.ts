import type { DuckDBConnection } from "@duckdb/node-api";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import * as zlib from "node:zlib";
import { csvFormatOf, readCsv, type CsvFile, type CsvFormat } from "./snowflake-csv.ts";

/**
 * Snowpipe, as far as its documentation describes it, over a stage in a directory and landing tables in DuckDB:
 *
 * - a pipe takes every file whose path starts with the pipe's, letter by letter: without a closing slash a
 *   neighbour's, too;
 * - it remembers names for 14 days and never looks at a name's content again, loaded or failed;
 * - notifications come late, in any order, more than once; files load in any order, and in pieces;
 * - a record that does not fit makes it skip the whole file (ON_ERROR = SKIP_FILE).
 *
 * Pipes, file formats and landing tables are what the generated SQL says.
 */
export interface SnowpipeOptions {
  readonly connection: DuckDBConnection;
  /** The stage's directory. */
  readonly directory: string;
  /** The generated SQL: statements of other kinds are passed over. */
  readonly statements: readonly string[];
  /** From 0 up to 1, like Math.random. */
  readonly random?: () => number;
  /** Milliseconds since 1970. */
  readonly now?: () => number;
}

export interface SkippedFile {
  readonly pipe: string;
  readonly key: string;
  readonly reason: string;
}

interface Pipe {
  readonly name: string;
  readonly table: string;
  /** Below the bucket. */
  readonly path: string;
  readonly format: CsvFormat;
  readonly isCaseSensitive: boolean;
  readonly metadata: readonly { readonly column: string; readonly source: string }[];
  readonly truncates: boolean;
  readonly loadedAtMs: Map<string, number>;
}

/** A landing column with what it takes. */
interface LandingColumn {
  readonly name: string;
  readonly type: string;
}

const MEMORY_MS = 14 * 24 * 3_600_000;
const MOST_PIECES = 3;

export class Snowpipe {
  readonly skipped: SkippedFile[] = [];
  /** Files loaded so far, by pipe and name. */
  readonly loaded: { readonly pipe: string; readonly key: string; readonly rows: number }[] = [];
  readonly #options: SnowpipeOptions;
  readonly #random: () => number;
  readonly #now: () => number;
  readonly #pipes: readonly Pipe[];
  readonly #columns: Map<string, LandingColumn[]>;
  readonly #prefix: string;
  readonly #notifications: string[] = [];
  readonly #pieces: string[] = [];

  constructor(options: SnowpipeOptions) {
    this.#options = options;
    this.#random = options.random ?? Math.random;
    this.#now = options.now ?? Date.now;
    const formats = named(options.statements, /^CREATE (?:OR REPLACE )?FILE FORMAT (?:IF NOT EXISTS )?(\S+)/);
    const stages = named(options.statements, /^CREATE (?:OR REPLACE )?STAGE (?:IF NOT EXISTS )?(\S+)/);
    this.#prefix = prefixOf([...stages.values()][0] ?? "");
    this.#columns = new Map();
    for (const [name, sql] of named(
      options.statements,
      /^CREATE (?:OR REPLACE )?TABLE (?:IF NOT EXISTS )?([^(]+?) \(/,
    )) {
      this.#columns.set(name, landingColumns(sql));
    }
    this.#pipes = [
      ...named(options.statements, /^CREATE (?:OR REPLACE )?PIPE (?:IF NOT EXISTS )?(.+)$/m),
    ].map(([name, sql]) => parsePipe({ name, sql, formats, stages }));
  }

  /** An object was created: `key` is relative to the stage. Duplicates and strangers' files do no harm. */
  notify(key: string): void {
    this.#notifications.push(this.#prefix + key);
  }

  /** ALTER PIPE … REFRESH of every pipe: notifies of all files that are there. */
  refresh(): void {
    for (const entry of readdirSync(this.#options.directory, { recursive: true, withFileTypes: true })) {
      if (!entry.isFile()) continue;
      const path = join(entry.parentPath, entry.name).slice(this.#options.directory.length);
      this.notify(path.replaceAll("\\", "/").replace(/^\/+/, ""));
    }
  }

  /** Does one thing, taken at random of what could be done now. False if there is nothing left to do. */
  async step(): Promise<boolean> {
    const choices = this.#notifications.length + this.#pieces.length;
    if (choices === 0) return false;
    const choice = Math.floor(this.#random() * choices);
    if (choice < this.#notifications.length) {
      const [path = ""] = this.#notifications.splice(choice, 1);
      for (const pipe of this.#pipes) this.#take(pipe, path);
    } else {
      const [insert = ""] = this.#pieces.splice(choice - this.#notifications.length, 1);
      await this.#options.connection.run(insert);
    }
    return true;
  }

  /** Works until nothing is left. */
  async run(): Promise<void> {
    while (await this.step());
  }

  #take(pipe: Pipe, path: string): void {
    if (!path.startsWith(pipe.path)) return;
    const remembered = pipe.loadedAtMs.get(path);
    if (remembered !== undefined && this.#now() - remembered < MEMORY_MS) return;
    pipe.loadedAtMs.set(path, this.#now());
    const key = path.slice(this.#prefix.length);
    try {
      const file = readCsv(readStaged(join(this.#options.directory, key)), pipe.format);
      this.#queue(pipe, path, file);
      this.loaded.push({ pipe: pipe.name, key, rows: file.records.length });
    } catch (error) {
      this.skipped.push({
        pipe: pipe.name,
        key,
        reason: error instanceof Error ? error.message : String(error),
      });
    }
  }

  /** Cuts a file into pieces that load apart, each a transaction of its own. */
  #queue(pipe: Pipe, path: string, file: CsvFile): void {
    const columns = this.#columns.get(pipe.table);
    if (!columns) throw new Error(`no table ${pipe.table}`);
    const fields = matchHeader(file.header, columns, pipe);
    const rows = file.records.map((record, index) => {
      const values = fields.map(({ column, from }) => literal(record[from] ?? null, column, pipe));
      return `(${[...values, ...pipe.metadata.map(({ source }) => metadataValue(source, path, index))].join(", ")})`;
    });
    const names = [...fields.map(({ column }) => column.name), ...pipe.metadata.map(({ column }) => column)];
    const pieces = 1 + Math.floor(this.#random() * MOST_PIECES);
    const size = Math.max(1, Math.ceil(rows.length / pieces));
    for (let from = 0; from < rows.length; from += size) {
      const values = rows.slice(from, from + size).join(",\n");
      this.#pieces.push(`INSERT INTO ${pipe.table} (${names.join(", ")}) VALUES ${values}`);
    }
  }
}

function named(statements: readonly string[], pattern: RegExp): Map<string, string> {
  return new Map(
    statements.flatMap((sql) => (pattern.exec(sql)?.[1] ? [[pattern.exec(sql)?.[1] ?? "", sql]] : [])),
  );
}

/** The path below the bucket of a stage's URL. */
function prefixOf(stage: string): string {
  return /URL = 's3:\/\/[^/]+\/(.*)'/.exec(stage)?.[1] ?? "";
}

function landingColumns(sql: string): LandingColumn[] {
  return [...sql.matchAll(/^ {2}("(?:[^"]|"")+") (.+?),?$/gm)].map(([, name = "", type = ""]) => ({
    name,
    type,
  }));
}

function parsePipe(made: {
  name: string;
  sql: string;
  formats: Map<string, string>;
  stages: Map<string, string>;
}): Pipe {
  const { name, sql, formats, stages } = made;
  const part = (pattern: RegExp): string => {
    const found = pattern.exec(sql)?.[1];
    if (found === undefined) throw new Error(`${name}: nothing matches ${pattern}`);
    return found;
  };
  const from = part(/^FROM (.+)$/m);
  const location = from.startsWith("'") ? from.slice(1, -1).replaceAll("''", "'") : from;
  const stage = [...stages.keys()].find((candidate) => location.startsWith(`@${candidate}/`));
  const format = formats.get(part(/FORMAT_NAME = '((?:[^']|'')+)'/).replaceAll("''", "'"));
  if (stage === undefined || format === undefined) throw new Error(`${name}: unknown stage or file format`);
  return {
    name,
    table: part(/^COPY INTO (.+)$/m),
    path: prefixOf(stages.get(stage) ?? "") + location.slice(stage.length + 2),
    format: csvFormatOf(format),
    isCaseSensitive: part(/MATCH_BY_COLUMN_NAME = (\w+)/) === "CASE_SENSITIVE",
    metadata: [...part(/INCLUDE_METADATA = \((.+)\)/).matchAll(/("(?:[^"]|"")+") = (METADATA\$\w+)/g)].map(
      ([, column = "", source = ""]) => ({ column, source }),
    ),
    truncates: sql.includes("TRUNCATECOLUMNS = TRUE"),
    loadedAtMs: new Map(),
  };
}

function readStaged(path: string): Buffer {
  const bytes = readFileSync(path);
  if (path.endsWith(".gz")) return zlib.gunzipSync(bytes);
  if (!path.endsWith(".zst")) return bytes;
  // zstd came to Node with 22.15; a daemon on an older one cannot have written it.
  const { zstdDecompressSync } = zlib as unknown as { zstdDecompressSync?: (bytes: Buffer) => Buffer };
  if (!zstdDecompressSync) throw new Error("this Node cannot read zstd");
  return zstdDecompressSync(bytes);
}

/** Columns of the file that the table lacks are not loaded, columns of the table that the file lacks are NULL. */
function matchHeader(
  header: readonly string[],
  columns: readonly LandingColumn[],
  { isCaseSensitive }: Pipe,
): { column: LandingColumn; from: number }[] {
  const fold = (name: string): string => (isCaseSensitive ? name : name.toUpperCase());
  const matched = header.flatMap((name, from) => {
    const column = columns.find(
      (candidate) => fold(candidate.name.slice(1, -1).replaceAll('""', '"')) === fold(name),
    );
    return column ? [{ column, from }] : [];
  });
  if (matched.length === 0) throw new Error("no column of the file is a column of the table");
  return matched;
}

function metadataValue(source: string, path: string, index: number): string {
  return source === "METADATA$FILENAME" ? quote(path) : String(index + 1);
}

/** The value as DuckDB takes it, checked as Snowflake would when it loads it. */
function literal(value: string | null, { name, type }: LandingColumn, pipe: Pipe): string {
  if (value === null) return "NULL";
  if (type.startsWith("NUMBER")) {
    if (!/^-?\d+(\.\d+)?$/.test(value))
      throw new Error(`numeric value '${value}' is not recognized in ${name}`);
    return value;
  }
  const longest = Number(/^VARCHAR\((\d+)\)$/.exec(type)?.[1] ?? 16_777_216);
  if (value.length <= longest) return quote(value);
  if (!pipe.truncates) throw new Error(`a text in ${name} is longer than ${longest}`);
  return quote(value.slice(0, longest));
}

function quote(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}
