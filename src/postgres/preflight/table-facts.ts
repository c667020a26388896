import type { ClientBase } from "pg";

/** What is to be known of one relation that a copy reads or a publication holds. */
export interface TableRights {
  readonly oid: number;
  readonly maySelect: boolean;
  /** We are its owner, a member of the owner, or a superuser: only then may we add it to a publication. */
  readonly isOwned: boolean;
  readonly owner: string;
  /** It has a stored generated column, which a publication leaves out unless it says otherwise. */
  readonly hasGenerated: boolean;
}

export interface SchemaRights {
  readonly schema: string;
  readonly exists: boolean;
  readonly mayUse: boolean;
}

export async function readTableRights(
  client: ClientBase,
  oids: readonly number[],
): Promise<Map<number, TableRights>> {
  const { rows } = await client.query<TableRights>(
    `SELECT c.oid::int8::float8 AS oid, pg_catalog.has_table_privilege(c.oid, 'SELECT') AS "maySelect",
            pg_catalog.pg_has_role(c.relowner, 'USAGE') AS "isOwned", pg_catalog.pg_get_userbyid(c.relowner)::text AS owner,
            EXISTS (SELECT 1 FROM pg_catalog.pg_attribute a
                     WHERE a.attrelid = c.oid AND a.attgenerated = 's' AND NOT a.attisdropped) AS "hasGenerated"
       FROM pg_catalog.pg_class c WHERE c.oid = ANY ($1::oid[])`,
    [oids],
  );
  return new Map(rows.map((row) => [row.oid, row]));
}

export async function readSchemaRights(
  client: ClientBase,
  schemas: readonly string[],
): Promise<SchemaRights[]> {
  const { rows } = await client.query<SchemaRights>(
    `SELECT s.name AS schema, n.oid IS NOT NULL AS exists,
            coalesce(pg_catalog.has_schema_privilege(n.oid, 'USAGE'), false) AS "mayUse"
       FROM pg_catalog.unnest($1::text[]) AS s (name) LEFT JOIN pg_catalog.pg_namespace n ON n.nspname = s.name`,
    [schemas],
  );
  return rows;
}
