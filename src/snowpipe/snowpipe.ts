import type { DuckDBConnection } from "@duckdb/node-api";
import * as zlib from "node:zlib";
import { readCsv, type CsvFile } from "./csv.ts";
import { insertRows } from "./insert.ts";
import { readStatements, type Declared, type LandingColumn, type Pipe } from "./statements.ts";

/**
 * Snowpipe, as far as its documentation describes it, over a stage and landing tables in DuckDB: the warehouse of
 * tests, and of the demo.
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
  /** The bytes of an object; `key` is relative to the stage. Rejects if there is none. */
  readonly read: (key: string) => Promise<Uint8Array>;
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

/** Rows of a file that are loaded in one transaction. */
interface Piece {
  readonly table: string;
  readonly columns: readonly string[];
  readonly rows: readonly (readonly (string | null)[])[];
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
  readonly #declared: Declared;
  readonly #notifications: string[] = [];
  readonly #pieces: Piece[] = [];

  constructor(options: SnowpipeOptions) {
    this.#options = options;
    this.#random = options.random ?? Math.random;
    this.#now = options.now ?? Date.now;
    this.#declared = readStatements(options.statements);
  }

  /** An object was created: `key` is relative to the stage. Duplicates and strangers' files do no harm. */
  notify(key: string): void {
    this.#notifications.push(this.#declared.prefix + key);
  }

  /** Does one thing, taken at random of what could be done now. False if there is nothing left to do. */
  async step(): Promise<boolean> {
    const choices = this.#notifications.length + this.#pieces.length;
    if (choices === 0) return false;
    const choice = Math.floor(this.#random() * choices);
    if (choice < this.#notifications.length) {
      const [path = ""] = this.#notifications.splice(choice, 1);
      for (const pipe of this.#declared.pipes) await this.#take(pipe, path);
      return true;
    }
    const [piece] = this.#pieces.splice(choice - this.#notifications.length, 1);
    if (piece) await insertRows(this.#options.connection, piece);
    return true;
  }

  /** Works until nothing is left. */
  async run(): Promise<void> {
    while (await this.step());
  }

  async #take(pipe: Pipe, path: string): Promise<void> {
    if (!path.startsWith(pipe.path)) return;
    const remembered = pipe.loadedAtMs.get(path);
    if (remembered !== undefined && this.#now() - remembered < MEMORY_MS) return;
    pipe.loadedAtMs.set(path, this.#now());
    const key = path.slice(this.#declared.prefix.length);
    try {
      const file = readCsv(decompressed(key, await this.#options.read(key)), pipe.format);
      this.#queue(pipe, path, file);
      this.loaded.push({ pipe: pipe.name, key, rows: file.records.length });
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      this.skipped.push({ pipe: pipe.name, key, reason });
    }
  }

  /** Cuts a file into pieces that load apart, each a transaction of its own. */
  #queue(pipe: Pipe, path: string, file: CsvFile): void {
    const columns = this.#declared.columns.get(pipe.table);
    if (!columns) throw new Error(`no table ${pipe.table}`);
    const fields = matchHeader(file.header, columns, pipe);
    const rows = file.records.map((record, index) => [
      ...fields.map(({ column, from }) => checked(record[from] ?? null, column, pipe)),
      ...pipe.metadata.map(({ source }) => (source === "METADATA$FILENAME" ? path : String(index + 1))),
    ]);
    const names = [...fields.map(({ column }) => column.name), ...pipe.metadata.map(({ column }) => column)];
    const pieces = 1 + Math.floor(this.#random() * MOST_PIECES);
    const size = Math.max(1, Math.ceil(rows.length / pieces));
    for (let from = 0; from < rows.length; from += size) {
      this.#pieces.push({ table: pipe.table, columns: names, rows: rows.slice(from, from + size) });
    }
  }
}

function decompressed(key: string, bytes: Uint8Array): Uint8Array {
  if (key.endsWith(".gz")) return zlib.gunzipSync(bytes);
  if (!key.endsWith(".zst")) return bytes;
  // zstd came to Node with 22.15; a daemon on an older one cannot have written it.
  const { zstdDecompressSync } = zlib as unknown as {
    zstdDecompressSync?: (bytes: Uint8Array) => Uint8Array;
  };
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

/** The value, checked as Snowflake would when it loads it. */
function checked(value: string | null, { name, type }: LandingColumn, pipe: Pipe): string | null {
  if (value === null) return null;
  if (type.startsWith("NUMBER")) {
    if (!/^-?\d+(\.\d+)?$/.test(value))
      throw new Error(`numeric value '${value}' is not recognized in ${name}`);
    return value;
  }
  const longest = Number(/^VARCHAR\((\d+)\)$/.exec(type)?.[1] ?? 16_777_216);
  if (value.length <= longest) return value;
  if (!pipe.truncates) throw new Error(`a text in ${name} is longer than ${longest}`);
  return value.slice(0, longest);
}
