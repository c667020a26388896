import { serializeError } from "./log-errors.ts";
import type { Log } from "./log.ts";

/** What to say about a failure that goes on. */
export interface FailureReport {
  /** Failures since it began, this one too. */
  readonly count: number;
  readonly sinceMs: number;
}

const FIRST_SILENCE_MS = 5000;
const LONGEST_SILENCE_MS = 300_000;

/**
 * Decides which failures of a row are worth a line: the first, one of another kind, and then fewer and fewer,
 * at least one every five minutes. Knows no clock and no log.
 */
export class RepeatedFailure {
  #began = 0;
  #count = 0;
  #kind = "";
  #quietUntil = 0;
  #silenceMs = FIRST_SILENCE_MS;

  /** `kind` tells failures apart, as their message does. Null: nothing to say now. */
  failed(kind: string, nowMs: number): FailureReport | null {
    if (this.#count === 0) this.#began = nowMs;
    this.#count++;
    if (this.#kind === kind && nowMs < this.#quietUntil) return null;
    this.#silenceMs =
      this.#kind === kind ? Math.min(this.#silenceMs * 2, LONGEST_SILENCE_MS) : FIRST_SILENCE_MS;
    this.#kind = kind;
    this.#quietUntil = nowMs + this.#silenceMs;
    return { count: this.#count, sinceMs: nowMs - this.#began };
  }

  /** It works again. Null if nothing had failed. */
  recovered(nowMs: number): FailureReport | null {
    if (this.#count === 0) return null;
    const report = { count: this.#count, sinceMs: nowMs - this.#began };
    this.#count = 0;
    this.#kind = "";
    this.#quietUntil = 0;
    this.#silenceMs = FIRST_SILENCE_MS;
    return report;
  }
}

/** Logs failures of one part that tries again and again, without a flood. */
export class FailureLog {
  readonly #log: Log;
  readonly #what: string;
  readonly #repeated = new RepeatedFailure();

  /** `what` is the constant message: "source connection failed". */
  constructor(log: Log, what: string) {
    this.#log = log;
    this.#what = what;
  }

  failed(error: unknown, fields: Record<string, unknown> = {}): void {
    const facts = serializeError(error);
    const report = this.#repeated.failed(`${facts.type} ${facts.message}`, Date.now());
    if (report === null) return;
    const level = report.count === 1 ? "warn" : "error";
    this.#log[level](
      { ...fields, err: error, failures: report.count, failing_for_ms: report.sinceMs },
      this.#what,
    );
  }

  recovered(): void {
    const report = this.#repeated.recovered(Date.now());
    if (report === null) return;
    this.#log.info(
      { part: this.#what, failures: report.count, failed_for_ms: report.sinceMs },
      "works again",
    );
  }
}
