/** Random numbers that a seed repeats (mulberry32). */
export class Random {
  readonly seed: number;
  #state: number;

  constructor(seed: number) {
    this.seed = seed;
    this.#state = seed >>> 0;
  }

  /** From 0 to 1, without 1. */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  }

  /** From 0 to `below`, without it. */
  below(below: number): number {
    return Math.floor(this.next() * below);
  }

  chance(share: number): boolean {
    return this.next() < share;
  }

  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)] as T;
  }

  /** Another generator, for something that runs at the same time. */
  fork(): Random {
    return new Random(this.below(2 ** 32));
  }
}

/** The seed in CRASH_SEED, or a new one. */
export function newSeed(): number {
  return Number(process.env["CRASH_SEED"] ?? Math.floor(Math.random() * 2 ** 31));
}
