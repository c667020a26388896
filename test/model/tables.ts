import type { CatalogTable } from "../../src/core/table.ts";
import type { WireRelation } from "../support/pgoutput-writer.ts";

/** What identifies the rows of a table. */
export type Kind = "key" | "two-keys" | "index" | "full-key" | "bag" | "insert-only";

export interface Column {
  readonly attnum: number;
  readonly name: string;
  readonly big: boolean;
}

export interface Row {
  readonly page: number;
  /** By the columns of the table. */
  readonly values: readonly (string | null)[];
}

export interface Table {
  readonly oid: number;
  readonly name: string;
  readonly kind: Kind;
  readonly keys: number;
  columns: readonly Column[];
  filenode: number;
  nextAttnum: number;
  rows: Row[];
  /** Every value that a row of this key ever had in a large column. */
  readonly everBig: Map<string, Set<string | null>>;
}

const TEXT_OID = 25;

export function columnOf(table: Table, name: string): number {
  return table.columns.findIndex((column) => column.name === name);
}

/** The values that identify a row; all of them in a bag. */
export function keyOf(table: Pick<Table, "keys">, values: Row["values"]): string {
  return JSON.stringify(table.keys === 0 ? values : values.slice(0, table.keys));
}

export function describe(table: Table): CatalogTable {
  const { oid, name, kind, columns, keys, filenode } = table;
  const full = kind === "bag" || kind === "full-key";
  return {
    oid,
    schema: "public",
    name,
    partitioned: false,
    replicaIdentity: full
      ? "full"
      : kind === "index"
        ? "index"
        : kind === "insert-only"
          ? "nothing"
          : "default",
    key: columns.slice(0, keys).map((column) => column.name),
    insertOnly: kind === "insert-only",
    columns: columns.map(({ attnum, name: column }) => {
      return { attnum, name: column, typeOid: TEXT_OID, typeModifier: -1 };
    }),
    attributes: table.nextAttnum - 1,
    columnsVersion: columns.map(({ attnum }) => attnum).join(","),
    missing: [],
    labels: {},
    storages: [{ oid, schema: "public", name, filenode, attachedBy: 0 }],
  };
}

/** As a RELATION message describes it. */
export function relationOf(table: Table): WireRelation {
  const full = table.kind === "bag" || table.kind === "full-key";
  const columns = table.columns.map(({ name }, i) => {
    return { name, typeOid: TEXT_OID, typeModifier: -1, key: full || i < table.keys };
  });
  const identity = full ? "f" : table.kind === "index" ? "i" : table.kind === "insert-only" ? "n" : "d";
  return { oid: table.oid, schema: "public", table: table.name, identity, columns };
}
