import { messageOf, OperatorError } from "../core/errors.ts";
import { tableFilter } from "../core/globs.ts";
import { parseLsn, type Lsn } from "../core/lsn.ts";
import type { BatchStatus, Status } from "../core/status.ts";
import { readDocument, readLog, type Reading } from "../delivery/log.ts";
import { NO_POSITION } from "../observe/lag.ts";
import { Observations } from "../observe/observations.ts";
import { countOf, humanBytes } from "../observe/units.ts";
import { readCatalog } from "../postgres/catalog.ts";
import { connectSource } from "../postgres/connect.ts";
import { readSlot, type SlotInfo } from "../postgres/slot.ts";
import { describeSource, type Settings } from "../settings/settings.ts";
import type { Store } from "../stores/store.ts";
import { statusOf } from "./reports.ts";
import { branchPoint, identifySystem, identityOf } from "./source-facts.ts";
import { planStart, refuseLostSlot } from "./start.ts";

/** Documents whose batches are shown. */
const BATCHES = 10;
const FILES_PER_BATCH = 50;

export interface LookOptions {
  readonly settings: Settings;
  readonly store: Store;
  readonly version: string;
}

/** What stage and slot tell of a pipeline, from outside of its daemon. Whatever does not answer is a notice. */
export async function lookFromOutside(options: LookOptions): Promise<Status> {
  const { settings, store } = options;
  // The slot first: a live daemon moves both, and the slot last.
  const source = await readSource(settings).catch(asError);
  const reading = await readLog(store).catch(asError);
  const observations = observationsOf(options);
  if (source instanceof Error) observations.sourceDown(source.message);
  else tellSource(observations, source, reading);
  if (reading instanceof Error) observations.storeFailing(reading.message);
  const log = reading instanceof Error ? null : reading;
  const server = source instanceof Error ? null : source;
  const tables = Object.values(log?.state.tables ?? {}).map(statusOf);
  observations.tablesChanged(tables, server?.notCaptured ?? []);
  const situation = await situationOf(settings, { server, log, isStageKnown: !(reading instanceof Error) });
  if (situation.state === "blocked") observations.blocked(situation.problem, situation.mend);
  else observations.stateChanged(situation.state);
  const status = observations.status();
  const batches = log ? await readBatches(store, log).catch(() => []) : [];
  // One look cannot tell since when something waits.
  const lag = { ...status.lag, lagSeconds: status.lag.lagBytes === 0 ? 0 : null };
  const known = { ...status, lag, batches };
  return situation.state === "blocked" ? known : { ...known, summary: situation.words(known) };
}

function observationsOf({ settings, store, version }: LookOptions): Observations {
  const { slot, publication } = settings.source;
  const about = { version, stage: store.url, source: describeSource(settings), slot, publication };
  return new Observations({ ...about, flushIntervalMs: settings.flush.intervalMs });
}

interface SourceView {
  readonly version: number;
  readonly slot: SlotInfo | null;
  readonly sourceLsn: Lsn;
  readonly notCaptured: Status["notCaptured"];
}

async function readSource({ source }: Settings): Promise<SourceView> {
  const client = await connectSource(source, "sql");
  try {
    const { rows } = await client.query<{ version: number; lsn: string }>(
      `SELECT pg_catalog.current_setting('server_version_num')::int4 / 10000 AS version,
              (CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn()
                    ELSE pg_catalog.pg_current_wal_flush_lsn() END)::text AS lsn`,
    );
    const version = rows[0]?.version ?? 0;
    const slot = await readSlot(client, source.slot, version);
    const catalog = await readCatalog(client, source.schemas, version);
    const captures = tableFilter(source);
    const notCaptured = catalog.notCaptured.filter(({ table }) => {
      const dot = table.indexOf(".");
      return captures(table.slice(0, dot), table.slice(dot + 1));
    });
    return { version, slot, sourceLsn: parseLsn(rows[0]?.lsn ?? "0/0"), notCaptured };
  } finally {
    await client.end().catch(() => {});
  }
}

function tellSource(
  observations: Observations,
  { slot, sourceLsn }: SourceView,
  reading: Reading | null | Error,
): void {
  const endLsn = reading instanceof Error ? null : (reading?.state.endLsn ?? null);
  if (endLsn !== null) {
    const stagedLsn = parseLsn(endLsn);
    observations.watch(() => ({ ...NO_POSITION, stagedLsn, quietLsn: slot?.confirmedFlushLsn ?? null }));
  }
  if (!slot?.restartLsn || !slot.confirmedFlushLsn) {
    observations.sourceSampled({ sourceLsn });
    return;
  }
  const { restartLsn, confirmedFlushLsn, safeWalBytes } = slot;
  const about = { restartLsn, confirmedFlushLsn, safeWalBytes, oldestTransaction: null };
  observations.sourceSampled({ sourceLsn, slot: about });
}

type Situation =
  | { readonly state: "blocked"; readonly problem: string; readonly mend: string }
  | { readonly state: "copying" | "streaming" | "stopped"; readonly words: (status: Status) => string };

interface Known {
  readonly server: SourceView | null;
  readonly log: Reading | null;
  /** False: whether there is a log is not known. */
  readonly isStageKnown: boolean;
}

async function situationOf(settings: Settings, { server, log, isStageKnown }: Known): Promise<Situation> {
  const { slot: name } = settings.source;
  if (server === null) {
    return stopped(
      (status) =>
        `The database does not answer, so whether a daemon runs cannot be told.${stagedWords(status)}`,
    );
  }
  const { slot } = server;
  if (slot?.active) return running(slot, log);
  const lost = slot === null ? null : lossOf(slot, name);
  if (lost) return { state: "blocked", problem: lost.message, mend: lost.mend };
  if (!isStageKnown) return stopped(() => `No daemon runs, and the stage cannot be read: see the notice.`);
  const problem = await problemOf(settings, server, log);
  if (problem) return { state: "blocked", problem: problem.message, mend: problem.mend };
  if (log === null)
    return stopped(() => "Nothing is staged yet: the stage has no log. `pgstage run` begins.");
  if (slot === null)
    return stopped(
      (status) =>
        `No slot: the stage holds a snapshot of ${countOf(status.tableCounts.copied, "table")}. \`pgstage run\` begins a stream, \`pgstage snapshot\` takes the next one.`,
    );
  return stopped(
    (status) =>
      `No daemon runs: nobody reads the slot ${name}, and WAL piles up at the source.${openWords(status)} Start \`pgstage run\`.`,
  );
}

function running({ activePid }: SlotInfo, log: Reading | null): Situation {
  const isCopying = Object.values(log?.state.tables ?? {}).some(({ copy }) => copy.phase !== "copied");
  const who = `A daemon runs${activePid === null ? "" : ` (the server's process ${activePid} sends it changes)`}.`;
  return {
    state: isCopying || log === null ? "copying" : "streaming",
    words: (status) => `${who}${openWords(status)}`,
  };
}

function stopped(words: (status: Status) => string): Situation {
  return { state: "stopped", words };
}

function openWords({ lag, tableCounts: { copied, total } }: Status): string {
  const isCopied = copied === total;
  const copying = isCopied ? "" : ` ${copied} of ${countOf(total, "table")} copied.`;
  if (lag.lagBytes === null) return copying;
  if (lag.lagBytes > 0) return `${copying} ${humanBytes(lag.lagBytes)} of WAL are not staged yet.`;
  return isCopied
    ? " Everything that was committed is on the stage."
    : `${copying} Every change is on the stage.`;
}

function stagedWords({ tableCounts }: Status): string {
  return tableCounts.total === 0 ? "" : ` The stage holds ${countOf(tableCounts.total, "table")}.`;
}

/** A lost slot is lost whether the stage can be read or not. */
function lossOf(slot: SlotInfo, name: string): OperatorError | null {
  try {
    refuseLostSlot(slot, name);
    return null;
  } catch (error) {
    if (error instanceof OperatorError) return error;
    throw error;
  }
}

/** Why the next start would refuse, by the same decision. */
async function problemOf(
  { source }: Settings,
  { version, slot }: SourceView,
  log: Reading | null,
): Promise<OperatorError | null> {
  try {
    const replication = await connectSource(source, "replication", { serverVersion: version });
    try {
      const server = await identifySystem(replication);
      const identity = identityOf(server, source);
      const timeline = log?.state.pipeline.timeline ?? identity.timeline;
      const branchedAt = await branchPoint(replication, identity.timeline, timeline);
      const { flushedLsn } = server;
      planStart({
        state: log?.state ?? null,
        slot,
        identity,
        branchedAt,
        flushedLsn,
        lastKind: log?.last.kind,
      });
      return null;
    } finally {
      await replication.end().catch(() => {});
    }
  } catch (error) {
    return error instanceof OperatorError ? error : null;
  }
}

/** Newest first. */
async function readBatches(store: Store, { last }: Reading): Promise<BatchStatus[]> {
  const sequences = Array.from({ length: Math.min(BATCHES, last.sequence) }, (_, i) => last.sequence - i);
  const documents = await Promise.all(sequences.map((sequence) => readDocument(store, sequence)));
  return documents.flatMap((document) => {
    if (!document || document.files.length === 0) return [];
    const { sequence, time, files, endLsn } = document;
    const sum = (of: "rows" | "bytes"): number => files.reduce((total, file) => total + file[of], 0);
    const largest = files.toSorted((a, b) => b.bytes - a.bytes).slice(0, FILES_PER_BATCH);
    return [
      {
        sequence,
        time,
        rows: sum("rows"),
        bytes: sum("bytes"),
        fileCount: files.length,
        files: largest.map(({ key, rows, bytes }) => ({ key, rows, bytes })),
        stagedLsn: endLsn,
        tookMs: 0,
      },
    ];
  });
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(messageOf(error));
}
