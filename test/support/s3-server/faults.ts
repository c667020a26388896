import type { Operation } from "./route.ts";

/** What goes wrong, and when. Without `times` it happens once. */
export interface Fault {
  /** One operation or several; all if it is left out. */
  readonly op?: Operation | readonly Operation[];
  readonly key?: RegExp;
  /** Requests that pass before the first one that fails. */
  readonly skip?: number;
  /** How often it happens; Infinity until it is removed. */
  readonly times?: number;
  /** Waits first. */
  readonly delayMs?: number;
  /** Waits for this first; the test resolves it. */
  readonly hold?: Promise<unknown>;
  /** The request takes effect and only then the fault happens: an answer that is lost. */
  readonly afterCommit?: boolean;
  /** Answers with this instead, such as 503 and `SlowDown`. */
  readonly status?: number;
  readonly code?: string;
  /** Cuts the connection instead of answering. */
  readonly reset?: boolean;
  /** Never answers; the connection stays open. */
  readonly silent?: boolean;
  /** Cuts the connection after so many bytes of an answer's body. */
  readonly cutAfterBytes?: number;
  /** Flips a bit in an answer's body. */
  readonly corrupt?: boolean;
}

export interface InjectedFault {
  /** How often it happened. */
  readonly hits: number;
  /** Resolves when a request has met the fault for the first time; before it is held or delayed. */
  readonly met: Promise<void>;
  remove(): void;
}

class Injected implements InjectedFault {
  readonly fault: Fault;
  readonly met: Promise<void>;
  hits = 0;
  #skip: number;
  #left: number;
  #meet: () => void = () => {};

  constructor(fault: Fault) {
    this.fault = fault;
    this.#skip = fault.skip ?? 0;
    this.#left = fault.times ?? 1;
    this.met = new Promise((resolve) => {
      this.#meet = resolve;
    });
  }

  /** True if it happens to this request. */
  strikes(op: Operation, key: string): boolean {
    const ops = this.fault.op === undefined ? [op] : [this.fault.op].flat();
    if (this.#left <= 0 || !ops.includes(op) || !(this.fault.key?.test(key) ?? true)) return false;
    if (this.#skip-- > 0) return false;
    this.#left--;
    this.hits++;
    this.#meet();
    return true;
  }

  remove(): void {
    this.#left = 0;
  }
}

/** The faults of one server. The first that fits a request strikes it. */
export class Faults {
  #injected: Injected[] = [];

  add(fault: Fault): InjectedFault {
    const injected = new Injected(fault);
    this.#injected.push(injected);
    return injected;
  }

  clear(): void {
    for (const injected of this.#injected) injected.remove();
    this.#injected = [];
  }

  strike(op: Operation, key: string): Fault | null {
    return this.#injected.find((injected) => injected.strikes(op, key))?.fault ?? null;
  }
}
