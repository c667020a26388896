/** Keeps a flow below so many bytes a second, on average. 0: not limited. */
export class Throttle {
  readonly #bytesPerSecond: number;
  #bytes = 0;
  readonly #startedAtMs = performance.now();

  constructor(bytesPerSecond: number) {
    this.#bytesPerSecond = bytesPerSecond;
  }

  /** Counts bytes; a promise asks to wait until they are due. */
  spend(bytes: number): Promise<void> | null {
    if (this.#bytesPerSecond === 0) return null;
    this.#bytes += bytes;
    const dueAtMs = this.#startedAtMs + (this.#bytes / this.#bytesPerSecond) * 1000;
    const waitMs = dueAtMs - performance.now();
    if (waitMs < LEAST_WAIT_MS) return null;
    return new Promise((resolve) => setTimeout(resolve, waitMs));
  }
}

/** Shorter waits are not worth a timer. */
const LEAST_WAIT_MS = 20;
