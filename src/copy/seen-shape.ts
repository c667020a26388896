import type { CatalogTable, SeenShape, Storage, TableRecord } from "../core/table.ts";
import { isAlike } from "./reasons.ts";

/** What a column of one attnum was or is called, and of which type; the type is not known of dropped ones. */
interface Candidate {
  readonly attnum: number;
  readonly name: string;
  readonly typeOid: number | null;
}

/**
 * Whether rows of this shape fit the table as the log knows it or as it is now. A shape that is neither, nor on the
 * way from one to the other, was there only for a while (a column renamed and renamed back, a table that had left):
 * its rows stand in files under names or in texts that no later look at the catalog can explain. A partition, too, is
 * one that the log knew or one that is there, or its rows went with it; and rows that were sent as another table's are
 * missing here. Pure.
 */
export function isExplained(shape: SeenShape, record: TableRecord, now: CatalogTable): boolean {
  if (shape.root !== undefined && shape.root !== now.oid) return false;
  if (shape.leaf !== undefined) return [...record.catalog.storages, ...now.storages].some(isLeaf(shape.leaf));
  if (shape.schema !== now.schema || shape.table !== now.name) return false;
  const keys = [record.catalog.key, now.key].map((key) => JSON.stringify(key));
  if (!keys.includes(JSON.stringify(shape.key))) return false;
  const candidates = candidatesOf(record, now);
  // RELATION lists columns by attnum, so each must be found behind the one before it.
  let behind = 0;
  for (const { name, typeOid } of shape.columns) {
    const found = candidates.find(
      (one) =>
        one.attnum > behind && one.name === name && (one.typeOid === null || isAlike(one.typeOid, typeOid)),
    );
    if (!found) return false;
    behind = found.attnum;
  }
  return true;
}

function isLeaf(oid: number): (storage: Storage) => boolean {
  return (storage) => storage.oid === oid;
}

function candidatesOf(record: TableRecord, now: CatalogTable): Candidate[] {
  const current = [...record.catalog.columns, ...now.columns];
  const known = new Set(current.map((column) => column.attnum));
  const dropped = Object.entries(record.names)
    .filter(([, attnum]) => !known.has(attnum))
    .map(([name, attnum]) => ({ attnum, name, typeOid: null }));
  return [...current, ...dropped].toSorted((a, b) => a.attnum - b.attnum);
}
