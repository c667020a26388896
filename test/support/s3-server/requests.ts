import type { Operation } from "./route.ts";

export interface SeenRequest {
  readonly op: Operation;
  readonly key: string;
  /** HTTP status of the answer; 0 as long as there is none. */
  status: number;
}

/** Requests beyond this many are counted, but no longer listed. */
const LISTED = 10_000;

/** What the server was asked. */
export class RequestLog {
  readonly #counts = new Map<Operation, number>();
  #seen: SeenRequest[] = [];

  /** Notes a request that has just arrived. */
  note(op: Operation, key: string): SeenRequest {
    const seen = { op, key, status: 0 };
    this.#counts.set(op, this.count(op) + 1);
    this.#seen.push(seen);
    if (this.#seen.length > LISTED * 2) this.#seen = this.#seen.slice(-LISTED);
    return seen;
  }

  /** How often an operation was asked for; all of them without a name. */
  count(op?: Operation): number {
    if (op !== undefined) return this.#counts.get(op) ?? 0;
    return [...this.#counts.values()].reduce((sum, count) => sum + count, 0);
  }

  counts(): Partial<Record<Operation, number>> {
    return Object.fromEntries(this.#counts);
  }

  /** The newest requests, oldest first. */
  list(op?: Operation): readonly SeenRequest[] {
    return this.#seen.slice(-LISTED).filter((seen) => op === undefined || seen.op === op);
  }

  clear(): void {
    this.#counts.clear();
    this.#seen = [];
  }
}
