import { beforeLargePiece } from "../core/garbage.ts";
import { tupleOf, writeRow, type RowHead, type Value } from "./rows.ts";
import type { OpenFile, TableEncoder } from "./table-encoder.ts";

/**
 * Rows whose unchanged values must be read back from the source before they can be written: a change of key, whose
 * new row nothing precedes, and changes of a table while it is copied, which may have missed the row before.
 */
export interface DeferredRow {
  readonly encoder: TableEncoder;
  readonly head: RowHead;
  /** Copies: the receive buffer is gone by the time they are written. Texts were read back. */
  readonly values: readonly (Value | string)[];
  readonly bytes: number;
}

/**
 * Reads current values by key, once `xids`, of which the rows are, are visible. The order of the answer is that of the
 * question; null: there is no such row now.
 */
export interface ReadBack {
  (
    table: { oid: number; columns: readonly string[]; key: readonly string[]; xids: readonly number[] },
    keys: readonly (readonly string[])[],
  ): Promise<(readonly (string | null)[] | null)[]>;
}

/** Rows asked for in one query: one at first, since nobody knows how long its values are. */
const FIRST_KEYS = 1;
const MOST_KEYS = 500;
/** So many times as many next, as long as their values stay below this. */
const GROWTH = 4;
const ANSWER_BYTES = 4 * 1024 * 1024;

/** What to do with filled rows, answer by answer. */
export interface Filled {
  readonly write: (rows: readonly DeferredRow[]) => void;
  /** Called after each write, when the answer is not held any more. */
  readonly relieve: () => Promise<void>;
}

/**
 * Fills the unchanged values of `rows` and hands them on answer by answer, so that never more than one is in
 * memory. A row that is gone meanwhile keeps its values unchanged: a later change in the stream says that it went. So
 * may a value be newer than its change: a later change then says the same.
 */
export async function fillUnchanged(
  rows: readonly DeferredRow[],
  readBack: ReadBack,
  { write, relieve }: Filled,
): Promise<void> {
  for (const encoder of new Set(rows.map((row) => row.encoder))) {
    const group = rows.filter((row) => row.encoder === encoder);
    let keys = FIRST_KEYS;
    for (let at = 0; at < group.length;) {
      const slice = group.slice(at, at + keys);
      at += slice.length;
      let answerBytes = 0;
      keys = await fill(encoder, slice, readBack).then((filled) => {
        write(filled);
        answerBytes = filled.reduce((sum, row) => sum + bytesOf(row.values), 0);
        return nextKeys(keys, filled.length, answerBytes);
      });
      // Nobody needs the answer any more, nor what it came in.
      beforeLargePiece(2 * answerBytes);
      await relieve();
    }
  }
}

/** How many rows the next query may ask for, if they are as long as these. */
function nextKeys(keys: number, rows: number, bytes: number): number {
  const affordable = Math.floor((ANSWER_BYTES * rows) / Math.max(1, bytes));
  return Math.max(1, Math.min(keys * GROWTH, affordable, MOST_KEYS));
}

function bytesOf(values: readonly (Value | string)[]): number {
  return values.reduce((sum: number, value) => sum + (value?.length ?? 0), 0);
}

/** Asks for the columns that one of the rows misses. */
async function fill(
  encoder: TableEncoder,
  rows: readonly DeferredRow[],
  readBack: ReadBack,
): Promise<DeferredRow[]> {
  const { relation, key } = encoder;
  const nameOf = (index: number): string => relation.columns[index]?.name ?? "";
  const missing = relation.columns.flatMap((_column, i) =>
    rows.some((row) => row.values[i] === undefined) ? [i] : [],
  );
  const keys = rows.map((row) => key.map((index) => String(row.values[index])));
  const xids = [...new Set(rows.map((row) => row.head.transaction.xid))];
  const table = { oid: relation.oid, columns: missing.map(nameOf), key: key.map(nameOf), xids };
  const answers = await readBack(table, keys);
  return rows.map((row, i) => ({ ...row, values: merge(row.values, missing, answers[i] ?? null) }));
}

/** `now` holds the current values of the `asked` columns, or is null if there is no such row. */
function merge(
  values: readonly (Value | string)[],
  asked: readonly number[],
  now: readonly (string | null)[] | null,
): (Value | string)[] {
  const merged = [...values];
  asked.forEach((index, i) => {
    if (now && merged[index] === undefined) merged[index] = now[i];
  });
  return merged;
}

/** Writes a row whose values are at hand; those that are still unchanged are listed in `_unchanged`. Returns its CSV bytes. */
export function writeValues(file: OpenFile, row: DeferredRow): number {
  const bytes = tupleOf(row.values);
  return writeRow(file, row.head, { bytes, at: 0, to: bytes.length }, unchangedList(row));
}

function unchangedList({ encoder, values }: DeferredRow): Buffer | null {
  const names = encoder.relation.columns.flatMap((column, i) =>
    values[i] === undefined ? [column.name] : [],
  );
  return names.length === 0 ? null : Buffer.from(JSON.stringify(names), "utf8");
}
