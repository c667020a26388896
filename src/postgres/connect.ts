import type { Socket } from "node:net";
import { Client, type ClientConfig } from "pg";
import { explainConnectError } from "./connect-error.ts";
import { passwordFor } from "./password.ts";
import type { ConnectionKind, SourceAccess } from "./source-access.ts";
import { tlsOptions } from "./tls.ts";

export type { ConnectionKind, SourceAccess } from "./source-access.ts";
export { explainConnectError } from "./connect-error.ts";

const CONNECT_TIMEOUT_MS = 15_000;
/** Until the first probe of a silent connection: below the 350 s after which AWS's load balancers forget one. */
const KEEPALIVE_AFTER_MS = 30_000;
/**
 * Longest wait for an answer, above what the server itself allows a statement: it ends a wait on a connection that is
 * only half there. Copies and the stream are silent for as long as they need.
 */
const ANSWER_MS: Readonly<Record<ConnectionKind, number>> = { sql: 75_000, replication: 120_000, copy: 0 };
/** How long a connection gets to say goodbye; one that is only half there never does. */
const FAREWELL_MS = 1_000;

/**
 * Everything that changes the text of a value, or what a name means, fixed for every connection: `ALTER ROLE …
 * SET` and `ALTER DATABASE … SET` reach walsenders and copies, and the same row must give the same bytes on both.
 *
 * - extra_float_digits: from 1 on the shortest exact text since Postgres 12; 3 is what Postgres's own subscribers and pg_dump set.
 * - search_path, quote_all_identifiers: `regclass` and its kin are printed with or without schema and quotes.
 * - default_transaction_*: a role's default of READ ONLY or SERIALIZABLE would reach our transactions.
 *
 * Not lc_monetary: it says where the point in a `money` stands, so any other than the owner's makes 1000 yen 10.00.
 * Copies and the walsender have the same role and database, and so the same one.
 */
const TEXT_SETTINGS = {
  TimeZone: "UTC",
  DateStyle: "ISO,YMD",
  IntervalStyle: "postgres",
  extra_float_digits: "3",
  bytea_output: "hex",
  client_encoding: "UTF8",
  search_path: "pg_catalog",
  quote_all_identifiers: "off",
  default_transaction_isolation: "read committed",
  default_transaction_read_only: "off",
  default_transaction_deferrable: "off",
} as const;

/** Timeouts in milliseconds but where they say a unit; 0 is none. */
const SETTINGS_BY_KIND: Readonly<Record<ConnectionKind, Readonly<Record<string, string>>>> = {
  sql: {
    row_security: "off",
    statement_timeout: "60s",
    lock_timeout: "5s",
    idle_in_transaction_session_timeout: "60s",
  },
  // A copy is one backend a worker, and its plan, of one node, gains nothing from being compiled.
  copy: {
    max_parallel_workers_per_gather: "0",
    jit: "off",
    row_security: "off",
    statement_timeout: "0",
    lock_timeout: "5s",
    idle_in_transaction_session_timeout: "0",
  },
  // While we are connected the server hears from us every few seconds; a dead connection must not hold the slot.
  replication: {
    wal_sender_timeout: "15s",
    statement_timeout: "0",
    lock_timeout: "0",
    idle_in_transaction_session_timeout: "0",
  },
};

/** Timeouts that a role may have and that older servers do not know; an unknown one would end the login. */
const NEWER_TIMEOUTS = [
  { name: "idle_session_timeout", since: 14 },
  { name: "transaction_timeout", since: 17 },
] as const;

/** For `types` of a client or a query: every value stays the text that Postgres printed. */
export const RAW_TYPES = { getTypeParser: () => (text: string) => text };

/** What the connection is called in pg_stat_activity. Postgres cuts it at 63 bytes. */
export function applicationName(slot: string): string {
  return slot === "pgstage" ? "pgstage" : `pgstage ${slot}`;
}

export interface ConnectOptions {
  /** Major version of the server, once it is known: then the timeouts that only newer servers have are off, too. */
  readonly serverVersion?: number | undefined;
  /** False while the daemon runs: what may pass is then a TransientError. */
  readonly atStart?: boolean | undefined;
}

/**
 * The configuration of one new connection: a changed password file or certificate counts from the next one on.
 * Separate fields, because in pg a connectionString overrides the TLS options and the password function.
 */
export async function sourceClientConfig(
  source: SourceAccess,
  kind: ConnectionKind,
  options: ConnectOptions = {},
): Promise<ClientConfig> {
  return {
    host: source.host,
    port: source.port,
    user: source.user,
    database: source.database,
    password: () => passwordFor(source),
    ssl: await tlsOptions(source),
    sslnegotiation: "postgres",
    application_name: applicationName(source.slot),
    options: startupOptions(kind, options.serverVersion),
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    keepAlive: true,
    keepAliveInitialDelayMillis: KEEPALIVE_AFTER_MS,
    ...(kind === "replication" ? { replication: "database" } : {}),
  };
}

/** `-c name=value` for each setting, as the server's command line, where a backslash keeps a blank in a value. */
export function startupOptions(kind: ConnectionKind, serverVersion = 0): string {
  const newer = NEWER_TIMEOUTS.filter(({ since }) => serverVersion >= since).map(
    ({ name }) => [name, "0"] as const,
  );
  return Object.entries({ ...TEXT_SETTINGS, ...SETTINGS_BY_KIND[kind], ...Object.fromEntries(newer) })
    .map(([name, value]) => `-c ${name}=${value.replaceAll(/[\\\s]/g, String.raw`\$&`)}`)
    .join(" ");
}

/** A goodbye that nobody answers, because the network is gone, would be waited for as long as TCP tries: 15 minutes. */
class SourceClient extends Client {
  override end(): Promise<void>;
  override end(callback: (error: Error) => void): void;
  override end(callback?: (error: Error) => void): Promise<void> | void {
    const { stream } = (this as unknown as { connection: { stream: Socket } }).connection;
    const force = setTimeout(() => stream.destroy(), FAREWELL_MS).unref();
    stream.once("close", () => clearTimeout(force));
    return callback ? super.end(callback) : super.end();
  }
}

/**
 * Connects. Rejects with an OperatorError or a TransientError. A connection that is lost later rejects the
 * running and the next query; its `error` event is heard here, so that it does not end the process.
 */
export async function connectSource(
  source: SourceAccess,
  kind: ConnectionKind,
  options: ConnectOptions = {},
): Promise<Client> {
  try {
    const config = await sourceClientConfig(source, kind, options);
    const client = new SourceClient({ ...config, query_timeout: ANSWER_MS[kind] });
    client.on("error", () => undefined);
    await client.connect();
    return client;
  } catch (error) {
    throw explainConnectError(error, source, { kind, atStart: options.atStart ?? true });
  }
}
