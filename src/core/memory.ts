/** Rows up to here fit memory.max whatever else happens; a longer one costs in proportion, and is announced. */
export const LARGE_ROW_BYTES = 16 * 1024 * 1024;

/**
 * Counts the bytes that rows on their way hold: CSV chunks, compressor states, compressed pieces, parts being
 * uploaded. What is counted is released by the same amount; nothing is allocated here.
 */
export class MemoryAccount {
  readonly limitBytes: number;
  #heldBytes = 0;
  #waiting: { belowBytes: number; resolve: () => void }[] = [];

  constructor(limitBytes: number) {
    this.limitBytes = limitBytes;
  }

  get heldBytes(): number {
    return this.#heldBytes;
  }

  hold(bytes: number): void {
    this.#heldBytes += bytes;
  }

  release(bytes: number): void {
    this.#heldBytes -= bytes;
    if (this.#waiting.length === 0) return;
    const ready = this.#waiting.filter((waiter) => this.#heldBytes < waiter.belowBytes);
    if (ready.length === 0) return;
    this.#waiting = this.#waiting.filter((waiter) => !ready.includes(waiter));
    for (const waiter of ready) waiter.resolve();
  }

  /** Resolves once fewer than `bytes` are held. */
  async below(bytes: number): Promise<void> {
    if (this.#heldBytes < bytes) return;
    await new Promise<void>((resolve) => this.#waiting.push({ belowBytes: bytes, resolve }));
  }
}
