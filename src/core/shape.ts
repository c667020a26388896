import { createHash } from "node:crypto";
import { DOCUMENT_FORMAT } from "./document.ts";
import type { ReplicaIdentity } from "./table.ts";

/** The columns of a table's files: what RELATION says in the stream and the catalog says to a copy. */
export interface Shape {
  readonly oid: number;
  readonly schema: string;
  readonly table: string;
  readonly replicaIdentity: ReplicaIdentity;
  readonly columns: readonly ShapeField[];
  /** Names of the columns that identify a row, in table order; empty if none do. */
  readonly key: readonly string[];
}

export interface ShapeField {
  readonly name: string;
  readonly typeOid: number;
  readonly typeModifier: number;
}

/** The same columns, types and key of the same table give the same id, wherever and whenever it is computed. */
export function shapeId(shape: Shape, metadataPrefix: string): string {
  const { oid, schema, table, replicaIdentity, key } = shape;
  const columns = shape.columns.map((column) => [column.name, column.typeOid, column.typeModifier]);
  const text = JSON.stringify([
    DOCUMENT_FORMAT,
    oid,
    schema,
    table,
    replicaIdentity,
    columns,
    key,
    metadataPrefix,
  ]);
  return createHash("sha256").update(text).digest("hex").slice(0, 16);
}

/** A row that costs memory in proportion to itself: longer than LARGE_ROW_BYTES. */
export interface LargeRow {
  readonly shape: Shape;
  /** Values of the key's columns, in their order; empty if nothing identifies the row. */
  readonly key: readonly string[];
  readonly bytes: number;
  /** Its longest value, in bytes of text. */
  readonly longest: { readonly column: string; readonly bytes: number };
}

/** The longest of a row's values, by the names of their columns; null and unknown ones have no length. */
export function longestOf(
  columns: readonly string[],
  values: readonly (string | { readonly length: number } | null | undefined)[],
): LargeRow["longest"] {
  const bytesOf = (index: number): number => {
    const value = values[index];
    return typeof value === "string" ? Buffer.byteLength(value) : (value?.length ?? 0);
  };
  return columns
    .map((column, index) => ({ column, bytes: bytesOf(index) }))
    .reduce((longest, one) => (one.bytes > longest.bytes ? one : longest), { column: "", bytes: 0 });
}
