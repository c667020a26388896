import type { ShapeField } from "../core/shape.ts";
import type { CatalogTable, SeenShape, TableRecord } from "../core/table.ts";
import { namesOf, rememberNames, whyCopyAgain } from "../copy/reasons.ts";
import { isExplained } from "../copy/seen-shape.ts";
import { parseLsn } from "../core/lsn.ts";
import type { State, TableEvent } from "../delivery/state.ts";

/** What a look at the catalog changes. */
export interface Difference {
  readonly events: readonly TableEvent[];
  /** Tables that will be copied, with the reason. */
  readonly copies: readonly {
    readonly table: CatalogTable;
    readonly reason: string;
    readonly again: boolean;
  }[];
  /** Tables that are not captured any more. */
  readonly gone: readonly TableRecord[];
}

const FIRST_COPY = "it is new";

/** How a table is published, as its record says it. */
type Published = Pick<TableRecord, "member" | "publication">;

/** What was found out besides the tables themselves. */
export interface Found {
  /** How each table is published, by OID. */
  readonly members?: ReadonlyMap<number, Published>;
  /** Shapes that the stream had shown when the look began, by OID. */
  readonly seen?: ReadonlyMap<number, readonly SeenShape[]>;
}

/** Compares what the log knows with what the catalog shows. Pure. */
export function compareCatalog(
  state: State,
  tables: readonly CatalogTable[],
  { members = new Map(), seen = new Map() }: Found = {},
): Difference {
  const events: TableEvent[] = [];
  const copies: { table: CatalogTable; reason: string; again: boolean }[] = [];
  for (const table of tables) {
    const record = state.tables[table.oid];
    const published = members.get(table.oid) ?? { member: null };
    const reason = record
      ? (reasonFor(record, table, published) ?? passingReason(record, table, seen.get(table.oid)))
      : FIRST_COPY;
    if (reason !== null) {
      copies.push({ table, reason, again: record !== undefined });
      events.push({
        event: "table",
        table: { catalog: table, ...published, names: namesOf(table), copy: { phase: "pending", reason } },
      });
    } else if (record && isNews(record, table, published)) {
      events.push({
        event: "table",
        table: { ...record, catalog: table, ...published, names: rememberNames(record.names, table) },
      });
    }
  }
  for (const [oid, { length: count }] of seen) events.push({ event: "looked", oid, count });
  const there = new Set(tables.map((table) => table.oid));
  const gone = Object.values(state.tables).filter((record) => !there.has(record.catalog.oid));
  events.push(...gone.map((record): TableEvent => ({ event: "forget", oid: record.catalog.oid })));
  return { events, copies, gone };
}

function reasonFor(record: TableRecord, table: CatalogTable, published: Published): string | null {
  // What waits for its copy is looked at when the copy begins.
  return record.copy.phase === "pending" ? null : whyCopyAgain(record, table, published);
}

/** A copy makes good whatever was before it. */
function passingReason(
  record: TableRecord,
  table: CatalogTable,
  seen: readonly SeenShape[] = [],
): string | null {
  const { copy } = record;
  if (copy.phase === "pending") return null;
  const firstPoint = parseLsn(copy.firstPoint);
  const odd = seen.find(
    (shape) => parseLsn(shape.commitLsn) >= firstPoint && !isExplained(shape, record, table),
  );
  if (odd === undefined) return null;
  if (odd.root !== undefined && odd.root !== table.oid) return "it was another table's partition for a while";
  return odd.leaf === undefined
    ? "it was altered and altered back meanwhile"
    : `partition ${odd.table} was there for a while`;
}

/** A plan keeps the catalog of its consistent point until it is done. */
function isNews(record: TableRecord, table: CatalogTable, { member, publication }: Published): boolean {
  if (record.copy.phase === "copying") return false;
  if (record.member !== member) return true;
  if (JSON.stringify(record.publication) !== JSON.stringify(publication)) return true;
  return JSON.stringify(record.catalog) !== JSON.stringify(table);
}

/** How columns changed, in words; empty if only their order of definition did. */
export function describeChange(before: readonly ShapeField[], after: readonly ShapeField[]): string {
  const old = new Map(before.map((column) => [column.name, column]));
  const now = new Set(after.map((column) => column.name));
  const added = after.filter((column) => !old.has(column.name));
  const dropped = before.filter((column) => !now.has(column.name));
  const retyped = after.filter((column) => {
    const known = old.get(column.name);
    return known && (known.typeOid !== column.typeOid || known.typeModifier !== column.typeModifier);
  });
  const words = (what: string, columns: readonly ShapeField[]): string[] =>
    columns.length === 0 ? [] : [`${what} ${columns.map((column) => column.name).join(", ")}`];
  return [...words("added", added), ...words("dropped", dropped), ...words("retyped", retyped)].join("; ");
}
