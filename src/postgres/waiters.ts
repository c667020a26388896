import type { Client } from "pg";

/** Somebody of the application who waits for a lock that a backend of ours holds. */
export interface Waiter {
  /** Our backend. */
  readonly pid: number;
  readonly waitingPid: number;
  readonly waitedMs: number;
  readonly query: string;
}

/** Who waits behind these backends. Locks are looked at, not statistics, so it costs a scan of the lock table. */
export async function waitersBehind(client: Client, pids: readonly number[]): Promise<Waiter[]> {
  const { rows } = await client.query<{ pid: number; waiting_pid: number; waited_ms: number; query: string }>(
    `SELECT b.pid, a.pid AS waiting_pid, pg_catalog.left(a.query, 80) AS query,
            (extract(epoch FROM pg_catalog.clock_timestamp() - a.state_change) * 1000)::float8 AS waited_ms
       FROM pg_catalog.pg_stat_activity a
       CROSS JOIN LATERAL pg_catalog.unnest(pg_catalog.pg_blocking_pids(a.pid)) AS b (pid)
      WHERE a.wait_event_type = 'Lock' AND b.pid = ANY ($1::int4[])`,
    [pids],
  );
  return rows.map((row) => ({
    pid: row.pid,
    waitingPid: row.waiting_pid,
    waitedMs: row.waited_ms,
    query: row.query,
  }));
}

/** Ends the statement of one of our backends; its transaction and snapshot stay. */
export async function cancelBackend(client: Client, pid: number): Promise<void> {
  await client.query("SELECT pg_catalog.pg_cancel_backend($1)", [pid]);
}

/** Who has locked these tables so that nobody can read them, in words: `pid 4711 (psql, idle in transaction since 2026-11-22 07:03:12 UTC)`. */
export async function lockersOf(client: Client, oids: readonly number[]): Promise<string[]> {
  const { rows } = await client.query<{ who: string }>(
    `SELECT DISTINCT CASE WHEN l.pid IS NULL THEN 'a prepared transaction'
              ELSE pg_catalog.format('pid %s (%s, %s since %s UTC)', l.pid, coalesce(nullif(a.application_name, ''), a.usename::text),
                a.state, pg_catalog.to_char(a.xact_start AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS')) END AS who
       FROM pg_catalog.pg_locks l LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
      WHERE l.locktype = 'relation' AND l.relation = ANY ($1::oid[]) AND l.granted AND l.mode = 'AccessExclusiveLock'
        AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())`,
    [oids],
  );
  return rows.map((row) => row.who);
}
