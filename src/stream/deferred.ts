import { tupleOf, writeRow, type RowHead, type Value } from "./rows.ts";
import type { OpenFile, TableEncoder } from "./table-encoder.ts";

/**
 * Rows whose unchanged values must be read back from the source before they can be written: a change of key, whose
 * new row nothing precedes, and changes of a table while it is copied, which may have missed the row before.
 */
export interface DeferredRow {
  readonly encoder: TableEncoder;
  readonly head: RowHead;
  /** Copies: the receive buffer is gone by the time they are written. */
  readonly values: readonly Value[];
  readonly bytes: number;
}

/** Reads current values by key. The order of the answer is that of the question; null: there is no such row now. */
export interface ReadBack {
  (
    table: { oid: number; columns: readonly string[]; key: readonly string[] },
    keys: readonly (readonly string[])[],
  ): Promise<(readonly (string | null)[] | null)[]>;
}

/** Rows asked for in one query. */
const KEYS_PER_QUERY = 500;

/**
 * Fills the unchanged values of `rows`. A row that is gone meanwhile keeps them unchanged: a later change in the
 * stream says that it went. So may a value be newer than its change: a later change then says the same.
 */
export async function fillUnchanged(
  rows: readonly DeferredRow[],
  readBack: ReadBack,
): Promise<DeferredRow[]> {
  const filled = new Map<DeferredRow, DeferredRow>();
  for (const encoder of new Set(rows.map((row) => row.encoder))) {
    const group = rows.filter((row) => row.encoder === encoder);
    for (let at = 0; at < group.length; at += KEYS_PER_QUERY) {
      const slice = group.slice(at, at + KEYS_PER_QUERY);
      const answers = await askFor(encoder, slice, readBack);
      slice.forEach((row, i) => filled.set(row, { ...row, values: merge(row.values, answers[i] ?? null) }));
    }
  }
  return rows.map((row) => filled.get(row) ?? row);
}

async function askFor(
  encoder: TableEncoder,
  rows: readonly DeferredRow[],
  readBack: ReadBack,
): Promise<(readonly (string | null)[] | null)[]> {
  const { relation, key } = encoder;
  const columns = relation.columns.map((column) => column.name);
  const keys = rows.map((row) => key.map((index) => String(row.values[index])));
  return readBack({ oid: relation.oid, columns, key: key.map((index) => columns[index] as string) }, keys);
}

function merge(values: readonly Value[], now: readonly (string | null)[] | null): Value[] {
  return values.map((value, index) => {
    if (value !== undefined || !now) return value;
    const current = now[index];
    return current === null || current === undefined
      ? (current as null | undefined)
      : Buffer.from(current, "utf8");
  });
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
