import type { Client, ClientBase } from "pg";
import { BusyError, OperatorError } from "../core/errors.ts";
import { parseLsn, type Lsn } from "../core/lsn.ts";
import { ident, literal, sqlState } from "./quote.ts";

/** A replication slot as the server shows it. */
export interface SlotInfo {
  readonly plugin: string;
  readonly slotType: string;
  readonly database: string;
  readonly active: boolean;
  readonly activePid: number | null;
  readonly restartLsn: Lsn | null;
  readonly confirmedFlushLsn: Lsn | null;
  /** reserved, extended, unreserved, lost. */
  readonly walStatus: string | null;
  /** WAL bytes until it is lost; null if max_slot_wal_keep_size does not limit it. */
  readonly safeWalBytes: number | null;
  /** From 17 on: why it cannot be used any more. */
  readonly invalidation: string | null;
}

export async function readSlot(
  client: ClientBase,
  slot: string,
  serverVersion: number,
): Promise<SlotInfo | null> {
  // 16 says `conflicting` of every invalidated slot, whatever the reason; wal_status is "lost" then.
  const invalidation = serverVersion >= 17 ? "invalidation_reason" : "NULL";
  const { rows } = await client.query<
    Record<string, string | null> & { active: boolean; active_pid: number | null }
  >(
    `SELECT plugin::text, slot_type::text, database::text, active, active_pid, restart_lsn::text,
            confirmed_flush_lsn::text, wal_status::text, safe_wal_size::text, ${invalidation}::text AS invalidation
       FROM pg_catalog.pg_replication_slots WHERE slot_name = $1`,
    [slot],
  );
  const row = rows[0];
  if (!row) return null;
  const lsn = (text: string | null | undefined): Lsn | null => (text ? parseLsn(text) : null);
  return {
    plugin: row["plugin"] ?? "",
    slotType: row["slot_type"] ?? "",
    database: row["database"] ?? "",
    active: row.active,
    activePid: row.active_pid,
    restartLsn: lsn(row["restart_lsn"]),
    confirmedFlushLsn: lsn(row["confirmed_flush_lsn"]),
    walStatus: row["wal_status"] ?? null,
    safeWalBytes: row["safe_wal_size"] == null ? null : Number(row["safe_wal_size"]),
    invalidation: row["invalidation"] ?? null,
  };
}

export interface CreatedSlot {
  readonly consistentPoint: Lsn;
  readonly snapshot: string;
}

export interface SlotWish {
  readonly slot: string;
  /** Vanishes with the connection: for the snapshot of a copy session. */
  readonly temporary: boolean;
  readonly serverVersion: number;
  /** How long to wait for transactions that run already, in milliseconds. */
  readonly waitMs: number;
}

/**
 * Creates a logical slot on a replication connection and exports its snapshot, which is valid until the next command
 * on that connection. Waits for every transaction that is running: at most `waitMs`, then a TransientError.
 */
export async function createSlot(replication: Client, wish: SlotWish): Promise<CreatedSlot> {
  const { slot, temporary, serverVersion, waitMs } = wish;
  await replication.query(`SET lock_timeout = ${waitMs}`);
  const kind = `${temporary ? "TEMPORARY " : ""}LOGICAL pgoutput`;
  const failover = !temporary && serverVersion >= 17;
  const options = failover ? "(SNAPSHOT 'export', FAILOVER true)" : "EXPORT_SNAPSHOT";
  try {
    const { rows } = await replication.query<{ consistent_point: string; snapshot_name: string }>(
      `CREATE_REPLICATION_SLOT ${ident(slot)} ${kind} ${options}`,
    );
    const [row] = rows;
    if (!row) throw new Error("CREATE_REPLICATION_SLOT gave no row");
    return { consistentPoint: parseLsn(row.consistent_point), snapshot: row.snapshot_name };
  } catch (error) {
    throw explainSlotError(error, slot, waitMs);
  }
}

/** A slot begins where no transaction is open that began before it: somebody keeps it waiting. */
export class SlotWaitError extends BusyError {}

function explainSlotError(error: unknown, slot: string, waitMs: number): unknown {
  switch (sqlState(error)) {
    case "55P03": // lock_not_available
    case "57014": // query_canceled
      return new SlotWaitError(
        `creating slot ${slot} waited ${waitMs / 1000} s for transactions that are running`,
        { cause: error },
      );
    case "53400": // configuration_limit_exceeded
      return new OperatorError(
        "all replication slots are in use",
        "raise max_replication_slots (needs a restart), or drop a slot that nobody needs: SELECT slot_name, active FROM pg_replication_slots",
        { cause: error },
      );
    case "42501":
      return new OperatorError(
        "the user may not create replication slots",
        "ALTER ROLE … REPLICATION, on RDS: GRANT rds_replication TO …",
        { cause: error },
      );
    case "55000": // object_not_in_prerequisite_state: wal_level
      return new OperatorError(
        "logical decoding is off: wal_level is below logical",
        "set wal_level = logical and restart; on RDS: rds.logical_replication = 1 in the parameter group and a reboot",
        { cause: error },
      );
    default:
      return error;
  }
}

/**
 * Who keeps a new slot waiting, oldest first, in words: `pid 4711 (app, idle in transaction since 2026-11-22 07:03:12
 * UTC)`. When, and not for how long: that would be wrong a moment later.
 */
export async function blockersOf(client: ClientBase): Promise<string[]> {
  const { rows } = await client.query<{ who: string }>(
    `SELECT pg_catalog.format('pid %s (%s, %s since %s UTC)', pid, coalesce(nullif(application_name, ''), usename::text), state,
                   pg_catalog.to_char(xact_start AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS')) AS who, xact_start
       FROM pg_catalog.pg_stat_activity
      WHERE backend_xid IS NOT NULL AND pid <> pg_catalog.pg_backend_pid()
      UNION ALL
     SELECT pg_catalog.format('prepared transaction %L of %s', gid, owner), prepared FROM pg_catalog.pg_prepared_xacts
      ORDER BY 2 LIMIT 10`,
  );
  return rows.map((row) => row.who);
}

export interface OldestTransaction {
  /** `pid 4711`, or `prepared transaction 'two'`. */
  readonly who: string;
  readonly ageSeconds: number;
}

/** The transaction with changes that is open longest, of whatever database: no slot's restart_lsn passes its begin. */
export async function oldestTransaction(client: ClientBase): Promise<OldestTransaction | null> {
  const { rows } = await client.query<{ who: string; age: number }>(
    `SELECT who, extract(epoch FROM pg_catalog.now() - since)::float8 AS age FROM (
       SELECT 'pid ' || pid AS who, xact_start AS since
         FROM pg_catalog.pg_stat_activity
        WHERE backend_xid IS NOT NULL AND pid <> pg_catalog.pg_backend_pid() AND xact_start IS NOT NULL
        UNION ALL
       SELECT pg_catalog.format('prepared transaction %L', gid), prepared FROM pg_catalog.pg_prepared_xacts) open
      ORDER BY since LIMIT 1`,
  );
  const [row] = rows;
  return row ? { who: row.who, ageSeconds: row.age } : null;
}

export async function dropSlot(client: ClientBase, slot: string): Promise<void> {
  await client.query(`SELECT pg_catalog.pg_drop_replication_slot(${literal(slot)})`);
}
