import { setTimeout as delay } from "node:timers/promises";
import { BusyError, TransientError } from "../core/errors.ts";
import type { Lsn } from "../core/lsn.ts";
import { patience } from "../delivery/patience.ts";
import { FailureLog } from "../observe/failures.ts";
import { lagJson } from "../observe/status-json.ts";
import { canRewrite } from "../observe/terminal.ts";
import { connectSource } from "../postgres/connect.ts";
import { SlotWaitError } from "../postgres/slot.ts";
import { asBusy, explainSqlError, SqlConnection } from "../postgres/sql-connection.ts";
import { UnsendableError } from "../stream/witness.ts";
import { isPassing, NotDrainedError, runAttempt } from "./attempt.ts";
import type { Settings } from "../settings/settings.ts";
import type { DaemonParts } from "./parts.ts";
import { isSlotTaken, takeSlot, type Held, type LockParts } from "./slot-lock.ts";
import { watchSource } from "./source-watch.ts";
import { storeHealth } from "./store-health.ts";

const IN_PLACE_MS = 1_000;
/** How often a standby looks whether the slot is free: it has to take over within 5 s of a clean exit. */
const STANDBY_LOOK_MS = 1_000;
const FIRST_PAUSE_MS = 250;
const LONGEST_PAUSE_MS = 5_000;
/** An attempt that lived so long was healthy: the next failure is a new one. */
const HEALTHY_MS = 60_000;

/**
 * Runs until `stop`: takes the slot, streams, and after a loss of anything does both again. Resolves
 * after `stop`, with whether all that was received is published; rejects with an OperatorError, or with what must be a
 * mistake of ours.
 */
export async function runDaemon(parts: DaemonParts, stop: AbortSignal): Promise<boolean> {
  const { observations, log, settings } = parts;
  const lagLines = setInterval(() => log.info(lagFields(parts), "lag"), lagEveryMs(settings)).unref();
  observations.start();
  try {
    return await attempts(parts, stop);
  } finally {
    clearInterval(lagLines);
    observations.stop();
  }
}

/** On a terminal the lag is one line that changes in its place, and so may change often. */
function lagEveryMs({ log }: Settings): number {
  const isInPlace = log.format === "pretty" && canRewrite(process.stdout, process.env);
  return isInPlace ? Math.min(log.lagIntervalMs, IN_PLACE_MS) : log.lagIntervalMs;
}

/** One attempt after the other, with growing pauses, until one is drained. */
async function attempts(parts: DaemonParts, stop: AbortSignal): Promise<boolean> {
  let failures = new FailureLog(parts.log, "the pipeline starts again");
  let pauseMs = FIRST_PAUSE_MS;
  let unsendable: Lsn | null = null;
  while (!stop.aborted) {
    const startedAtMs = performance.now();
    try {
      await attempt(parts, stop, unsendable);
      return true;
    } catch (thrown) {
      const error = asBusy(thrown);
      if (error instanceof NotDrainedError) {
        parts.log.warn(
          { reason: error.message },
          "not drained: what is left is sent again at the next start",
        );
        return false;
      }
      if (stop.aborted && (isPassing(error) || error === stop.reason)) return true;
      if (!isPassing(error)) throw error;
      if (error instanceof UnsendableError) unsendable = error.commitLsn;
      tellLoss(parts, error, failures);
    }
    if (performance.now() - startedAtMs > HEALTHY_MS) {
      pauseMs = FIRST_PAUSE_MS;
      failures = new FailureLog(parts.log, "the pipeline starts again");
    }
    await delay(pauseMs, undefined, { signal: stop }).catch(() => {});
    pauseMs = Math.min(LONGEST_PAUSE_MS, pauseMs * 2);
  }
  return true;
}

/** What is lost is the source, unless the error says otherwise: then the log does, and nothing else. */
function tellLoss({ observations, metrics, log }: DaemonParts, error: unknown, failures: FailureLog): void {
  metrics.reconnected();
  observations.stateChanged("starting");
  // A notice of its own says for whom it waits.
  if (error instanceof SlotWaitError) {
    observations.sourceUp();
    return;
  }
  if (error instanceof BusyError) observations.sourceUp();
  if (error instanceof BusyError || !(error instanceof TransientError)) {
    failures.failed(error);
    return;
  }
  observations.sourceDown(error.message);
  log.debug({ err: error }, "the pipeline starts again");
}

function lagFields({ observations }: DaemonParts): object {
  const { tableCounts, notices } = observations.status();
  const problems = notices.filter(({ level }) => level === "error").map(({ id }) => id);
  const copying =
    tableCounts.ranges > 0 ? { ranges: tableCounts.ranges, ranges_done: tableCounts.rangesDone } : {};
  return { ...lagJson(observations.lag()), ...copying, ...(problems.length > 0 ? { problems } : {}) };
}

/** Resolves when drained, or stopped as a standby. */
async function attempt(parts: DaemonParts, stop: AbortSignal, unsendable: Lsn | null): Promise<void> {
  const { settings, observations } = parts;
  const serverVersion = await versionOf(parts);
  const sql = new SqlConnection(settings.source, serverVersion);
  const over = new AbortController();
  const patiently = patience(over.signal, storeHealth(observations));
  // Until there is something to drain, a stop ends the attempt wherever it waits.
  const endEarly = (): void => over.abort(stop.reason);
  stop.addEventListener("abort", endEarly, { once: true });
  let isHeld = false;
  const lock = { ...parts, sql, serverVersion, patiently, unsendable };
  const watching = watchSource(lock, { signal: over.signal, isHeld: () => isHeld });
  // Whatever waits for the stage meanwhile waits in vain.
  watching.catch((error: unknown) => over.abort(error));
  try {
    const held = await takeWhenFree(lock, stop);
    if (!held) return;
    isHeld = true;
    const begun = (): void => stop.removeEventListener("abort", endEarly);
    await runAttempt(lock, { held, over, stop, begun, watching });
  } finally {
    stop.removeEventListener("abort", endEarly);
    over.abort();
    sql.close();
  }
}

/** Waits as a standby while another daemon streams. Null: stopped meanwhile. */
async function takeWhenFree(lock: LockParts, stop: AbortSignal): Promise<Held | null> {
  while (!stop.aborted) {
    const held = await takeSlot(lock);
    if (held) return held;
    lock.observations.stateChanged("standby");
    do await delay(STANDBY_LOOK_MS, undefined, { signal: stop }).catch(() => {});
    while (!stop.aborted && (await isSlotTaken(lock)));
  }
  return null;
}

/**
 * 13 … 18. A standby is waited for: while a failover lasts, a name may still lead to the server that is no primary any
 * more, or to one that is none yet, and what such a one says of slot and WAL is not the source's word.
 */
async function versionOf({ settings }: DaemonParts): Promise<number> {
  const client = await connectSource(settings.source, "sql", { atStart: false });
  try {
    const { rows } = await client.query<{ version: number; standby: boolean }>(
      "SELECT pg_catalog.current_setting('server_version_num')::int4 / 10000 AS version, pg_catalog.pg_is_in_recovery() AS standby",
    );
    if (rows[0]?.standby) throw new TransientError("the server is a standby, and pgstage needs the primary");
    return rows[0]?.version ?? 0;
  } catch (error) {
    throw explainSqlError(error);
  } finally {
    await client.end().catch(() => {});
  }
}
