import type { PipelineIdentity } from "../core/document.ts";
import { BusyError, OperatorError } from "../core/errors.ts";
import { type Lsn } from "../core/lsn.ts";
import { Log, readLog, type Reading } from "../delivery/log.ts";
import type { Patiently } from "../delivery/file-writer.ts";
import { unborn } from "../delivery/state.ts";
import { connectSource, sourceClientConfig, type SourceAccess } from "../postgres/connect.ts";
import { createStatement, ensurePublications, publicationsOf } from "../postgres/publication.ts";
import { sqlState } from "../postgres/quote.ts";
import { ReplicationStream } from "../postgres/replication-stream.ts";
import { blockersOf, createSlot, readSlot, SlotWaitError } from "../postgres/slot.ts";
import { explainSqlError, type SqlConnection } from "../postgres/sql-connection.ts";
import type { DaemonParts } from "./parts.ts";
import { branchPoint, identifySystem, identityOf } from "./source-facts.ts";
import { planStart, type StartPlan } from "./start.ts";

/** The slot is ours, and so the log is ours to write. */
export interface Held {
  readonly stream: ReplicationStream;
  readonly log: Log;
  /** Null at the first start. */
  readonly reading: Reading | null;
  /** Where streaming goes on. */
  readonly from: Lsn;
}

export interface LockParts extends DaemonParts {
  readonly sql: SqlConnection;
  readonly serverVersion: number;
  /** For what the store is asked for before and while the slot is held. */
  readonly patiently: Patiently;
  /** Where the transaction commits that the server could not send; null: there is none. */
  readonly unsendable: Lsn | null;
}

/** How long a slot's creation waits for running transactions before it says for whom, and tries again. */
const CREATE_WAIT_MS = 5_000;

/** Whether somebody streams from the slot now. */
export async function isSlotTaken({ sql, settings, serverVersion }: LockParts): Promise<boolean> {
  const slot = await sql.use((client) => readSlot(client, settings.source.slot, serverVersion));
  return slot?.active ?? false;
}

/** Takes the slot, whose one reader is the log's one writer. Null: somebody else has it. */
export async function takeSlot(parts: LockParts): Promise<Held | null> {
  const { source } = parts.settings;
  const { sql, serverVersion, store } = parts;
  const replication = await connectSource(source, "replication", { serverVersion, atStart: false });
  let identity: PipelineIdentity;
  let reading: Reading | null;
  let plan: StartPlan;
  try {
    const server = await identifySystem(replication);
    identity = identityOf(server, source);
    // First the slot, then the log: a live daemon moves both, and the slot last.
    const slot = await sql.use((client) => readSlot(client, source.slot, serverVersion));
    parts.observations.sourceUp();
    if (slot?.active) return null;
    reading = await parts.patiently("read the log", () => readLog(store));
    // Of several that start at once, one may have made the slot between these two looks.
    if (
      slot === null &&
      reading !== null &&
      (await sql.use((client) => readSlot(client, source.slot, serverVersion)))
    ) {
      return null;
    }
    const known = reading?.state.pipeline.timeline ?? identity.timeline;
    const branchedAt = await branchPoint(replication, identity.timeline, known);
    const { flushedLsn } = server;
    const state = reading?.state ?? null;
    plan = planStart({ state, slot, identity, branchedAt, flushedLsn, lastKind: reading?.last.kind });
  } finally {
    await replication.end().catch(() => {});
  }
  const state = reading?.state ?? unborn(identity);
  const log = new Log(store, { ...state, pipeline: identity }, reading?.stateKeys ?? []);
  if (plan.slot === "wait") return null;
  const from =
    plan.slot === "create" ? await makeSlot(parts, log, reading?.last.kind !== "birth") : plan.from;
  const confirmed = plan.slot === "create" ? from : plan.confirmed;
  // What the log has is not sent again then: what comes first is what the server cannot send.
  const stream = await openStream(parts, { confirmed, startAt: parts.unsendable === null ? null : from });
  return stream ? { stream, log, reading, from } : null;
}

/** The publications come before the slot: a stream from before they existed cannot be decoded (traps in facts.md D6). */
async function makeSlot(parts: LockParts, log: Log, isUnborn: boolean): Promise<Lsn> {
  const { settings, sql, serverVersion, observations } = parts;
  const { source } = settings;
  if (isUnborn) {
    const about = { files: [], tables: [], endLsn: null, firstLsn: null, committedAt: null };
    const birth = log.next({ kind: "birth", ...about });
    await parts.patiently("write the log", () => log.append(birth));
  }
  const names = publicationsOf(source.publication);
  await sql.use((client) => ensurePublications(client, names, source.manage, serverVersion));
  const replication = await connectSource(source, "replication", { serverVersion, atStart: false });
  try {
    const wish = { slot: source.slot, temporary: false, serverVersion, waitMs: CREATE_WAIT_MS };
    const { consistentPoint } = await createSlot(replication, wish);
    observations.clear("slot-creation-waits");
    return consistentPoint;
  } catch (error) {
    if (sqlState(error) === "42710")
      throw new BusyError(`slot ${source.slot} was made by another daemon`, { cause: error });
    if (error instanceof SlotWaitError) {
      const [holder = "a transaction that is running"] = await sql.use(blockersOf);
      observations.hold("slot-creation-waits", { holder });
    }
    throw explainSqlError(error);
  } finally {
    await replication.end().catch(() => {});
  }
}

/** `confirmed` is what the slot says by itself: repeating it keeps the connection alive and moves nothing. */
async function openStream(
  { settings, sql, serverVersion }: LockParts,
  positions: { readonly confirmed: Lsn; readonly startAt: Lsn | null },
): Promise<ReplicationStream | null> {
  const { source } = settings;
  const names = publicationsOf(source.publication);
  const present = await sql.use(async (client) => {
    const { rows } = await client.query<{ name: string }>(
      "SELECT pubname::text AS name FROM pg_catalog.pg_publication WHERE pubname = ANY ($1)",
      [[names.all, names.insertOnly]],
    );
    return rows.map((row) => row.name);
  });
  if (!present.includes(names.all)) {
    throw new OperatorError(
      `publication ${names.all} is gone: changes since then are lost to the stream`,
      `${createStatement(names.all, names, serverVersion)}; then \`pgstage resync --all\``,
    );
  }
  try {
    return await ReplicationStream.open({
      client: await sourceClientConfig(source, "replication", { serverVersion }),
      slot: source.slot,
      publications: present,
      ...positions,
      isAlive: (pid) => isRunning(source, pid, serverVersion),
    });
  } catch (error) {
    if (sqlState(error) === "55006") return null; // object_in_use: another daemon was faster
    throw explainSqlError(error);
  }
}

/** On a connection of its own: those that there are may be as dead as the one that is asked about. */
async function isRunning(source: SourceAccess, pid: number, serverVersion: number): Promise<boolean> {
  const client = await connectSource(source, "sql", { serverVersion, atStart: false });
  try {
    const { rowCount } = await client.query("SELECT 1 FROM pg_catalog.pg_stat_activity WHERE pid = $1", [
      pid,
    ]);
    return rowCount === 1;
  } finally {
    await client.end().catch(() => {});
  }
}
