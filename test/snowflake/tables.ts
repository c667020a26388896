import type { ShapeColumn } from "../../src/core/document.ts";
import type { TableShape } from "../../src/snowflake/input.ts";

function column(name: string, type: string, typeOid: number, typeModifier = -1): ShapeColumn {
  return { name, type, typeOid, typeModifier, key: false };
}

function shapeOf(tableName: string, columns: readonly ShapeColumn[], key: readonly string[]): TableShape {
  return {
    schemaName: "public",
    tableName,
    metadataPrefix: "_",
    replicaIdentity: "default",
    key,
    columns: columns.map((one) => ({ ...one, key: key.includes(one.name) })),
  };
}

export const ORDERS = shapeOf(
  "orders",
  [
    column("id", "bigint", 20),
    column("customer", "text", 25),
    column("total", "numeric(12,2)", 1700, ((12 << 16) | 2) + 4),
    column("placed_at", "timestamp with time zone", 1184),
    column("details", "jsonb", 3802),
  ],
  ["id"],
);

/** Nothing identifies its rows: insert-only. */
export const VISITS: TableShape = {
  ...shapeOf("visits", [column("at", "date", 1082), column("page", "text", 25)], []),
  schemaName: "web",
};

/** Every character that means something somewhere. */
export const ODD: TableShape = {
  ...shapeOf(
    'a "b"\'c\\$$--',
    [
      column("Id", "integer", 23),
      column("id", "text", 25),
      column("x\"y'z\\", "text", 25),
      column("é\n☃ $$", "text[]", 1009),
    ],
    ["Id"],
  ),
  replicaIdentity: "full",
};
