import type { CatalogTable, TableColumn, TableRecord } from "../core/table.ts";

/** OIDs of types that print every value alike: text and varchar. */
const SAME_TEXT = new Set([25, 1043]);

/**
 * Why a table must be copied afresh: what happened to old rows and no change event told. Null if nothing did.
 * `record` is what the stage holds, `now` is the catalog. Pure.
 */
export function whyCopyAgain(
  record: TableRecord,
  now: CatalogTable,
  { member = null, publication }: Pick<TableRecord, "member" | "publication"> = {},
): string | null {
  const before = record.catalog;
  if (before.schema !== now.schema || before.name !== now.name) {
    return `it was ${before.schema}.${before.name} before`;
  }
  return (
    keyReason(before, now) ??
    columnReason(record, now) ??
    storageReason(before, now) ??
    labelReason(before, now) ??
    memberReason(record, member) ??
    publicationReason(record, publication)
  );
}

/** A membership of its own ended: changes in between were not sent. */
function memberReason({ member }: TableRecord, now: number | null): string | null {
  if (member === undefined || member === null || member === now) return null;
  return "it had left the publication";
}

/** What it published meanwhile nobody knows: it may have been altered back. Another owner explains another version. */
function publicationReason({ publication }: TableRecord, now: TableRecord["publication"]): string | null {
  if (publication === undefined || now === undefined || publication.owner !== now.owner) return null;
  return publication.version === now.version ? null : "its publication was altered";
}

/** Whether every value of these types prints alike. */
export function isAlike(a: number, b: number): boolean {
  return a === b || (SAME_TEXT.has(a) && SAME_TEXT.has(b));
}

function keyReason(before: CatalogTable, now: CatalogTable): string | null {
  if (before.insertOnly !== now.insertOnly) {
    return now.insertOnly ? "its replica identity was lost" : "it has gained a replica identity";
  }
  return JSON.stringify(before.key) === JSON.stringify(now.key)
    ? null
    : `its key is now (${now.key.join(", ")})`;
}

function columnReason(record: TableRecord, now: CatalogTable): string | null {
  const before = new Map(record.catalog.columns.map((column) => [column.attnum, column]));
  for (const column of now.columns) {
    const old = before.get(column.attnum);
    if (!old) {
      if (now.missing.includes(column.attnum)) return `column ${column.name} was added with a default`;
      if (column.attnum <= (record.catalog.attributes ?? 0))
        return `column ${column.name} was generated before`;
      const former = formerOwner(record, now, column);
      if (former !== null) {
        const name = former === column.name ? "this name" : `the name ${former}`;
        return `column ${column.name} is not the column that had ${name} before`;
      }
      continue;
    }
    if (old.name !== column.name) return `column ${old.name} was renamed to ${column.name}`;
    if (!isAlike(old.typeOid, column.typeOid)) return `the type of column ${column.name} was changed`;
  }
  return null;
}

/**
 * The name, in any case, under which files since the last copy hold another column than this: Snowflake matches headers
 * in any case, and would show that one's old values in this one. Columns that are there together are told apart.
 */
function formerOwner(
  { names }: TableRecord,
  { columns }: CatalogTable,
  { name, attnum }: TableColumn,
): string | null {
  const isGone = (other: number): boolean => !columns.some((column) => column.attnum === other);
  const found = Object.entries(names).find(
    ([former, other]) =>
      other !== attnum && (former === name || (former.toUpperCase() === name.toUpperCase() && isGone(other))),
  );
  return found?.[0] ?? null;
}

function storageReason(before: CatalogTable, now: CatalogTable): string | null {
  const rewritten = before.columnsVersion !== now.columnsVersion;
  if (!now.partitioned) {
    // VACUUM FULL and TRUNCATE give a new filenode, too, but leave the definitions of the columns alone.
    return rewritten && before.storages[0]?.filenode !== now.storages[0]?.filenode
      ? "it was rewritten"
      : null;
  }
  const attached = new Map(before.storages.map((storage) => [storage.oid, storage]));
  if (attached.size !== now.storages.length) return "a partition was attached or detached";
  for (const storage of now.storages) {
    const old = attached.get(storage.oid);
    if (old?.attachedBy !== storage.attachedBy) return `partition ${storage.name} was attached`;
    if (old.filenode !== storage.filenode) return `partition ${storage.name} was truncated or rewritten`;
  }
  return null;
}

function labelReason(before: CatalogTable, now: CatalogTable): string | null {
  for (const [oid, label] of Object.entries(before.labels)) {
    const current = now.labels[oid];
    if (current === undefined || current === label) continue;
    if (oid.startsWith("type:")) return "a composite type of its columns has other attributes now";
    if (oid.endsWith("/version")) return "an enum value was renamed and renamed back";
    return `enum value ${label} was renamed to ${current}`;
  }
  return null;
}

/** Names of the columns that files since the last copy may use; the newest owner of a name wins. */
export function rememberNames(
  names: Readonly<Record<string, number>>,
  table: CatalogTable,
): Readonly<Record<string, number>> {
  const added = table.columns.filter((column) => names[column.name] !== column.attnum);
  if (added.length === 0) return names;
  return { ...names, ...namesOf(table) };
}

export function namesOf(table: CatalogTable): Readonly<Record<string, number>> {
  return Object.fromEntries(table.columns.map((column) => [column.name, column.attnum]));
}
