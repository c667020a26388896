import { setTimeout as delay } from "node:timers/promises";
import pRetry from "p-retry";
import { TransientError } from "../core/errors.ts";
import type { Patiently } from "./file-writer.ts";

const FIRST_DELAY_MS = 200;
/** Longer than any part takes on a network that is well. */
const SILENT_MS = 5_000;
/** Short enough that an operator who has mended the stage sees it work again. */
const LONGEST_DELAY_MS = 8_000;
/** What a request that is under way gets once it is told to stop. */
const GRACE_MS = 1_000;

export interface PatienceEvents {
  /** An attempt failed and will be made again. */
  readonly failed: (what: string, error: unknown, attempts: number) => void;
  /** It succeeded, at once or after so many failures. */
  readonly succeeded: (what: string, failures: number) => void;
  /** An attempt has no answer for long. The function is called when it has one, or has failed. */
  readonly silent?: (what: string) => () => void;
}

/**
 * Tries again what failed with a TransientError, with growing and scattered delays, until `signal` says stop. The
 * data waits in memory meanwhile and WAL in the database, so there is no number of attempts after which giving up
 * would be better.
 */
export function patience(signal: AbortSignal, events: PatienceEvents): Patiently {
  return async (what, attempt) => {
    let failures = 0;
    const trying = pRetry(() => watched(what, attempt, events), {
      retries: Number.POSITIVE_INFINITY,
      minTimeout: FIRST_DELAY_MS,
      maxTimeout: LONGEST_DELAY_MS,
      factor: 2,
      randomize: true,
      signal,
      shouldRetry: ({ error }) => error instanceof TransientError,
      onFailedAttempt: ({ error, attemptNumber }) => {
        if (!(error instanceof TransientError)) return;
        failures = attemptNumber;
        events.failed(what, error, attemptNumber);
      },
    });
    const result = await unlessStopped(trying, signal);
    events.succeeded(what, failures);
    return result;
  };
}

/**
 * Rejects with the reason of `signal` if the work has not ended shortly after it: a silent store takes minutes to time
 * out. What becomes of the work is then as unknown as after a crash.
 */
export async function unlessStopped<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  const ended = new AbortController();
  const stopped = new Promise<never>((_resolve, reject) => {
    const giveUp = async (): Promise<void> => {
      await delay(GRACE_MS, undefined, { signal: ended.signal }).catch(() => {});
      reject(signal.reason as Error);
    };
    if (signal.aborted) void giveUp();
    else signal.addEventListener("abort", () => void giveUp(), { once: true, signal: ended.signal });
  });
  try {
    return await Promise.race([work, stopped]);
  } finally {
    ended.abort();
  }
}

async function watched<T>(what: string, attempt: () => Promise<T>, events: PatienceEvents): Promise<T> {
  let answered: (() => void) | undefined;
  const timer = setTimeout(() => {
    answered = events.silent?.(what);
  }, SILENT_MS).unref();
  try {
    return await attempt();
  } finally {
    clearTimeout(timer);
    answered?.();
  }
}
