import { setTimeout as delay } from "node:timers/promises";
import { TransientError } from "../core/errors.ts";
import { cancelBackend, waitersBehind } from "../postgres/waiters.ts";
import type { LockParts } from "./slot-lock.ts";

const LOOK_EVERY_MS = 1_000;
/** How long the application's DDL may wait behind a range that is being read. */
const PATIENCE_MS = 2_000;

/**
 * A range is read under ACCESS SHARE, behind which an ALTER TABLE waits, and everybody else behind that. Whoever waits
 * too long goes first: the range is cancelled and read again later.
 */
export async function giveWay(
  parts: LockParts,
  own: { pids: readonly number[]; signal: AbortSignal },
): Promise<void> {
  const { sql, log } = parts;
  while (!own.signal.aborted) {
    await delay(LOOK_EVERY_MS, undefined, { signal: own.signal }).catch(() => {});
    if (own.signal.aborted) return;
    try {
      await sql.use(async (client) => {
        for (const waiter of await waitersBehind(client, own.pids)) {
          if (waiter.waitedMs < PATIENCE_MS) continue;
          log.info(
            { waiting_pid: waiter.waitingPid, query: waiter.query },
            "a copy gives way to a lock of the application",
          );
          await cancelBackend(client, waiter.pid);
        }
      });
    } catch (error) {
      // Whether the source answers is watched elsewhere.
      if (!(error instanceof TransientError)) throw error;
    }
  }
}
