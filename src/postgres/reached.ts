/**
 * `FROM … WHERE …` of the tables `c` that publication `p` reaches, however it names them, and their memberships `r` if
 * it names the table itself. Only roots of partitioned tables count. From the catalog alone, which nobody locks:
 * pg_get_publication_tables() opens every table, and would wait for whoever has locked one, perhaps for hours.
 * Source: PostgreSQL, pg_publication.c, GetPublicationRelations and is_publishable_class.
 */
export function reachedTables(serverVersion: number): string {
  const inSchema =
    serverVersion >= 15
      ? `OR EXISTS (SELECT FROM pg_catalog.pg_publication_namespace s
                     WHERE s.pnpubid = p.oid AND s.pnnspid = c.relnamespace)`
      : "";
  return `FROM pg_catalog.pg_class c
          LEFT JOIN pg_catalog.pg_publication_rel r ON r.prpubid = p.oid AND r.prrelid = c.oid
         WHERE c.relkind IN ('r', 'p') AND c.relpersistence = 'p' AND c.oid >= 16384
           AND (p.pubviaroot OR c.relkind = 'r')
           AND (p.puballtables OR r.oid IS NOT NULL ${inSchema})`;
}
