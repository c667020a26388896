import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import * as fc from "fast-check";
import { formatLsn, type Lsn } from "../../src/core/lsn.ts";
import { csvRecord, formatTimestamp, metadataColumns } from "../../src/csv/header.ts";
import type { TableShape } from "../../src/snowflake/input.ts";

/**
 * Random histories of a small database: what each table holds after every commit (the model), and the staged files
 * that CONTRACT.md promises for it.
 */

const TEXT = 25;
const INT = 23;

function table(name: string, columns: Record<string, number>, identity: Partial<TableShape>): TableShape {
  const key = identity.key ?? [];
  return {
    schemaName: "public",
    tableName: name,
    metadataPrefix: "_",
    replicaIdentity: "default",
    key,
    columns: Object.entries(columns).map(([column, typeOid]) => ({
      name: column,
      type: typeOid === INT ? "integer" : "text",
      typeOid,
      typeModifier: -1,
      key: key.includes(column),
    })),
    ...identity,
  };
}

/** One table of every kind of identity. */
export const TABLES: readonly TableShape[] = [
  table("orders", { id: INT, region: TEXT, note: TEXT, amount: INT, body: TEXT }, { key: ["id", "region"] }),
  table(
    "orders_archive",
    { code: TEXT, body: TEXT, more: TEXT },
    { key: ["code"], replicaIdentity: "index" },
  ),
  table("full", { id: INT, body: TEXT, position: TEXT }, { key: ["id"], replicaIdentity: "full" }),
  table("bag", { a: TEXT, b: INT }, { replicaIdentity: "full" }),
  table("events", { at: INT, what: TEXT, _file: TEXT }, {}),
];

const VALUES: readonly (string | null)[] = [
  null,
  "",
  "NULL",
  "\\N",
  "ends with \\",
  '"quoted"',
  "a,b",
  "two\nlines",
  "cr\r",
  "it's",
  "é ☃",
  "\\.",
];
const NUMBERS: readonly (string | null)[] = [null, "0", "-7", "2147483647"];
const KEY_TEXTS = ["", "NULL", "\\N", "x,y", "Z", "z"];

export type Row = readonly (string | null)[];
type States = readonly (readonly Row[])[];

/** A staged file: rows of one table in the order of their positions. */
interface Staged {
  readonly key: string;
  readonly bytes: Buffer;
}

export interface History {
  readonly files: readonly Staged[];
  /** After each commit, in commit order; a copy counts as one. */
  readonly moments: readonly {
    readonly lsn: string;
    readonly committedAt: string;
    readonly states: States;
  }[];
  readonly final: States;
}

const stepArb = fc.record({
  table: fc.nat(TABLES.length - 1),
  kind: fc.nat(19),
  row: fc.nat(50),
  values: fc.array(fc.nat(100), { minLength: 5, maxLength: 5 }),
  changed: fc.nat(31),
});
type Step = typeof stepArb extends fc.Arbitrary<infer S> ? S : never;

/** Transactions; each says how its file is cut and how far the clock moves, backwards at times. */
export const historyArb = fc
  .array(
    fc.record({
      steps: fc.array(stepArb, { maxLength: 6 }),
      copies: fc.option(fc.record({ table: fc.nat(TABLES.length - 1), sessions: fc.nat(1) }), { freq: 6 }),
      clockMs: fc.integer({ min: -40, max: 200 }),
      cut: fc.nat(3),
    }),
    { minLength: 1, maxLength: 25 },
  )
  .map((transactions) => new Historian().write(transactions));

type Transaction = Parameters<Historian["write"]>[0][number];

interface StagedRow {
  readonly op: string;
  readonly lsn: bigint;
  readonly seq: number;
  readonly committedAt: string;
  readonly unchanged: readonly string[];
  readonly values: Row;
}

class Historian {
  readonly #states: Row[][] = TABLES.map(() => []);
  readonly #open: StagedRow[][] = TABLES.map(() => []);
  readonly #files: Staged[] = [];
  readonly #moments: History["moments"][number][] = [];
  /** The table of which a copy in two sessions is under way: its changes send every value. */
  #filling = -1;
  #emittedAt = -1n;
  #lsn = 0x1_0000_0000n - 400n;
  #seq = 0;
  #micros = 1_795_330_980_000_000n;
  #committedAt = "";

  write(
    transactions: readonly {
      steps: readonly Step[];
      copies: { table: number; sessions: number } | null;
      clockMs: number;
      cut: number;
    }[],
  ): History {
    for (const [index] of TABLES.entries()) this.#copy(index);
    for (const transaction of transactions) this.#commit(transaction);
    this.#cut();
    return { files: this.#files, moments: this.#moments, final: this.#snapshot() };
  }

  #commit({ steps, copies, clockMs, cut }: Transaction): void {
    if (copies?.sessions === 0) this.#copy(copies.table);
    const isSplit = copies?.sessions === 1 && (TABLES[copies.table]?.key.length ?? 0) > 0;
    const rest = isSplit ? this.#copyFirstHalf(copies.table) : null;
    this.#tick(clockMs);
    for (const step of steps) this.#apply(step);
    this.#moment();
    rest?.();
    if (cut === 0) this.#cut();
  }

  #tick(clockMs: number): void {
    this.#lsn += 8n + BigInt(Math.abs(clockMs));
    this.#micros += BigInt(clockMs) * 1000n + 1n;
    this.#seq = 0;
    this.#committedAt = formatTimestamp(this.#micros);
  }

  /** A transaction that changed nothing is not in the stage, and so is no moment. */
  #moment(): void {
    if (this.#emittedAt !== this.#lsn) return;
    const states = this.#snapshot();
    this.#moments.push({ lsn: formatLsn(this.#lsn as Lsn), committedAt: this.#committedAt, states });
  }

  #snapshot(): States {
    return this.#states.map((rows) => [...rows]);
  }

  #emit(index: number, op: string, values: Row, unchanged: readonly string[] = []): void {
    this.#emittedAt = this.#lsn;
    const seq = op === "r" || (op === "t" && this.#seq === 0) ? 0 : this.#seq++;
    this.#open[index]?.push({ op, lsn: this.#lsn, seq, committedAt: this.#committedAt, unchanged, values });
  }

  /** A copy at one consistent point: a `t` row, and every row as it is. */
  #copy(index: number): void {
    this.#tick(5);
    const shape = TABLES[index] as TableShape;
    this.#emit(
      index,
      "t",
      shape.columns.map(() => null),
    );
    for (const row of this.#states[index] ?? []) this.#emit(index, "r", row);
    this.#moment();
  }

  /** A copy in two sessions: half the rows now, the others, as they are then, after the next transaction. */
  #copyFirstHalf(index: number): () => void {
    this.#tick(5);
    const shape = TABLES[index] as TableShape;
    this.#emit(
      index,
      "t",
      shape.columns.map(() => null),
    );
    const keyOf = (row: Row): string => JSON.stringify(keyValues(shape, row));
    const first = new Set((this.#states[index] ?? []).filter((_, at) => at % 2 === 0).map(keyOf));
    for (const row of this.#states[index] ?? []) if (first.has(keyOf(row))) this.#emit(index, "r", row);
    this.#filling = index;
    return () => {
      this.#tick(5);
      for (const row of this.#states[index] ?? []) if (!first.has(keyOf(row))) this.#emit(index, "r", row);
      this.#filling = -1;
      // Between the sessions the stage does not say what the table held.
      this.#moments.splice(0);
      this.#moment();
    };
  }

  #apply(step: Step): void {
    const shape = TABLES[step.table] as TableShape;
    const rows = this.#states[step.table] as Row[];
    if (this.#seq === 0) this.#seq = 1;
    if (step.kind === 0) {
      rows.length = 0;
      this.#emit(
        step.table,
        "t",
        shape.columns.map(() => null),
      );
      return;
    }
    const isInsertOnly = shape.key.length === 0 && shape.replicaIdentity !== "full";
    const at = rows.length === 0 ? -1 : step.row % rows.length;
    const old = rows[at];
    if (step.kind < 8 || isInsertOnly || old === undefined) this.#insert(step, shape, rows);
    else if (step.kind < 11) this.#delete(step, { shape, rows, at, old });
    else this.#update(step, { shape, rows, at, old });
  }

  #insert(step: Step, shape: TableShape, rows: Row[]): void {
    const row = shape.columns.map((column, i) => newValue(column, step.values[i] ?? 0));
    if (shape.key.length > 0 && rows.some((other) => sameKey(shape, other, row))) return;
    rows.push(row);
    this.#emit(step.table, "c", row);
  }

  #delete(step: Step, { shape, rows, at, old }: At): void {
    rows.splice(at, 1);
    this.#emit(step.table, "d", identity(shape, old));
  }

  #update(step: Step, { shape, rows, at, old }: At): void {
    const row = shape.columns.map((column, i) =>
      (step.changed >> i) % 2 === 1 ? newValue(column, step.values[i] ?? 0) : (old[i] ?? null),
    );
    const isBag = shape.key.length === 0;
    const movesKey = isBag || !sameKey(shape, old, row);
    if (!isBag && movesKey && rows.some((other) => sameKey(shape, other, row))) return;
    rows[at] = row;
    if (movesKey) {
      this.#emit(step.table, "d", identity(shape, old));
      this.#emit(step.table, "u", row);
      return;
    }
    const sendsAll = shape.replicaIdentity === "full" || this.#filling === step.table;
    const unchanged = shape.columns.filter(
      (column, i) =>
        !sendsAll && !column.key && column.typeOid === TEXT && row[i] === old[i] && step.row % (i + 2) !== 0,
    );
    const sent = row.map((value, i) =>
      unchanged.some((column) => column === shape.columns[i]) ? null : value,
    );
    this.#emit(
      step.table,
      "u",
      sent,
      unchanged.map(({ name }) => name),
    );
  }

  /** Ends the batch: one file a table, or two. */
  #cut(): void {
    for (const [index, rows] of this.#open.entries()) {
      const shape = TABLES[index] as TableShape;
      const middle = rows.length % 3 === 0 ? rows.length : Math.ceil(rows.length / 2);
      for (const part of [rows.slice(0, middle), rows.slice(middle)]) {
        if (part.length > 0) this.#files.push(stagedFile(shape, part, this.#files.length));
      }
      rows.length = 0;
    }
  }
}

interface At {
  readonly shape: TableShape;
  readonly rows: Row[];
  readonly at: number;
  readonly old: Row;
}

function newValue(column: TableShape["columns"][number], pick: number): string | null {
  if (column.typeOid === INT) return column.key ? String(pick % 6) : (NUMBERS[pick % NUMBERS.length] ?? null);
  if (column.key) return KEY_TEXTS[pick % KEY_TEXTS.length] ?? "";
  return VALUES[pick % VALUES.length] ?? null;
}

function keyValues(shape: TableShape, row: Row): Row {
  return row.filter((_, i) => shape.columns[i]?.key);
}

function sameKey(shape: TableShape, a: Row, b: Row): boolean {
  return JSON.stringify(keyValues(shape, a)) === JSON.stringify(keyValues(shape, b));
}

/** What a `d` row carries. */
function identity(shape: TableShape, row: Row): Row {
  return shape.replicaIdentity === "full"
    ? row
    : row.map((value, i) => (shape.columns[i]?.key ? value : null));
}

function stagedFile(shape: TableShape, rows: readonly StagedRow[], number: number): Staged {
  const header = csvRecord([...metadataColumns("_"), ...shape.columns.map(({ name }) => name)]);
  const records = rows.map(({ op, lsn, seq, committedAt, unchanged, values }) => {
    const missing = unchanged.length > 0 ? JSON.stringify(unchanged) : null;
    return csvRecord([op, formatLsn(lsn as Lsn), String(seq), committedAt, missing, ...values]);
  });
  const key = `public/${shape.tableName}/2026/11/22/07/${String(number).padStart(16, "0")}.csv`;
  return { key, bytes: Buffer.concat([header, ...records]) };
}

export function stageFiles(directory: string, files: readonly Staged[]): void {
  for (const { key, bytes } of files) {
    mkdirSync(dirname(join(directory, key)), { recursive: true });
    writeFileSync(join(directory, key), bytes);
  }
}
