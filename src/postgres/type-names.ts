import type { Client } from "pg";
import type { ShapeField } from "../core/shape.ts";

/** Names of types with their modifiers, as format_type() prints them, in the order asked for. */
export async function typeNames(client: Client, types: readonly ShapeField[]): Promise<string[]> {
  const { rows } = await client.query<{ name: string }>(
    `SELECT pg_catalog.format_type(t.oid, t.modifier) AS name
       FROM unnest($1::oid[], $2::int4[]) WITH ORDINALITY AS t (oid, modifier, place) ORDER BY t.place`,
    [types.map((type) => type.typeOid), types.map((type) => type.typeModifier)],
  );
  return rows.map((row) => row.name);
}
