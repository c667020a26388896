/**
 * The catalog queries. Each takes arrays and answers for all tables at once; results are plain numbers and text.
 * xmin tells one version of a catalog row from the next: it changes with every ALTER and with nothing else.
 */

/** Tables, partitioned tables and foreign tables. $1: schemas. */
export const RELATIONS_SQL = `
  SELECT c.oid::int8::float8 AS oid, n.nspname::text AS schema, c.relname::text AS name,
         c.relkind::text AS kind, c.relpersistence::text AS persistence, c.relreplident::text AS identity,
         c.relfilenode::int8::float8 AS filenode, c.relnatts::int4 AS attributes, c.relispartition AS is_partition,
         (c.relrowsecurity AND pg_catalog.row_security_active(c.oid)) AS row_security
    FROM pg_catalog.pg_class c
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
   WHERE n.nspname = ANY ($1) AND c.relkind IN ('r', 'p', 'f') AND c.relpersistence <> 't'
   ORDER BY n.nspname, c.relname`;

/**
 * Leaves below partitioned roots, however deep. `leaving`: DETACH … CONCURRENTLY, which 14 brought, has begun and is
 * not finished: the root does not have its rows any more, and they are published as nobody's. $1: OIDs of the roots.
 */
export function partitionsSql(serverVersion: number): string {
  const leaving = serverVersion >= 14 ? "i.inhdetachpending" : "false";
  return `
  WITH RECURSIVE below AS (
    SELECT r.oid AS root, i.inhrelid AS leaf, i.xmin::text::int8 AS attached_by, ${leaving} AS leaving
      FROM pg_catalog.unnest($1::oid[]) AS r (oid) JOIN pg_catalog.pg_inherits i ON i.inhparent = r.oid
    UNION ALL
    SELECT b.root, i.inhrelid, (b.attached_by + i.xmin::text::int8), b.leaving OR ${leaving}
      FROM below b JOIN pg_catalog.pg_inherits i ON i.inhparent = b.leaf
  )
  SELECT b.root::int8::float8 AS root, b.leaf::int8::float8 AS leaf, b.attached_by::float8 AS attached_by, b.leaving
    FROM below b JOIN pg_catalog.pg_class c ON c.oid = b.leaf
   WHERE c.relkind <> 'p'`;
}

/**
 * Columns, in table order. Generated ones are not in the stream before 18, and virtual ones never are.
 * $1: OIDs, $2: whether stored generated columns are published (from 18 on).
 */
export const ATTRIBUTES_SQL = `
  SELECT a.attrelid::int8::float8 AS oid, a.attnum::int4 AS attnum, a.attname::text AS name,
         a.atttypid::int8::float8 AS type_oid, a.atttypmod AS type_modifier, a.atthasmissing AS missing,
         (a.attgenerated = '' OR (a.attgenerated = 's' AND $2)) AS captured,
         (a.xmin::text || coalesce('/' || d.xmin::text, '')) AS version
    FROM pg_catalog.pg_attribute a
    LEFT JOIN pg_catalog.pg_attrdef d ON a.attgenerated <> '' AND d.adrelid = a.attrelid AND d.adnum = a.attnum
   WHERE a.attrelid = ANY ($1::oid[]) AND a.attnum > 0 AND NOT a.attisdropped
   ORDER BY a.attrelid, a.attnum`;

/**
 * Indexes that may identify a row: a deferrable one lets two rows have one key for a while, and so does one over a
 * column whose NOT NULL, since 18, is still NOT VALID: several old rows may have NULL there. $1: OIDs.
 */
export const INDEXES_SQL = `
  SELECT i.indrelid::int8::float8 AS oid, i.indisprimary AS is_primary, i.indisreplident AS is_identity,
         (i.indkey::int2[])[0:i.indnkeyatts - 1]::int4[] AS attnums
    FROM pg_catalog.pg_index i
   WHERE i.indrelid = ANY ($1::oid[]) AND i.indisvalid AND i.indimmediate AND (i.indisprimary OR i.indisreplident)
     AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint n
                      WHERE n.conrelid = i.indrelid AND n.contype = 'n' AND NOT n.convalidated
                        AND n.conkey[1] = ANY ((i.indkey::int2[])[0:i.indnkeyatts - 1]))`;

/**
 * What prints values of the columns' own types, also of array elements, behind domains, and in ranges: labels of
 * enums, and which attributes composite types have. With each, what changes also if it is changed and changed back:
 * rows that were written meanwhile are staged as they were printed then. $1: OIDs.
 */
export const LABELS_SQL = `
  WITH RECURSIVE used AS (
    SELECT DISTINCT a.attrelid AS oid, a.atttypid AS type
      FROM pg_catalog.pg_attribute a
     WHERE a.attrelid = ANY ($1::oid[]) AND a.attnum > 0 AND NOT a.attisdropped AND a.atttypid >= 16384
    UNION
    SELECT u.oid, inner_type.oid
      FROM used u
      JOIN pg_catalog.pg_type t ON t.oid = u.type
      CROSS JOIN LATERAL (
        SELECT t.typelem AS oid WHERE t.typelem <> 0
        UNION SELECT t.typbasetype WHERE t.typbasetype <> 0
        UNION SELECT r.rngsubtype FROM pg_catalog.pg_range r WHERE r.rngtypid = t.oid
        UNION SELECT f.atttypid FROM pg_catalog.pg_attribute f
               WHERE t.typrelid <> 0 AND f.attrelid = t.typrelid AND f.attnum > 0 AND NOT f.attisdropped
      ) AS inner_type
  ), printed AS (
    SELECT u.oid, e.oid::text AS id, e.enumlabel::text AS label
      FROM used u JOIN pg_catalog.pg_enum e ON e.enumtypid = u.type
    UNION ALL
    SELECT u.oid, e.oid || '/version', e.xmin::text
      FROM used u JOIN pg_catalog.pg_enum e ON e.enumtypid = u.type
    UNION ALL
    SELECT u.oid, 'type:' || t.oid, coalesce((
             SELECT pg_catalog.string_agg(f.attnum::text, ',' ORDER BY f.attnum) FROM pg_catalog.pg_attribute f
              WHERE f.attrelid = t.typrelid AND f.attnum > 0 AND NOT f.attisdropped), '')
      FROM used u JOIN pg_catalog.pg_type t ON t.oid = u.type AND t.typrelid <> 0
    UNION ALL
    SELECT u.oid, 'type:' || t.oid || '/attributes', c.relnatts::text
      FROM used u JOIN pg_catalog.pg_type t ON t.oid = u.type JOIN pg_catalog.pg_class c ON c.oid = t.typrelid
  )
  SELECT oid::int8::float8 AS oid, pg_catalog.json_object_agg(id, label ORDER BY id) AS labels
    FROM printed GROUP BY 1`;
