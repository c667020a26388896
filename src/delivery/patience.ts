import pRetry from "p-retry";
import { TransientError } from "../core/errors.ts";
import type { Patiently } from "./file-writer.ts";

const FIRST_DELAY_MS = 200;
/** Longer than any part takes on a network that is well. */
const SILENT_MS = 5_000;
/** Short enough that an operator who has mended the stage sees it work again. */
const LONGEST_DELAY_MS = 8_000;

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
    const result = await pRetry(() => watched(what, attempt, events), {
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
    events.succeeded(what, failures);
    return result;
  };
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
