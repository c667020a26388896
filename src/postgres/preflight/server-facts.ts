import type { ClientBase } from "pg";

/** What one look at the server tells. Sizes in bytes, durations in seconds. */
export interface ServerFacts {
  readonly version: number;
  readonly versionText: string;
  readonly platform: "rds" | "aurora" | "other";
  readonly inRecovery: boolean;
  readonly walLevel: string;
  readonly user: string;
  readonly database: string;
  readonly isSuperuser: boolean;
  /** Sees what other roles' sessions do. */
  readonly seesActivity: boolean;
  readonly mayCreateInDatabase: boolean;
  readonly tlsVersion: string | null;
  readonly slots: { readonly used: number; readonly max: number };
  readonly walSenders: { readonly used: number; readonly max: number };
  readonly connections: { readonly used: number; readonly max: number; readonly reserved: number };
  /** Connections that the role may have, and has; -1 is any number. */
  readonly roleConnections: { readonly used: number; readonly max: number };
  /** Null: WAL is kept without a limit. */
  readonly maxSlotWalKeepBytes: number | null;
  /** 0: never; null: the server does not know it. */
  readonly idleSlotTimeoutSeconds: number | null;
  readonly synchronousStandbyNames: string;
  readonly clockMs: number;
  readonly transactions: readonly RunningTransaction[];
}

/** A transaction that writes: a new slot waits for its end. */
export interface RunningTransaction {
  /** `pid 4711 (shop, idle in transaction)` or `prepared transaction 'x' of owner`. */
  readonly who: string;
  /** Null if it cannot be seen. */
  readonly ageSeconds: number | null;
  /** What ends it. */
  readonly end: string;
}

interface ServerRow extends Omit<
  ServerFacts,
  "transactions" | "slots" | "walSenders" | "connections" | "roleConnections"
> {
  readonly slotsUsed: number;
  readonly slotsMax: number;
  readonly sendersUsed: number;
  readonly sendersMax: number;
  readonly connectionsUsed: number;
  readonly connectionsMax: number;
  readonly connectionsReserved: number;
  readonly roleUsed: number;
  readonly roleMax: number;
}

const SERVER_SQL = `
  WITH setting AS (
    SELECT pg_catalog.jsonb_object_agg(name, setting) AS s FROM pg_catalog.pg_settings
     WHERE name IN ('max_replication_slots', 'max_wal_senders', 'max_connections', 'superuser_reserved_connections',
                    'reserved_connections', 'max_slot_wal_keep_size', 'idle_replication_slot_timeout')
  ), member AS (
    SELECT coalesce(pg_catalog.array_agg(rolname::text), '{}') AS roles FROM pg_catalog.pg_roles
     WHERE rolname IN ('pg_read_all_stats', 'pg_monitor')
       AND pg_catalog.pg_has_role(current_user, oid, 'USAGE')
  )
  SELECT pg_catalog.current_setting('server_version_num')::int4 / 10000 AS version,
         pg_catalog.split_part(pg_catalog.current_setting('server_version'), ' ', 1) AS "versionText",
         CASE WHEN EXISTS (SELECT 1 FROM pg_catalog.pg_proc WHERE proname = 'aurora_version') THEN 'aurora'
              WHEN EXISTS (SELECT 1 FROM pg_catalog.pg_roles WHERE rolname = 'rds_superuser') THEN 'rds'
              ELSE 'other' END AS platform,
         pg_catalog.pg_is_in_recovery() AS "inRecovery",
         pg_catalog.current_setting('wal_level') AS "walLevel",
         current_user::text AS user, pg_catalog.current_database()::text AS database,
         r.rolsuper AS "isSuperuser",
         (r.rolsuper OR m.roles && '{pg_read_all_stats,pg_monitor}') AS "seesActivity",
         pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE') AS "mayCreateInDatabase",
         (SELECT version FROM pg_catalog.pg_stat_ssl WHERE pid = pg_catalog.pg_backend_pid() AND ssl) AS "tlsVersion",
         (SELECT count(*) FROM pg_catalog.pg_replication_slots)::float8 AS "slotsUsed",
         (s.s ->> 'max_replication_slots')::float8 AS "slotsMax",
         (SELECT count(*) FROM pg_catalog.pg_stat_get_wal_senders())::float8 AS "sendersUsed",
         (s.s ->> 'max_wal_senders')::float8 AS "sendersMax",
         (SELECT count(*) FROM pg_catalog.pg_stat_activity WHERE datid IS NOT NULL)::float8 AS "connectionsUsed",
         (s.s ->> 'max_connections')::float8 AS "connectionsMax",
         (CASE WHEN r.rolsuper THEN 0 ELSE (s.s ->> 'superuser_reserved_connections')::float8
                 + coalesce((s.s ->> 'reserved_connections')::float8, 0) END) AS "connectionsReserved",
         (SELECT count(*) FROM pg_catalog.pg_stat_activity WHERE usesysid = r.oid)::float8 AS "roleUsed",
         r.rolconnlimit::float8 AS "roleMax",
         nullif((s.s ->> 'max_slot_wal_keep_size')::float8, -1) * 1048576 AS "maxSlotWalKeepBytes",
         (s.s ->> 'idle_replication_slot_timeout')::float8 AS "idleSlotTimeoutSeconds",
         pg_catalog.current_setting('synchronous_standby_names') AS "synchronousStandbyNames",
         extract(epoch FROM pg_catalog.clock_timestamp())::float8 * 1000 AS "clockMs"
    FROM setting s, member m, pg_catalog.pg_roles r
   WHERE r.rolname = current_user`;

/**
 * Transactions with an id, as their locks show them: who may not see others' activity sees those nevertheless.
 * $1: age in seconds from which on they count.
 */
const TRANSACTIONS_SQL = `
  SELECT pg_catalog.format('pid %s (%s)', l.pid,
           pg_catalog.concat_ws(', ', coalesce(nullif(a.application_name, ''), a.usename::text), a.datname, a.state)) AS who,
         extract(epoch FROM pg_catalog.clock_timestamp() - a.xact_start)::float8 AS "ageSeconds",
         pg_catalog.format('SELECT pg_terminate_backend(%s)', l.pid) AS "end"
    FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
   WHERE l.locktype = 'transactionid' AND l.mode = 'ExclusiveLock' AND l.granted AND l.pid <> pg_catalog.pg_backend_pid()
     AND coalesce(a.xact_start <= pg_catalog.clock_timestamp() - $1 * interval '1 second', true)
   GROUP BY l.pid, a.application_name, a.usename, a.datname, a.state, a.xact_start
  UNION ALL
  SELECT pg_catalog.format('prepared transaction %L of %s in %s', gid, owner, database),
         extract(epoch FROM pg_catalog.clock_timestamp() - prepared)::float8,
         pg_catalog.format('ROLLBACK PREPARED %L in database %s', gid, database)
    FROM pg_catalog.pg_prepared_xacts WHERE prepared <= pg_catalog.clock_timestamp() - $1 * interval '1 second'
   ORDER BY 2 DESC NULLS LAST LIMIT 20`;

export interface FactsOptions {
  /** Age from which on a transaction counts as long. */
  readonly longTransactionSeconds: number;
}

export async function readServerFacts(client: ClientBase, options: FactsOptions): Promise<ServerFacts> {
  const { rows } = await client.query<ServerRow>(SERVER_SQL);
  const [row] = rows;
  if (!row) throw new Error("the role of this session is not in pg_roles");
  const {
    slotsUsed,
    slotsMax,
    sendersUsed,
    sendersMax,
    connectionsUsed,
    connectionsMax,
    connectionsReserved,
  } = row;
  const { roleUsed, roleMax, ...rest } = row;
  const transactions = await client.query<RunningTransaction>(TRANSACTIONS_SQL, [
    options.longTransactionSeconds,
  ]);
  return {
    ...rest,
    slots: { used: slotsUsed, max: slotsMax },
    walSenders: { used: sendersUsed, max: sendersMax },
    connections: { used: connectionsUsed, max: connectionsMax, reserved: connectionsReserved },
    roleConnections: { used: roleUsed, max: roleMax },
    transactions: transactions.rows,
  };
}
