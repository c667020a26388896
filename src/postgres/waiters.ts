import type { Client } from "pg";

/** Somebody of the application who waits for something that a backend of ours holds. */
export interface Waiter {
  /** Our backend. */
  readonly pid: number;
  readonly waitingPid: number;
  /**
   * `lock`: on a table, which a range holds. `transaction`: for the end of our transaction, whose snapshot is older, as
   * CREATE INDEX CONCURRENTLY does.
   */
  readonly waitsFor: "lock" | "transaction";
  /** The begin of its statement; empty if the role may not see it (pg_read_all_stats). */
  readonly query: string;
}

/** Who waits behind these backends: by the lock table, which every role may see. */
export async function waitersBehind(client: Client, pids: readonly number[]): Promise<Waiter[]> {
  const { rows } = await client.query<{
    pid: number;
    waiting_pid: number;
    is_transaction: boolean;
    query: string;
  }>(
    `SELECT b.pid, l.pid AS waiting_pid, l.locktype IN ('virtualxid', 'transactionid') AS is_transaction,
            coalesce(pg_catalog.left(a.query, 80), '') AS query
       FROM pg_catalog.pg_locks l
       LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
       CROSS JOIN LATERAL pg_catalog.unnest(pg_catalog.pg_blocking_pids(l.pid)) AS b (pid)
      WHERE NOT l.granted AND b.pid = ANY ($1::int4[])`,
    [pids],
  );
  return rows.map((row) => ({
    pid: row.pid,
    waitingPid: row.waiting_pid,
    waitsFor: row.is_transaction ? "transaction" : "lock",
    query: row.query,
  }));
}

/** Ends the statement of one of our backends; its transaction and snapshot stay. Has no effect while its client does not read. */
export async function cancelBackend(client: Client, pid: number): Promise<void> {
  await client.query("SELECT pg_catalog.pg_cancel_backend($1)", [pid]);
}

/** Ends our backends, with their transactions and snapshots. */
export async function endBackends(client: Client, pids: readonly number[]): Promise<void> {
  await client.query(
    "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.unnest($1::int4[]) AS p (pid)",
    [pids],
  );
}

/** Modes of table locks that are in the way (PostgreSQL documentation, "Table-Level Locks"). */
const IN_THE_WAY = {
  reading: ["AccessExclusiveLock"],
  publishing: [
    "ShareUpdateExclusiveLock",
    "ShareLock",
    "ShareRowExclusiveLock",
    "ExclusiveLock",
    "AccessExclusiveLock",
  ],
} as const;

/**
 * Which of these tables somebody has locked so that nobody can read them, or put them into a publication, by OID; and
 * who, in words: `pid 4711 (psql, idle in transaction since 2026-11-22 07:03:12 UTC)`, the state if the role may see it.
 */
export async function lockersOf(
  client: Client,
  oids: readonly number[],
  what: keyof typeof IN_THE_WAY,
): Promise<Map<number, string>> {
  const { rows } = await client.query<{ oid: number; who: string }>(
    `SELECT l.relation::int8::float8 AS oid, CASE WHEN l.pid IS NULL THEN 'a prepared transaction'
              ELSE pg_catalog.format('pid %s (%s)', l.pid, pg_catalog.concat_ws(', ',
                coalesce(nullif(a.application_name, ''), a.usename::text),
                a.state || pg_catalog.to_char(a.xact_start AT TIME ZONE 'UTC', '" since "YYYY-MM-DD HH24:MI:SS" UTC"'))) END AS who
       FROM pg_catalog.pg_locks l LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
      WHERE l.locktype = 'relation' AND l.relation = ANY ($1::oid[]) AND l.granted AND l.mode = ANY ($2)
        AND l.pid IS DISTINCT FROM pg_catalog.pg_backend_pid()
        AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())`,
    [oids, IN_THE_WAY[what]],
  );
  return new Map(rows.map(({ oid, who }) => [oid, who]));
}
