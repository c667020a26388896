import { setTimeout as delay } from "node:timers/promises";
import { TransientError } from "../core/errors.ts";
import { cancelBackend, endBackends, waitersBehind, type Waiter } from "../postgres/waiters.ts";
import { SqlConnection } from "../postgres/sql-connection.ts";
import type { LockParts } from "./slot-lock.ts";

const LOOK_EVERY_MS = 1_000;
/** How long the application may wait behind a range that is being read, or behind a session's snapshot. */
const PATIENCE_MS = 2_000;
/** Somebody who still waits then waits behind a COPY whose rows we do not take now: such a one cannot be cancelled. */
const END_AFTER_MS = 5_000;

export interface OwnSession {
  /** Its workers' backends. */
  readonly pids: readonly number[];
  /** Ends it on our side; what is missing is then read in another one. Null if all has to be of one moment. */
  readonly end: (() => Promise<void>) | null;
  /** Aborted when the session is over. */
  readonly signal: AbortSignal;
}

/** What is done about somebody who has waited so long behind us. */
export function wayFor(
  waitsFor: Waiter["waitsFor"],
  waitedMs: number,
  mayEnd: boolean,
): "wait" | "cancel" | "end" {
  if (waitedMs < PATIENCE_MS) return "wait";
  if (mayEnd && (waitsFor === "transaction" || waitedMs >= END_AFTER_MS)) return "end";
  return waitsFor === "lock" ? "cancel" : "wait";
}

/**
 * A range is read under ACCESS SHARE, behind which an ALTER TABLE waits, and everybody else behind that; a session's
 * snapshot is what CREATE INDEX CONCURRENTLY waits for. Whoever waits too long goes first: the range is cancelled and
 * read again later, or the session ends and what is missing is read in the next one.
 */
export async function giveWay({ settings, serverVersion, log }: LockParts, own: OwnSession): Promise<void> {
  // A connection of its own: a look at the catalog may wait behind the one that waits behind us.
  const sql = new SqlConnection(settings.source, serverVersion);
  const since = new Map<string, number>();
  try {
    while (!own.signal.aborted) {
      await delay(LOOK_EVERY_MS, undefined, { signal: own.signal }).catch(() => {});
      if (!own.signal.aborted) await lookOnce({ sql, log }, own, since).catch(unlessPassing);
    }
  } finally {
    sql.close();
  }
}

/** Whether the source answers is watched elsewhere. */
function unlessPassing(error: unknown): void {
  if (!(error instanceof TransientError)) throw error;
}

/** `since`: when each pair of a waiter and a backend was seen first, in milliseconds. */
async function lookOnce(
  { sql, log }: Pick<LockParts, "sql" | "log">,
  own: OwnSession,
  since: Map<string, number>,
): Promise<void> {
  await sql.use(async (client) => {
    const waiters = await waitersBehind(client, own.pids);
    const nowMs = performance.now();
    const names = new Set(waiters.map(nameOf));
    for (const name of since.keys()) if (!names.has(name)) since.delete(name);
    for (const waiter of waiters) {
      const firstMs = since.get(nameOf(waiter)) ?? nowMs;
      since.set(nameOf(waiter), firstMs);
      const way = wayFor(waiter.waitsFor, nowMs - firstMs, own.end !== null);
      const about = { waiting_pid: waiter.waitingPid, query: waiter.query };
      if (way === "cancel") {
        log.info(about, "a copy gives way to a lock of the application");
        await cancelBackend(client, waiter.pid);
      }
      if (way !== "end") continue;
      log.info(about, "a copy session gives way to the application; the next one goes on");
      await endBackends(client, own.pids);
      await own.end?.();
      return;
    }
  });
}

function nameOf({ pid, waitingPid, waitsFor }: Waiter): string {
  return `${waitingPid} behind ${pid}: ${waitsFor}`;
}
