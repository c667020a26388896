import type { ClientBase } from "pg";
import { reachedTables } from "../reached.ts";

/** A publication as the catalog describes it. */
export interface PublicationFacts {
  readonly name: string;
  readonly owner: string;
  readonly isOwned: boolean;
  readonly publishes: readonly ("insert" | "update" | "delete" | "truncate")[];
  readonly viaRoot: boolean;
  /** FOR ALL TABLES, or FOR TABLES IN SCHEMA: reaches tables that are created tomorrow. */
  readonly reachesAll: boolean;
  /** Publishes stored generated columns; only from 18 on. */
  readonly generated: boolean;
  /** OIDs of the tables that it reaches, however it names them; of partitioned ones the root if it says so. */
  readonly tables: ReadonlySet<number>;
  /** OIDs of members with a row filter or a column list. */
  readonly partial: ReadonlySet<number>;
}

interface PublicationRow {
  readonly name: string;
  readonly owner: string;
  readonly owned: boolean;
  readonly publishes: PublicationFacts["publishes"];
  readonly via_root: boolean;
  readonly reaches_all: boolean;
  readonly generated: boolean;
  readonly tables: readonly number[];
  readonly partial: readonly number[];
}

/** Those of the names that exist, by name. */
export async function readPublicationFacts(
  client: ClientBase,
  names: readonly string[],
  serverVersion: number,
): Promise<Map<string, PublicationFacts>> {
  const { rows } = await client.query<PublicationRow>(publicationSql(serverVersion), [names]);
  return new Map(
    rows.map((row) => {
      const { name, owner, publishes, generated } = row;
      const about = { name, owner, publishes, generated, isOwned: row.owned, viaRoot: row.via_root };
      const sets = { tables: new Set(row.tables), partial: new Set(row.partial) };
      return [name, { ...about, ...sets, reachesAll: row.reaches_all }];
    }),
  );
}

/** Row filters, column lists and TABLES IN SCHEMA came with 15, generated columns with 18. */
function publicationSql(serverVersion: number): string {
  const inSchema =
    serverVersion >= 15
      ? "EXISTS (SELECT 1 FROM pg_catalog.pg_publication_namespace s WHERE s.pnpubid = p.oid)"
      : "false";
  const partial = serverVersion >= 15 ? "r.prqual IS NOT NULL OR r.prattrs IS NOT NULL" : "false";
  const generated = serverVersion >= 18 ? "p.pubgencols = 's'" : "false";
  return `
    SELECT p.pubname::text AS name, pg_catalog.pg_get_userbyid(p.pubowner)::text AS owner,
           pg_catalog.pg_has_role(p.pubowner, 'USAGE') AS owned,
           pg_catalog.array_remove(ARRAY[CASE WHEN p.pubinsert THEN 'insert' END, CASE WHEN p.pubupdate THEN 'update' END,
             CASE WHEN p.pubdelete THEN 'delete' END, CASE WHEN p.pubtruncate THEN 'truncate' END], NULL) AS publishes,
           p.pubviaroot AS via_root, (p.puballtables OR ${inSchema}) AS reaches_all, (${generated}) AS generated,
           ARRAY(SELECT c.oid::int8::float8 ${reachedTables(serverVersion)}) AS tables,
           ARRAY(SELECT r.prrelid::int8::float8 FROM pg_catalog.pg_publication_rel r
                  WHERE r.prpubid = p.oid AND (${partial})) AS partial
      FROM pg_catalog.pg_publication p WHERE p.pubname = ANY ($1)`;
}
