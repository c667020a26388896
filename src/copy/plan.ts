import type { CatalogTable, PlannedStorage, TableRecord } from "../core/table.ts";

/** One range of a copy plan: the unit of copy, of file and of resume. */
export interface PlannedRange {
  /** From 1 on, over all storages of the table. */
  readonly number: number;
  /** Null for a partitioned table without partitions: nothing to read, but a `t` row to write. */
  readonly storage: PlannedStorage | null;
  readonly from: number;
  /** Exclusive; null for the last range of a storage, which takes whatever was added since. */
  readonly to: number | null;
}

/** Cuts each storage into ranges of about `rangeBytes`, counting what lies out of line with the pages that refer to it. */
export function planStorages(
  table: CatalogTable,
  sizes: ReadonlyMap<number, { readonly pages: number; readonly bytes: number }>,
  rangeBytes: number,
): PlannedStorage[] {
  return table.storages.map(({ oid, schema, name, filenode }) => {
    const { pages, bytes } = sizes.get(oid) ?? { pages: 0, bytes: 0 };
    const bytesPerPage = pages > 0 ? Math.max(1, bytes / pages) : 1;
    const pagesPerRange = Math.max(1, Math.floor(rangeBytes / bytesPerPage));
    return { oid, schema, name, filenode, pages, pagesPerRange };
  });
}

export function rangesOf(storages: readonly PlannedStorage[]): PlannedRange[] {
  if (storages.length === 0) return [{ number: 1, storage: null, from: 0, to: null }];
  const ranges: PlannedRange[] = [];
  for (const storage of storages) {
    const count = Math.max(1, Math.ceil(storage.pages / storage.pagesPerRange));
    for (let i = 0; i < count; i++) {
      const from = i * storage.pagesPerRange;
      const to = i === count - 1 ? null : from + storage.pagesPerRange;
      ranges.push({ number: ranges.length + 1, storage, from, to });
    }
  }
  return ranges;
}

/** A plan's storages under the names that they have now: a partition may be renamed, or moved to another schema. */
export function asNamedNow(planned: readonly PlannedStorage[], now: CatalogTable): PlannedStorage[] {
  const names = new Map(now.storages.map(({ oid, schema, name }) => [oid, { schema, name }]));
  return planned.map((storage) => ({ ...storage, ...names.get(storage.oid) }));
}

/**
 * Rows that nothing identifies cannot win over each other, and of rows whose updates are not sent nobody tells that
 * they moved to pages that are copied already: such a table is copied in one session or again.
 */
export function isBag(table: CatalogTable): boolean {
  return table.key.length === 0 || table.insertOnly;
}

/**
 * Whether the missing ranges of a copy may be read at a later consistent point. `now` is the table as of that point.
 * Its pages must be the same pages, and its rows of the same shape.
 */
export function mayResume(record: TableRecord, now: CatalogTable): boolean {
  if (record.copy.phase !== "copying" || isBag(now) || isBag(record.catalog)) return false;
  if (JSON.stringify(record.catalog.columns) !== JSON.stringify(now.columns)) return false;
  const planned = record.copy.storages;
  if (planned.length !== now.storages.length) return false;
  return now.storages.every(
    ({ oid, filenode }, i) => planned[i]?.oid === oid && planned[i]?.filenode === filenode,
  );
}
