import type { Lag, Status } from "../core/status.ts";

const WINDOW_MS = 60_000;
const HISTORY_STEP_MS = 5_000;
/** One hour at five seconds. */
const MAX_HISTORY = 720;

interface Count {
  readonly atMs: number;
  readonly rows: number;
  readonly bytes: number;
}

/** Throughput over the last minute, and samples for the charts. */
export class Rates {
  #counts: Count[] = [];
  #history: Status["history"][number][] = [];
  #rememberedMs = -Infinity;
  /** Lag in seconds and bytes since the newest sample. */
  #highest: readonly [number | null, number | null] = [null, null];

  /** All rows and CSV bytes since the start; called about once a second. */
  count(atMs: number, rows: number, bytes: number): void {
    // A new connection may count from 0 again.
    if (rows < (this.#counts.at(-1)?.rows ?? 0)) this.#counts = [];
    this.#counts = [...this.#counts.filter((count) => count.atMs >= atMs - WINDOW_MS), { atMs, rows, bytes }];
  }

  throughput(): Status["throughput"] {
    const first = this.#counts[0];
    const last = this.#counts.at(-1);
    if (first === undefined || last === undefined || last.atMs <= first.atMs) {
      return { rowsPerSecond: 0, bytesPerSecond: 0 };
    }
    const seconds = (last.atMs - first.atMs) / 1000;
    return {
      rowsPerSecond: (last.rows - first.rows) / seconds,
      bytesPerSecond: (last.bytes - first.bytes) / seconds,
    };
  }

  /** Called about once a second; a sample keeps the highest lag of its step, so that no rhythm hides it. */
  remember(atMs: number, lag: Lag): void {
    this.#highest = [highest(this.#highest[0], lag.lagSeconds), highest(this.#highest[1], lag.lagBytes)];
    // Half a second of slack, because a timer is late rather than early.
    if (atMs - this.#rememberedMs < HISTORY_STEP_MS - 500) return;
    this.#rememberedMs = atMs;
    const rate = Math.round(this.#recentRowsPerSecond() * 10) / 10;
    this.#history.push([Math.round(atMs / 1000), ...this.#highest, rate]);
    if (this.#history.length > MAX_HISTORY) this.#history.shift();
    this.#highest = [null, null];
  }

  history(): Status["history"] {
    return [...this.#history];
  }

  /** Over one step of the history, so that the chart shows bursts. */
  #recentRowsPerSecond(): number {
    const last = this.#counts.at(-1);
    const first = this.#counts.find(
      (count) => last !== undefined && count.atMs >= last.atMs - HISTORY_STEP_MS,
    );
    if (first === undefined || last === undefined || last.atMs <= first.atMs) return 0;
    return ((last.rows - first.rows) * 1000) / (last.atMs - first.atMs);
  }
}

function highest(a: number | null, b: number | null): number | null {
  return a === null || b === null ? (a ?? b) : Math.max(a, b);
}
