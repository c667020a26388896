import type { Client } from "pg";
import { messageOf, OperatorError, TransientError } from "../../core/errors.ts";
import { tableFilter } from "../../core/globs.ts";
import { readCatalog, type Catalog } from "../../postgres/catalog.ts";
import { connectSource } from "../../postgres/connect.ts";
import { readPublicationFacts, type PublicationFacts } from "../../postgres/preflight/publication-facts.ts";
import { readServerFacts, type ServerFacts } from "../../postgres/preflight/server-facts.ts";
import {
  readSchemaRights,
  readTableRights,
  type SchemaRights,
  type TableRights,
} from "../../postgres/preflight/table-facts.ts";
import { publicationsOf } from "../../postgres/publication.ts";
import { readSlot, type SlotInfo } from "../../postgres/slot.ts";
import { explainSqlError } from "../../postgres/sql-connection.ts";
import type { Settings } from "../../settings/settings.ts";
import type { Store } from "../../stores/store.ts";
import { fail, ok, skip, type Check } from "./check.ts";
import { checkConnected, checkFailedConnection } from "./connection.ts";
import { checkEndpoint } from "./endpoint.ts";
import { checkWalSenderTimeout } from "./server.ts";

/** As long as a slot's creation waits before it complains. */
const LONG_TRANSACTION_SECONDS = 10;

export interface PreflightOptions {
  readonly settings: Settings;
  readonly store: Store;
  /** What is about to be done: a snapshot needs neither publications nor a slot that stays. */
  readonly purpose: "run" | "snapshot";
  /** Age from which on transactions are told; for tests. */
  readonly longTransactionSeconds?: number;
}

export interface SourceView {
  readonly facts: ServerFacts;
  readonly nowMs: number;
  readonly slot: SlotInfo | null;
  /** As it is now. */
  slotNow(): Promise<SlotInfo | null>;
  readonly catalog: Catalog;
  readonly schemas: readonly SchemaRights[];
  readonly rights: ReadonlyMap<number, TableRights>;
  readonly publications: ReadonlyMap<string, PublicationFacts>;
  /** Null if the role may not replicate, or there is no walsender left. */
  readonly replication: Client | null;
  close(): Promise<void>;
}

/** Checks that were never reached without a connection. */
const NEED_A_CONNECTION = [
  "replication",
  "WAL sender timeout",
  "server version",
  "primary",
  "wal_level",
  "replication slots",
  "WAL senders",
  "connections",
  "WAL limit",
  "synchronous replication",
  "running transactions",
  "clock",
  "schemas",
  "tables",
  "names",
  "SELECT",
  "row security",
  "replica identity",
  "not captured",
  "publications",
];

/** Connects and reads all facts; without a view the checks say why not. */
export async function openSource(
  options: PreflightOptions,
): Promise<{ checks: Check[]; view: SourceView | null }> {
  const { source } = options.settings;
  const endpoint = checkEndpoint(source.host);
  const unreached = NEED_A_CONNECTION.map((name) => skip(name, "not connected"));
  if (endpoint.verdict === "fail") {
    const steps = ["reachable", "TLS", "login"].map((name) => skip(name, "not tried"));
    return { checks: [endpoint, ...steps, ...unreached], view: null };
  }
  let client: Client;
  try {
    client = await connectSource(source, "sql");
  } catch (error) {
    return { checks: [endpoint, ...checkFailedConnection(error, source), ...unreached], view: null };
  }
  const replication = await connectSource(source, "replication").catch(asError);
  const usable = replication instanceof Error ? null : replication;
  try {
    const view = await readSource(client, options);
    const facts = withoutOwn(view.facts, usable === null ? 0 : 1);
    const checks = [endpoint, ...checkConnected(source, facts), ...(await checkReplication(replication))];
    return { checks, view: { ...view, facts, replication: usable, close: () => closeAll(client, usable) } };
  } catch (error) {
    await closeAll(client, usable);
    return { checks: [endpoint, failed("source", error)], view: null };
  }
}

/** The replication connection of the check itself is none that takes one away from the daemon. */
function withoutOwn(facts: ServerFacts, own: number): ServerFacts {
  const { used, max } = facts.walSenders;
  return { ...facts, walSenders: { used: used - own, max } };
}

async function closeAll(...clients: readonly (Client | null)[]): Promise<void> {
  await Promise.allSettled(clients.map(async (client) => client?.end()));
}

async function readSource(
  client: Client,
  options: PreflightOptions,
): Promise<Omit<SourceView, "replication" | "close">> {
  const { source } = options.settings;
  const longTransactionSeconds = options.longTransactionSeconds ?? LONG_TRANSACTION_SECONDS;
  const askedAtMs = Date.now();
  const facts = await readServerFacts(client, { longTransactionSeconds });
  const nowMs = (askedAtMs + Date.now()) / 2;
  const slot = await readSlot(client, source.slot, facts.version);
  const { all, insertOnly } = publicationsOf(source.publication);
  const publications = await readPublicationFacts(client, [all, insertOnly], facts.version);
  const schemas = await readSchemaRights(client, source.schemas);
  const read = await readCatalog(client, source.schemas, facts.version);
  const captures = tableFilter(source);
  const isWanted = (table: string): boolean =>
    captures(table.slice(0, table.indexOf(".")), table.slice(table.indexOf(".") + 1));
  const tables = read.tables.filter((table) => captures(table.schema, table.name));
  const notCaptured = read.notCaptured.filter(({ table }) => isWanted(table));
  const oids = tables.flatMap((table) => [table.oid, ...table.storages.map(({ oid }) => oid)]);
  const rights = await readTableRights(client, oids);
  const slotNow = (): Promise<SlotInfo | null> => readSlot(client, source.slot, facts.version);
  return {
    facts,
    nowMs,
    slot,
    slotNow,
    publications,
    schemas,
    rights,
    catalog: { ...read, tables, notCaptured },
  };
}

/** Whether the role may replicate is best known by doing it: attributes and memberships say it differently everywhere. */
async function checkReplication(connection: Client | Error): Promise<Check[]> {
  const name = "replication";
  const timeout = "WAL sender timeout";
  if (connection instanceof Error)
    return [failed(name, connection), skip(timeout, "no replication connection")];
  const { rows } = await connection.query<{ wal_sender_timeout: string }>("SHOW wal_sender_timeout");
  return [
    ok(name, "the role may replicate"),
    checkWalSenderTimeout(secondsOf(rows[0]?.wal_sender_timeout ?? "0")),
  ];
}

/** As SHOW prints a duration: with the greatest unit that divides it. */
function secondsOf(text: string): number {
  const match = /^(\d+)(ms|s|min|h|d)?$/.exec(text);
  const unit = { ms: 0.001, s: 1, min: 60, h: 3600, d: 86_400 }[match?.[2] ?? "ms"] ?? 0;
  return Number(match?.[1] ?? 0) * unit;
}

/** An error where a check should have been. */
export function failed(name: string, error: unknown): Check {
  const mend =
    error instanceof OperatorError
      ? error.mend
      : "see that the server is up, then try again; its log says more";
  return fail(name, messageOf(error), mend, explainSqlError(error) instanceof TransientError);
}

export function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
