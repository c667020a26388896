import type { Client } from "pg";
import type { PipelineIdentity } from "../core/document.ts";
import { OperatorError, ReplacedError, TransientError } from "../core/errors.ts";
import { formatLsn, parseLsn, type Lsn } from "../core/lsn.ts";
import { Log, readLog, type Reading } from "../delivery/log.ts";
import { publishLast } from "../delivery/recover.ts";
import type { TableEvent } from "../delivery/state.ts";
import type { Patiently } from "../delivery/file-writer.ts";
import { connectSource } from "../postgres/connect.ts";
import { ensurePublications, publicationsOf } from "../postgres/publication.ts";
import { blockersOf, createSlot, dropSlot, readSlot, type SlotInfo } from "../postgres/slot.ts";
import type { Settings } from "../settings/settings.ts";
import type { Store } from "../stores/store.ts";
import { identifySystem, identityOf } from "./source-facts.ts";
import { refuseForeignSlot, stagedUpTo } from "./start.ts";

/** How long a slot's creation waits for running transactions before it says for whom, and tries again. */
const CREATE_WAIT_MS = 10_000;

export interface BeginAnewParts {
  readonly settings: Settings;
  readonly store: Store;
  readonly client: Client;
  readonly serverVersion: number;
  readonly patiently: Patiently;
  readonly signal: AbortSignal;
  /** The stage may be taken over from another server or database. */
  readonly newSource: boolean;
  /** Tells what is being done. */
  readonly tell: (line: string) => void;
}

/** `nothing`: the next start copies everything anyway. */
export type BegunAnew = { readonly from: Lsn; readonly tables: number } | "nothing";

/**
 * The way out when slot and log have parted: a new slot, and a log that goes on at its position with every table to be
 * copied afresh. What was staged stays; the new copies' `t` rows are beyond it, or this is refused. No daemon may run.
 * Interrupted at any point, it can be done again.
 */
export async function beginAnew(parts: BeginAnewParts): Promise<BegunAnew> {
  const { settings, store, client, serverVersion, patiently, tell } = parts;
  const { source } = settings;
  const slot = await readSlot(client, source.slot, serverVersion);
  if (slot?.active) throw slotInUse(source.slot, slot);
  const reading = await readLog(store);
  if (!reading) throw withoutLog(store, source.slot, slot);
  const identity = await identityNow(settings, serverVersion);
  const isOther = refuseOther(reading, identity, parts.newSource);
  if (slot) refuseForeignSlot(slot, identity);
  const floor = stagedUpTo(reading.state);
  if (floor === null || reading.state.endLsn === null) return "nothing";
  // An idle server stands where the stage ends; making a slot takes it beyond.
  const now = await currentLsn(client);
  if (now !== floor) refuseEarlier(now, floor, reading);
  await publishLast(store, reading.last, patiently);
  if (slot) {
    tell(`Dropping the slot ${source.slot}.`);
    await dropSlot(client, source.slot);
  }
  await ensurePublications(client, publicationsOf(source.publication), source.manage, serverVersion);
  tell(`Making the slot ${source.slot}.`);
  const from = await makeSlot(parts);
  refuseEarlier(from, floor, reading);
  await record(parts, reading, { identity, from, isOther });
  return { from, tables: Object.keys(reading.state.tables).length };
}

function slotInUse(name: string, { activePid }: SlotInfo): OperatorError {
  return new OperatorError(
    `slot ${name} is in use by pid ${activePid ?? "unknown"}, which does not answer`,
    "stop the daemon, then run `pgstage resync --all` again",
  );
}

function withoutLog(store: Store, name: string, slot: SlotInfo | null): OperatorError {
  return new OperatorError(
    `the stage ${store.url} has no log, so there is nothing to copy afresh`,
    slot
      ? `correct stage.url; or, if nobody needs the slot ${name}, run \`pgstage teardown --yes\`, and then \`pgstage run\``
      : "correct stage.url, or begin with `pgstage run`",
  );
}

async function identityNow({ source }: Settings, serverVersion: number): Promise<PipelineIdentity> {
  const replication = await connectSource(source, "replication", { serverVersion });
  try {
    return identityOf(await identifySystem(replication), source);
  } finally {
    await replication.end().catch(() => {});
  }
}

/** True if the log is another server's or database's, and that is meant so. */
function refuseOther({ state }: Reading, identity: PipelineIdentity, newSource: boolean): boolean {
  const { pipeline } = state;
  const isOther =
    pipeline.systemIdentifier !== identity.systemIdentifier || pipeline.database !== identity.database;
  if (isOther && !newSource) {
    throw new OperatorError(
      `the stage belongs to database ${pipeline.database} of system ${pipeline.systemIdentifier}, and this is ${identity.database} of system ${identity.systemIdentifier}`,
      "use another stage.url for this database; or, if it has replaced the other one for good, run `pgstage resync --all --new-source`",
    );
  }
  if (pipeline.slot !== identity.slot && !isOther) {
    throw new OperatorError(
      `the stage belongs to slot ${pipeline.slot}, and source.slot is ${identity.slot}`,
      `set source.slot = ${pipeline.slot}, or use another stage.url`,
    );
  }
  return isOther;
}

/** Rows are ordered by LSN: a copy that stands before what is staged could not replace it. */
function refuseEarlier(now: Lsn, floor: Lsn, { state }: Reading): void {
  if (now > floor) return;
  throw new OperatorError(
    `the source stands at ${formatLsn(now)}, before what the stage holds (up to ${formatLsn(floor)} of timeline ${state.pipeline.timeline}): new copies would count as older than it`,
    "use another stage.url for this source",
  );
}

async function currentLsn(client: Client): Promise<Lsn> {
  const { rows } = await client.query<{ lsn: string }>(
    "SELECT pg_catalog.pg_current_wal_flush_lsn()::text AS lsn",
  );
  return parseLsn(rows[0]?.lsn ?? "0/0");
}

/** Waits for every transaction that runs now, and says so, until it is told to stop. */
async function makeSlot({ settings, client, serverVersion, signal, tell }: BeginAnewParts): Promise<Lsn> {
  const { source } = settings;
  for (;;) {
    signal.throwIfAborted();
    const replication = await connectSource(source, "replication", { serverVersion });
    try {
      const wish = { slot: source.slot, temporary: false, serverVersion, waitMs: CREATE_WAIT_MS };
      return (await createSlot(replication, wish)).consistentPoint;
    } catch (error) {
      if (!(error instanceof TransientError)) throw error;
      const [holder = "a transaction that is running"] = await blockersOf(client);
      tell(`The slot has to wait for ${holder}.`);
    } finally {
      await replication.end().catch(() => {});
    }
  }
}

const REASON = "an operator asked for all tables";

async function record(
  { store, patiently }: BeginAnewParts,
  reading: Reading,
  { identity, from, isOther }: { identity: PipelineIdentity; from: Lsn; isOther: boolean },
): Promise<void> {
  const log = new Log(store, { ...reading.state, pipeline: identity }, reading.stateKeys);
  // Another server's table numbers mean nothing here: its tables are found as new ones, and copied as such.
  const events: TableEvent[] = isOther
    ? Object.values(reading.state.tables).map(({ catalog }) => ({ event: "forget", oid: catalog.oid }))
    : [{ event: "copyAll", reason: REASON }];
  const about = { files: [], firstLsn: null, committedAt: null };
  const document = log.next({ kind: "batch", ...about, tables: events as never, endLsn: formatLsn(from) });
  try {
    await patiently("write the log", () => log.append(document));
  } catch (error) {
    if (!(error instanceof ReplacedError)) throw error;
    throw new OperatorError(
      "a daemon wrote to the stage's log meanwhile",
      "see `pgstage status`, and try again",
      { cause: error },
    );
  }
}
