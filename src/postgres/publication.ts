import type { Client, ClientBase } from "pg";
import { BusyError, messageOf, OperatorError } from "../core/errors.ts";
import type { CatalogTable, PublicationMark } from "../core/table.ts";
import { ident, qualified, sqlState } from "./quote.ts";
import { reachedTables } from "./reached.ts";
import { lockersOf } from "./waiters.ts";

/** Tables added or dropped in one statement. */
const TABLES_PER_STATEMENT = 500;

/** The two publications of a pipeline. */
export interface Publications {
  /** Tables whose rows are identified: all changes. */
  readonly all: string;
  /** Tables without a usable identity: their UPDATE and DELETE would fail in the first one. */
  readonly insertOnly: string;
}

export function publicationsOf(name: string): Publications {
  return { all: name, insertOnly: `${name}_insert_only` };
}

interface PublicationRow {
  readonly name: string;
  readonly all_tables: boolean;
  readonly inserts: boolean;
  readonly updates: boolean;
  readonly deletes: boolean;
  readonly truncates: boolean;
  readonly via_root: boolean;
  readonly owned: boolean;
}

/** What is to be done so that the publications hold exactly the captured tables. Pure. */
export interface PublicationChange {
  readonly publication: string;
  readonly add: readonly CatalogTable[];
  readonly drop: readonly Member[];
}

interface Member {
  readonly publication: string;
  readonly oid: number;
  readonly schema: string;
  readonly name: string;
}

function planMembership(
  names: Publications,
  tables: readonly CatalogTable[],
  members: readonly Member[],
): PublicationChange[] {
  return [names.all, names.insertOnly].map((publication) => {
    const wanted = tables.filter((table) => table.insertOnly === (publication === names.insertOnly));
    const present = members.filter((member) => member.publication === publication);
    const wantedOids = new Set(wanted.map((table) => table.oid));
    const presentOids = new Set(present.map((member) => member.oid));
    return {
      publication,
      add: wanted.filter((table) => !presentOids.has(table.oid)),
      drop: present.filter((member) => !wantedOids.has(member.oid)),
    };
  });
}

/** Creates the publications if they are not there; says what a DBA must run where we may not. */
export async function ensurePublications(
  client: ClientBase,
  names: Publications,
  manage: boolean,
  serverVersion: number,
): Promise<void> {
  const present = new Set((await readPublications(client, names)).map((row) => row.name));
  for (const name of [names.all, names.insertOnly]) {
    if (present.has(name)) continue;
    if (!manage) {
      if (name === names.insertOnly) continue;
      throw new OperatorError(
        `publication ${ident(name)} does not exist and source.manage is false`,
        createStatement(name, names, serverVersion),
      );
    }
    await altering(client, createStatement(name, names, serverVersion));
  }
}

export function createStatement(name: string, names: Publications, serverVersion: number): string {
  const publish = name === names.insertOnly ? "insert, truncate" : "insert, update, delete, truncate";
  const generated = serverVersion >= 18 ? ", publish_generated_columns = stored" : "";
  return `CREATE PUBLICATION ${ident(name)} WITH (publish = '${publish}', publish_via_partition_root = true${generated})`;
}

async function readPublications(client: ClientBase, names: Publications): Promise<PublicationRow[]> {
  const { rows } = await client.query<PublicationRow>(
    `SELECT pubname::text AS name, puballtables AS all_tables, pubinsert AS inserts, pubupdate AS updates,
            pubdelete AS deletes, pubtruncate AS truncates, pubviaroot AS via_root,
            pg_catalog.pg_has_role(pubowner, 'USAGE') AS owned
       FROM pg_catalog.pg_publication WHERE pubname = ANY ($1)`,
    [[names.all, names.insertOnly]],
  );
  return rows;
}

async function readMembers(client: ClientBase, names: Publications): Promise<Member[]> {
  const { rows } = await client.query<Member>(
    `SELECT p.pubname::text AS publication, c.oid::int8::float8 AS oid, n.nspname::text AS schema, c.relname::text AS name
       FROM pg_catalog.pg_publication p
       JOIN pg_catalog.pg_publication_rel r ON r.prpubid = p.oid
       JOIN pg_catalog.pg_class c ON c.oid = r.prrelid
       JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
      WHERE p.pubname = ANY ($1)`,
    [[names.all, names.insertOnly]],
  );
  return rows;
}

/** How publications reach a table. */
interface Membership {
  /** OID in pg_publication_rel; null if none names the table itself. */
  readonly member: number | null;
  readonly publication: PublicationMark;
}

/** Tables that publications reach, by OID. */
export type Memberships = ReadonlyMap<number, Membership>;

/** All tables that the publications reach, however they name them. Waits for no lock. */
export async function readMemberships(
  client: ClientBase,
  names: Publications,
  serverVersion: number,
): Promise<Memberships> {
  const { rows } = await client.query<PublicationMark & { oid: number; member: number | null }>(
    `SELECT t.oid::int8::float8 AS oid, max(t.member::int8)::float8 AS member,
            pg_catalog.string_agg(p.oid || ':' || p.xmin, ',' ORDER BY p.oid) AS version,
            pg_catalog.string_agg(p.pubowner::text, ',' ORDER BY p.oid) AS owner
       FROM pg_catalog.pg_publication p
       CROSS JOIN LATERAL (SELECT c.oid, r.oid AS member ${reachedTables(serverVersion)}) t
      WHERE p.pubname = ANY ($1)
      GROUP BY t.oid`,
    [[names.all, names.insertOnly]],
  );
  return new Map(
    rows.map(({ oid, member, version, owner }) => [oid, { member, publication: { version, owner } }]),
  );
}

/**
 * Whether a table whose updates are published has nothing any more that identifies its rows: the application's UPDATE
 * and DELETE fail until it leaves the publication. Cheap: one query, whatever the number of tables. A partition with
 * partitions of its own has no rows, and an unlogged one is not published, so nobody asks for their identity.
 */
export async function hasLostIdentity(client: ClientBase, names: Publications): Promise<boolean> {
  const { rows } = await client.query<{ lost: boolean }>(
    `WITH RECURSIVE published AS (
       SELECT r.prrelid AS oid FROM pg_catalog.pg_publication p
         JOIN pg_catalog.pg_publication_rel r ON r.prpubid = p.oid WHERE p.pubname = $1
       UNION ALL
       SELECT i.inhrelid FROM published u
         JOIN pg_catalog.pg_class c ON c.oid = u.oid AND c.relkind = 'p'
         JOIN pg_catalog.pg_inherits i ON i.inhparent = c.oid
     )
     SELECT EXISTS (
       SELECT FROM published u JOIN pg_catalog.pg_class c ON c.oid = u.oid
         LEFT JOIN pg_catalog.pg_index i ON i.indrelid = c.oid AND i.indisvalid AND i.indimmediate
           AND CASE c.relreplident WHEN 'd' THEN i.indisprimary WHEN 'i' THEN i.indisreplident ELSE false END
        WHERE (c.relkind = 'r' OR c.relkind = 'p' AND NOT c.relispartition)
          AND c.relpersistence = 'p' AND c.relreplident <> 'f' AND i.indexrelid IS NULL) AS lost`,
    [names.all],
  );
  return rows[0]?.lost ?? false;
}

/**
 * Brings the members in line with the captured tables. A table leaves one publication and enters the other at once.
 * Resolves with the tables that somebody has locked, by OID, and who has: they stay as they are, and keep no other waiting.
 */
export async function syncMembership(
  client: Client,
  names: Publications,
  tables: readonly CatalogTable[],
): Promise<Map<number, string>> {
  const changes = planMembership(names, tables, await readMembers(client, names));
  const leaving = new Set(changes.flatMap(({ drop }) => drop.map(({ oid }) => oid)));
  // While a table that lost its identity stays, the application's UPDATE fails: no new table may hold it up.
  const moves = onlyTables(changes, (oid) => leaving.has(oid));
  const entries = onlyTables(changes, (oid) => !leaving.has(oid));
  return new Map([...(await alterUnlocked(client, moves)), ...(await alterUnlocked(client, entries))]);
}

function onlyTables(
  changes: readonly PublicationChange[],
  isWanted: (oid: number) => boolean,
): PublicationChange[] {
  return changes.map(({ publication, add, drop }) => {
    return {
      publication,
      add: add.filter(({ oid }) => isWanted(oid)),
      drop: drop.filter(({ oid }) => isWanted(oid)),
    };
  });
}

/** Alters what is not locked; resolves with the rest. A lock that an autovacuum has ends when we wait for it. */
async function alterUnlocked(
  client: Client,
  changes: readonly PublicationChange[],
): Promise<Map<number, string>> {
  try {
    await alterAtOnce(client, changes);
    return new Map();
  } catch (error) {
    if (!(error instanceof BusyError)) throw error;
    const oids = changes.flatMap(({ add, drop }) => [...add, ...drop].map(({ oid }) => oid));
    const locked = await lockersOf(client, oids, "publishing");
    if (locked.size === 0) throw error;
    await alterAtOnce(
      client,
      onlyTables(changes, (oid) => !locked.has(oid)),
    );
    return locked;
  }
}

async function alterAtOnce(client: ClientBase, changes: readonly PublicationChange[]): Promise<void> {
  if (changes.every(({ add, drop }) => add.length + drop.length === 0)) return;
  await client.query("BEGIN");
  try {
    // A table must never be in the first publication without an identity, so tables leave before others enter.
    for (const { publication, drop } of changes) await alterMembers(client, publication, "DROP", drop);
    for (const { publication, add } of changes) await alterMembers(client, publication, "ADD", add);
    await client.query("COMMIT");
  } catch (error) {
    await client.query("ROLLBACK").catch(() => {});
    throw error;
  }
}

async function alterMembers(
  client: ClientBase,
  publication: string,
  verb: "ADD" | "DROP",
  tables: readonly { readonly schema: string; readonly name: string }[],
): Promise<void> {
  for (let at = 0; at < tables.length; at += TABLES_PER_STATEMENT) {
    // ONLY keeps inheritance children out, which are tables of their own; partitions belong to their root anyway.
    const list = tables.slice(at, at + TABLES_PER_STATEMENT).map((table) => `ONLY ${qualified(table)}`);
    await altering(client, `ALTER PUBLICATION ${ident(publication)} ${verb} TABLE ${list.join(", ")}`);
  }
}

/** Runs DDL of ours; what we may not do becomes a statement for a DBA. */
async function altering(client: ClientBase, statement: string): Promise<void> {
  try {
    await client.query(statement);
  } catch (error) {
    switch (sqlState(error)) {
      case "42501": // insufficient_privilege
        throw new OperatorError(
          `no right to run: ${statement} (${messageOf(error)})`,
          "let the owner of the tables or a superuser run it, grant the ownership, or set source.manage = false with a publication made by a DBA",
          { cause: error },
        );
      case undefined:
        throw error;
      default:
        // Locked, dropped, altered or made a member by somebody else at this moment: what is true then is read again.
        throw new BusyError(`${statement}: ${messageOf(error)}`, { cause: error });
    }
  }
}
