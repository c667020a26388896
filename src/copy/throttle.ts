/** Keeps a flow below so many bytes a second. 0: not limited. */
export class Throttle {
  readonly #bytesPerSecond: number;
  /** When everything that was spent is due. */
  #dueAtMs = 0;

  constructor(bytesPerSecond: number) {
    this.#bytesPerSecond = bytesPerSecond;
  }

  /** Counts bytes; a promise asks to wait until they are due. */
  spend(bytes: number): Promise<void> | null {
    if (this.#bytesPerSecond === 0) return null;
    const nowMs = performance.now();
    this.#dueAtMs = Math.max(this.#dueAtMs, nowMs - CREDIT_MS) + (bytes / this.#bytesPerSecond) * 1000;
    const waitMs = this.#dueAtMs - nowMs;
    if (waitMs < LEAST_WAIT_MS) return null;
    return new Promise((resolve) => setTimeout(resolve, waitMs));
  }
}

/** Shorter waits are not worth a timer. */
const LEAST_WAIT_MS = 20;
/** What was not spent so long ago may not be made up for: a pause must not end in a burst. */
const CREDIT_MS = 100;
