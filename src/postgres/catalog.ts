import { createHash } from "node:crypto";
import type { ClientBase } from "pg";
import type { CatalogTable, ReplicaIdentity, Storage, TableColumn } from "../core/table.ts";
import { ATTRIBUTES_SQL, INDEXES_SQL, LABELS_SQL, partitionsSql, RELATIONS_SQL } from "./catalog-sql.ts";

/** A table that is there and cannot be captured, and why. */
export interface NotCaptured {
  readonly table: string;
  readonly reason: string;
}

export interface Catalog {
  readonly tables: readonly CatalogTable[];
  readonly notCaptured: readonly NotCaptured[];
  /** OIDs of tables with row-level security that applies to us. */
  readonly rowSecurity: ReadonlySet<number>;
}

interface RelationRow {
  readonly oid: number;
  readonly schema: string;
  readonly name: string;
  readonly kind: string;
  readonly persistence: string;
  readonly identity: string;
  readonly filenode: number;
  readonly attributes: number;
  readonly is_partition: boolean;
  readonly row_security: boolean;
}

interface AttributeRow {
  readonly oid: number;
  readonly attnum: number;
  readonly name: string;
  readonly type_oid: number;
  readonly type_modifier: number;
  readonly missing: boolean;
  readonly captured: boolean;
  readonly version: string;
}

interface IndexRow {
  readonly oid: number;
  readonly is_primary: boolean;
  readonly is_identity: boolean;
  readonly attnums: readonly number[];
}

interface PartitionRow {
  readonly root: number;
  readonly leaf: number;
  readonly attached_by: number;
  readonly leaving: boolean;
}

/**
 * All tables of the schemas, in a handful of queries whatever their number. Sees what the transaction of `client`
 * sees: inside a copy session that is the moment of its consistent point.
 */
export async function readCatalog(
  client: ClientBase,
  schemas: readonly string[],
  serverVersion: number,
): Promise<Catalog> {
  const query = async <T>(text: string, values: unknown[]): Promise<T[]> =>
    (await client.query(text, values)).rows as T[];
  const relations = await query<RelationRow>(RELATIONS_SQL, [schemas]);
  const partitions = await query<PartitionRow>(partitionsSql(serverVersion), [
    relations.filter(isRoot).map((row) => row.oid),
  ]);
  const leaves = partitions.map((row) => row.leaf);
  const known = new Map(relations.map((row) => [row.oid, row]));
  const elsewhere = leaves.filter((oid) => !known.has(oid));
  if (elsewhere.length > 0) {
    const rows = await query<RelationRow>(
      RELATIONS_SQL.replace("n.nspname = ANY ($1)", "c.oid = ANY ($1::oid[])"),
      [elsewhere],
    );
    for (const row of rows) known.set(row.oid, row);
  }
  const oids = [...known.keys()];
  const attributes = groupBy(
    await query<AttributeRow>(ATTRIBUTES_SQL, [oids, serverVersion >= 18]),
    (row) => row.oid,
  );
  const indexes = groupBy(await query<IndexRow>(INDEXES_SQL, [oids]), (row) => row.oid);
  const labels = new Map(
    (await query<{ oid: number; labels: Record<string, string> }>(LABELS_SQL, [oids])).map((row) => [
      row.oid,
      row.labels,
    ]),
  );
  const byRoot = groupBy(partitions, (row) => row.root);
  const facts: Facts = { known, attributes, indexes, labels, byRoot };
  const tables = relations.filter(isCapturable).map((row) => describe(row, facts));
  return {
    tables,
    notCaptured: relations.flatMap((row) => whyNot(row, facts)),
    rowSecurity: new Set([...known.values()].filter((row) => row.row_security).map((row) => row.oid)),
  };
}

/**
 * The same as of one moment, for a connection outside of a transaction. Read piece by piece, a rewritten table could
 * show its new columns with its old filenode, and its new filenode with the same columns the next time.
 */
export async function readCatalogAtOnce(
  client: ClientBase,
  schemas: readonly string[],
  serverVersion: number,
): Promise<Catalog> {
  await client.query("BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY");
  try {
    return await readCatalog(client, schemas, serverVersion);
  } finally {
    await client.query("COMMIT");
  }
}

interface Facts {
  readonly known: ReadonlyMap<number, RelationRow>;
  readonly attributes: ReadonlyMap<number, AttributeRow[]>;
  readonly indexes: ReadonlyMap<number, IndexRow[]>;
  readonly labels: ReadonlyMap<number, Record<string, string>>;
  readonly byRoot: ReadonlyMap<number, PartitionRow[]>;
}

function isRoot(row: RelationRow): boolean {
  return row.kind === "p" && !row.is_partition;
}

function isCapturable(row: RelationRow): boolean {
  return isRoot(row) || (row.kind === "r" && !row.is_partition && row.persistence === "p");
}

function describe(row: RelationRow, facts: Facts): CatalogTable {
  const attributes = facts.attributes.get(row.oid) ?? [];
  const captured = attributes.filter((attribute) => attribute.captured);
  const storages = storagesOf(row, facts);
  const identity = IDENTITIES[row.identity] ?? "nothing";
  const key = keyOf(row, facts);
  const keyNames = captured
    .filter((attribute) => key.includes(attribute.attnum))
    .map((attribute) => attribute.name);
  const parts = row.kind === "p" ? storages.flatMap((storage) => facts.known.get(storage.oid) ?? []) : [];
  const usable = hasIdentity(row, facts) && parts.every((part) => identifies(part, keyNames, facts));
  return {
    oid: row.oid,
    schema: row.schema,
    name: row.name,
    partitioned: row.kind === "p",
    replicaIdentity: identity,
    key: keyNames,
    insertOnly: !usable,
    attributes: row.attributes,
    columns: captured.map(columnOf),
    columnsVersion: versionOf(attributes),
    missing: missingOf(captured, parts, facts),
    labels: facts.labels.get(row.oid) ?? {},
    storages,
  };
}

const IDENTITIES: Readonly<Record<string, ReplicaIdentity>> = {
  d: "default",
  n: "nothing",
  f: "full",
  i: "index",
};

function columnOf(attribute: AttributeRow): TableColumn {
  const { attnum, name, type_oid, type_modifier } = attribute;
  return { attnum, name, typeOid: type_oid, typeModifier: type_modifier };
}

function versionOf(attributes: readonly AttributeRow[]): string {
  const text = attributes.map((attribute) => `${attribute.attnum}:${attribute.version}`).join();
  return createHash("sha256").update(text).digest("hex").slice(0, 16);
}

/** attnums that identify a row for whoever reads the stage: the identity's, and under FULL the primary key's. */
function keyOf(row: RelationRow, facts: Facts): readonly number[] {
  const own = usableIndexes(row, facts);
  if (row.identity === "i") return own.find((index) => index.is_identity)?.attnums ?? [];
  if (row.identity === "n") return [];
  return own.find((index) => index.is_primary)?.attnums ?? [];
}

/** A key with a generated column that the stream does not carry identifies nothing there. */
function usableIndexes(row: RelationRow, { indexes, attributes }: Facts): IndexRow[] {
  const left = (attributes.get(row.oid) ?? []).filter(({ captured }) => !captured);
  const isCarried = ({ attnums }: IndexRow): boolean => !left.some(({ attnum }) => attnums.includes(attnum));
  return (indexes.get(row.oid) ?? []).filter(isCarried);
}

/** Whether UPDATE and DELETE work while they are published. Source: PostgreSQL, "Replica Identity". */
function hasIdentity(row: RelationRow, facts: Facts): boolean {
  const own = usableIndexes(row, facts);
  switch (row.identity) {
    case "f":
      return true;
    case "i":
      return own.some((index) => index.is_identity);
    case "d":
      return own.some((index) => index.is_primary);
    default:
      return false;
  }
}

/** attnums of columns with a default that old rows have without being rewritten: a root's rows are its partitions'. */
function missingOf(captured: readonly AttributeRow[], parts: readonly RelationRow[], facts: Facts): number[] {
  const below = parts.flatMap((part) => facts.attributes.get(part.oid) ?? []);
  const names = new Set(below.filter((attribute) => attribute.missing).map((attribute) => attribute.name));
  return captured
    .filter((attribute) => attribute.missing || names.has(attribute.name))
    .map((attribute) => attribute.attnum);
}

/** Whether changes of a partition, which carry its own identity, tell the root's key; a root without one is a bag. */
function identifies(part: RelationRow, rootKey: readonly string[], facts: Facts): boolean {
  if (part.identity === "f") return true;
  if (rootKey.length === 0 || !hasIdentity(part, facts)) return false;
  const attnums = keyOf(part, facts);
  const names = (facts.attributes.get(part.oid) ?? [])
    .filter((attribute) => attnums.includes(attribute.attnum))
    .map((attribute) => attribute.name);
  return rootKey.every((name) => names.includes(name));
}

function storagesOf(row: RelationRow, { known, byRoot }: Facts): Storage[] {
  if (row.kind !== "p")
    return [{ oid: row.oid, schema: row.schema, name: row.name, filenode: row.filenode, attachedBy: 0 }];
  const leaves = (byRoot.get(row.oid) ?? []).flatMap(({ leaf, attached_by, leaving }) => {
    const relation = known.get(leaf);
    if (leaving || relation?.kind !== "r" || relation.persistence !== "p") return [];
    const { oid, schema, name, filenode } = relation;
    return [{ oid, schema, name, filenode, attachedBy: attached_by }];
  });
  return leaves.sort((a, b) => a.oid - b.oid);
}

/** Why a relation of a captured schema, or a part of it, is not captured. */
function whyNot(row: RelationRow, { known, byRoot }: Facts): NotCaptured[] {
  const table = `${row.schema}.${row.name}`;
  if (row.kind === "f" && !row.is_partition)
    return [{ table, reason: "a foreign table: its rows are not in this database" }];
  if (row.persistence === "u" && row.kind === "r" && !row.is_partition) {
    return [
      { table, reason: "unlogged: its changes are not in the WAL (ALTER TABLE … SET LOGGED captures it)" },
    ];
  }
  if (!isRoot(row)) return [];
  return (byRoot.get(row.oid) ?? []).flatMap(({ leaf, leaving }) => {
    const part = known.get(leaf);
    const reason = part ? whyNoPart(part, leaving) : null;
    return part && reason !== null
      ? [{ table: `${part.schema}.${part.name}`, reason: `${reason}, of ${table}` }]
      : [];
  });
}

function whyNoPart({ kind, persistence }: RelationRow, leaving: boolean): string | null {
  if (leaving) return "a partition whose DETACH … CONCURRENTLY is not finished (DETACH … FINALIZE does that)";
  if (kind === "f") return "a foreign partition";
  return persistence === "p" ? null : "an unlogged partition: its changes are not in the WAL";
}

function groupBy<T>(rows: readonly T[], key: (row: T) => number): Map<number, T[]> {
  const groups = new Map<number, T[]>();
  for (const row of rows) {
    const group = groups.get(key(row));
    if (group) group.push(row);
    else groups.set(key(row), [row]);
  }
  return groups;
}
