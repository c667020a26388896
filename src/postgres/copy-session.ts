import { randomBytes } from "node:crypto";
import type { Client } from "pg";
import type { Lsn } from "../core/lsn.ts";
import type { PlannedStorage } from "../core/table.ts";
import { readCatalog, type Catalog } from "./catalog.ts";
import { connectSource } from "./connect.ts";
import { copyOut } from "./copy-out.ts";
import { ident, literal, qualified, sqlState } from "./quote.ts";
import { isBeyondRowLimit, rowLimitError } from "./row-limit.ts";
import { createSlot } from "./slot.ts";
import type { SourceAccess } from "./source-access.ts";

/** MaxHeapTuplesPerPage of 8 KiB pages: the largest line number that a row can have (htup_details.h). */
const MAX_TUPLES_PER_PAGE = 291;

/** The definition of a table, or where its rows stand, is no longer what the session's snapshot saw. */
export class TableChangedError extends Error {
  override readonly name = "TableChangedError";
}

/** Somebody holds a lock on the table for longer than we want to wait: try again later. */
export class TableBusyError extends Error {
  override readonly name = "TableBusyError";
}

export interface SessionOptions {
  readonly source: SourceAccess;
  readonly schemas: readonly string[];
  readonly serverVersion: number;
  readonly workers: number;
  /** How long the consistent point may take: it waits for every transaction that is running. */
  readonly waitMs: number;
}

/** One range of a storage: pages `from` to `to` (exclusive; null: to the end). */
export interface PageRange {
  readonly storage: PlannedStorage;
  readonly from: number;
  readonly to: number | null;
}

export interface RangeReader {
  readonly columns: readonly string[];
  /** A row with its line feed, a view that dies when this returns; a promise pauses the socket. */
  readonly onRow: (row: Buffer) => Promise<void> | null;
}

export interface StorageSize {
  readonly pages: number;
  /** With its TOAST table: what a copy will read. */
  readonly bytes: number;
}

interface SessionParts {
  readonly consistentPoint: Lsn;
  readonly pointMicros: bigint;
  readonly catalog: Catalog;
  readonly clients: readonly Client[];
  readonly serverVersion: number;
}

/** How long the sizes of all tables wait for locks, and that of one if there are some. */
const LOCK_WAIT_MS = 1_000;
const SHORT_LOCK_WAIT_MS = 100;

/**
 * One consistent point, and connections whose transactions show exactly what committed before it. The temporary slot
 * that gave it is gone as soon as they have imported its snapshot, so that it keeps no WAL. Table locks are held only
 * while a range is read: a table that was rewritten or truncated in between is found out by its filenode.
 */
export class CopySession {
  readonly consistentPoint: Lsn;
  /** When it was, by the server's clock, in microseconds since 1970. */
  readonly pointMicros: bigint;
  /** The catalog as of the consistent point. */
  readonly catalog: Catalog;
  readonly #clients: readonly Client[];
  readonly #serverVersion: number;

  static async open(options: SessionOptions): Promise<CopySession> {
    const { source, schemas, serverVersion, waitMs } = options;
    const replication = await connectSource(source, "replication", { serverVersion, atStart: false });
    const clients: Client[] = [];
    try {
      const slot = `${source.slot.slice(0, 40)}_copy_${randomBytes(6).toString("hex")}`;
      const { consistentPoint, snapshot } = await createSlot(replication, {
        slot,
        temporary: true,
        serverVersion,
        waitMs,
      });
      for (let i = 0; i < options.workers; i++)
        clients.push(await importSnapshot(source, serverVersion, snapshot));
      const [first] = clients as [Client];
      const catalog = await readCatalog(first, schemas, serverVersion);
      const pointMicros = await transactionMicros(first);
      return new CopySession({ consistentPoint, pointMicros, catalog, clients, serverVersion });
    } catch (error) {
      await Promise.allSettled(clients.map((client) => client.end()));
      throw error;
    } finally {
      await replication.end().catch(() => {});
    }
  }

  private constructor(parts: SessionParts) {
    this.consistentPoint = parts.consistentPoint;
    this.pointMicros = parts.pointMicros;
    this.catalog = parts.catalog;
    this.#clients = parts.clients;
    this.#serverVersion = parts.serverVersion;
  }

  get workers(): number {
    return this.#clients.length;
  }

  /** Process ids of the workers' backends. */
  get pids(): number[] {
    return this.#clients.map((client) => (client as unknown as { processID: number }).processID);
  }

  /** Sizes by OID, without those of tables that somebody has locked. */
  async sizes(oids: readonly number[]): Promise<Map<number, StorageSize>> {
    const sizes = await this.#sizesUnlessLocked(oids, LOCK_WAIT_MS);
    if (sizes) return sizes;
    const found = new Map<number, StorageSize>();
    for (const oid of oids) {
      const one = await this.#sizesUnlessLocked([oid], SHORT_LOCK_WAIT_MS);
      for (const [known, size] of one ?? []) found.set(known, size);
    }
    return found;
  }

  /** Null if one of them is locked. */
  async #sizesUnlessLocked(
    oids: readonly number[],
    waitMs: number,
  ): Promise<Map<number, StorageSize> | null> {
    const client = this.#worker(0);
    await client.query("SAVEPOINT sizes");
    try {
      await client.query(`SET LOCAL lock_timeout = ${waitMs}`);
      return await this.#readSizes(client, oids);
    } catch (error) {
      if (sqlState(error) === "55P03") return null; // lock_not_available
      throw error;
    } finally {
      // The lock that was needed for a moment goes, too, and the settings.
      await client.query("ROLLBACK TO SAVEPOINT sizes").catch(() => {});
    }
  }

  async #readSizes(client: Client, oids: readonly number[]): Promise<Map<number, StorageSize>> {
    const { rows } = await client.query<{ oid: number; pages: number; bytes: number }>(
      `SELECT o.oid::int8::float8 AS oid, (pg_catalog.pg_relation_size(o.oid) /
              pg_catalog.current_setting('block_size')::int8)::float8 AS pages,
              pg_catalog.pg_table_size(o.oid)::float8 AS bytes
         FROM pg_catalog.unnest($1::oid[]) AS o (oid)`,
      [oids],
    );
    return new Map(rows.map((row) => [row.oid, { pages: row.pages ?? 0, bytes: row.bytes ?? 0 }]));
  }

  /** Reads a range as CSV rows of `columns`; resolves with their number. `worker` is one of `workers`, used by one caller at a time. */
  async copy(worker: number, range: PageRange, { columns, onRow }: RangeReader): Promise<number> {
    const client = this.#worker(worker);
    await client.query("SAVEPOINT range");
    try {
      await this.#lock(client, range.storage);
      await this.#assertColumns(client, range.storage, columns);
      return await copyOut(client, this.#copyText(range, columns), onRow);
    } catch (error) {
      throw explainCopyError(error, range.storage);
    } finally {
      // Ends the lock, too: nobody waits behind us for longer than a range takes.
      await client.query("ROLLBACK TO SAVEPOINT range").catch(() => {});
    }
  }

  async close(): Promise<void> {
    await Promise.allSettled(this.#clients.map((client) => client.end()));
  }

  #worker(worker: number): Client {
    const client = this.#clients[worker];
    if (!client) throw new RangeError(`no copy worker ${worker}`);
    return client;
  }

  /**
   * A TRUNCATE or a rewrite that committed after the consistent point would make the table look empty to our
   * snapshot (PostgreSQL, "MVCC Caveats"). pg_relation_filenode() tells what is true now, under the lock.
   */
  async #lock(client: Client, storage: PlannedStorage): Promise<void> {
    await client.query(`LOCK TABLE ONLY ${qualified(storage)} IN ACCESS SHARE MODE`);
    const { rows } = await client.query<{ oid: number; filenode: number }>(
      `SELECT c.oid::int8::float8 AS oid, pg_catalog.pg_relation_filenode(c.oid)::int8::float8 AS filenode
         FROM (SELECT ${literal(qualified(storage))}::regclass::oid AS oid) c`,
    );
    const [now] = rows;
    if (now?.oid !== storage.oid || now.filenode !== storage.filenode) {
      throw new TableChangedError(`${qualified(storage)} was rewritten, truncated or replaced`);
    }
  }

  /**
   * COPY finds columns by the names that they have now, and the catalog that we read is the snapshot's: names that
   * were swapped, or a type that was changed without a rewrite, would give other texts, and once they are changed back
   * nothing would tell. What is described is what is true now.
   */
  async #assertColumns(client: Client, storage: PlannedStorage, columns: readonly string[]): Promise<void> {
    const { fields } = await client.query(
      `SELECT ${columns.map(ident).join(", ")} FROM ONLY ${qualified(storage)} LIMIT 0`,
    );
    // A value of a domain is described as one of its base type.
    const { rows } = await client.query<{ name: string; attnum: number; type: number | null }>(
      `SELECT a.attname::text AS name, a.attnum::int4 AS attnum,
              CASE t.typtype WHEN 'd' THEN NULL ELSE a.atttypid::int8::float8 END AS type
         FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
        WHERE a.attrelid = $1::oid AND a.attnum > 0`,
      [storage.oid],
    );
    const then = new Map(rows.map((row) => [row.name, row]));
    for (const { name, columnID, dataTypeID } of fields) {
      const { attnum, type } = then.get(name) ?? { attnum: 0, type: null };
      if (attnum === columnID && (type === null || type === dataTypeID)) continue;
      throw new TableChangedError(`column ${ident(name)} of ${qualified(storage)} is another one now`);
    }
  }

  #copyText(range: PageRange, columns: readonly string[]): string {
    const list = columns.map(ident).join(", ");
    // COPY quotes a lone \. if there is one column only; with a second one it writes the bytes that the stream has.
    const selected = columns.length === 1 ? `NULL, ${list}` : list;
    return `COPY (SELECT ${selected} FROM ONLY ${qualified(range.storage)}${this.#where(range)}) TO STDOUT (FORMAT csv)`;
  }

  /** A TID range scan from 14 on; before, all line numbers of the pages by name, so that no range reads the whole table. */
  #where({ storage, from, to }: PageRange): string {
    if (from === 0 && to === null) return "";
    if (this.#serverVersion >= 14 || to === null) {
      return ` WHERE ctid >= '(${from},0)'${to === null ? "" : ` AND ctid < '(${to},0)'`}`;
    }
    const tids = `SELECT pg_catalog.format('(%s,%s)', page, line)::tid
      FROM pg_catalog.generate_series(${from}, ${Math.min(to, Math.max(storage.pages, from + 1)) - 1}) AS page,
           pg_catalog.generate_series(1, ${MAX_TUPLES_PER_PAGE}) AS line`;
    return ` WHERE ctid = ANY (ARRAY(${tids}))`;
  }
}

async function transactionMicros(client: Client): Promise<bigint> {
  const { rows } = await client.query<{ micros: string }>(
    "SELECT (extract(epoch FROM pg_catalog.now()) * 1000000)::int8::text AS micros",
  );
  return BigInt(rows[0]?.micros ?? 0);
}

async function importSnapshot(
  source: SourceAccess,
  serverVersion: number,
  snapshot: string,
): Promise<Client> {
  const client = await connectSource(source, "copy", { serverVersion, atStart: false });
  try {
    await client.query("BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY");
    await client.query(`SET TRANSACTION SNAPSHOT ${literal(snapshot)}`);
    await client.query("SELECT 1");
    return client;
  } catch (error) {
    await client.end().catch(() => {});
    throw error;
  }
}

function explainCopyError(error: unknown, storage: PlannedStorage): unknown {
  const name = qualified(storage);
  if (isBeyondRowLimit(error)) return rowLimitError(`${storage.schema}.${storage.name}`, error);
  switch (sqlState(error)) {
    case "55P03": // lock_not_available
    case "57014": // query_canceled: the application waited for a lock behind us
      return new TableBusyError(`${name} is locked`, { cause: error });
    case "42P01": // undefined_table
    case "42703": // undefined_column
    case "3F000": // invalid_schema_name
      return new TableChangedError(`${name} has changed: ${(error as Error).message}`, { cause: error });
    default:
      return error;
  }
}
