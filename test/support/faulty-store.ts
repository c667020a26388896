import { TransientError, UploadLostError } from "../../src/core/errors.ts";
import type { ProbeResult, Receipt, Store, Upload } from "../../src/stores/store.ts";

/** What becomes of one call to the store. */
export type Fault =
  | "none"
  /** It fails, and nothing has happened. */
  | "reject"
  /** It has happened, and an error is told. */
  | "lost-answer"
  /** Everybody else goes first for a while. */
  | "slow"
  | "very-slow"
  /** The store does not know the upload any more. */
  | "upload-lost"
  /** A rule of the bucket removes all uploads right before the call. */
  | "expire"
  /** The process dies: before the call had any effect, after it, or with the request on its way. */
  | "die-before"
  | "die-after"
  | "die-meanwhile"
  /** The process is replaced and does not know it. */
  | "replaced";

/** A fault at the nth call whose name begins so. */
export interface Ambush {
  readonly what: string;
  readonly nth: number;
  readonly fault: Fault;
}

export interface FaultEvents {
  /** The process is to die, or is replaced by another; nothing that it awaits from here on may resolve if it died. */
  readonly over: (how: "dead" | "replaced") => void;
  readonly expire: () => void;
}

/** Turns of the event loop. */
const SLOW_TURNS = 4;
const VERY_SLOW_TURNS = 40;

/** Calls between process and store, with a fault for each in order; once dead, nothing has an effect or an answer. */
export class FaultyCalls {
  #faults: readonly Fault[];
  #ambush: Ambush | null;
  readonly #events: FaultEvents;
  #at = 0;
  #dead = false;

  constructor(faults: readonly Fault[], events: FaultEvents, ambush: Ambush | null = null) {
    this.#faults = faults;
    this.#ambush = ambush;
    this.#events = events;
  }

  get isDead(): boolean {
    return this.#dead;
  }

  /** How many calls there were. */
  get count(): number {
    return this.#at;
  }

  die(): void {
    this.#dead = true;
  }

  async call<T>(what: string, effect: () => Promise<T>): Promise<T> {
    if (this.#dead) return forever();
    const fault = this.#ambushed(what) ?? this.#faults[this.#at] ?? "none";
    this.#at++;
    await this.#before(fault, what, effect);
    const result = await effect();
    if (this.#dead) return forever();
    if (fault === "lost-answer") throw new TransientError(`${what}: the answer was lost`);
    if (fault === "die-after") return this.#dying<T>();
    return result;
  }

  #ambushed(what: string): Fault | null {
    if (!this.#ambush || !what.startsWith(this.#ambush.what)) return null;
    const { nth, fault } = this.#ambush;
    this.#ambush = nth > 0 ? { ...this.#ambush, nth: nth - 1 } : null;
    return nth > 0 ? null : fault;
  }

  /** What happens before the call has its effect. */
  async #before(fault: Fault, what: string, effect: () => Promise<unknown>): Promise<void> {
    if (fault === "slow" || fault === "very-slow" || fault === "lost-answer")
      await turns(fault === "very-slow" ? VERY_SLOW_TURNS : SLOW_TURNS);
    if (fault === "reject") throw new TransientError(`${what}: not now`);
    if (fault === "upload-lost" && what.startsWith("upload")) throw new UploadLostError(`${what}: lost`);
    if (fault === "expire") this.#events.expire();
    if (fault === "replaced") this.#events.over("replaced");
    if (fault === "die-before") await this.#dying();
    if (fault === "die-meanwhile") {
      void turns(VERY_SLOW_TURNS)
        .then(effect)
        .catch(() => {});
      await this.#dying();
    }
    // Another call may have killed the process meanwhile.
    if (this.#dead) await forever();
  }

  #dying<T>(): Promise<T> {
    this.#dead = true;
    this.#events.over("dead");
    return forever();
  }
}

/** Resolves after so many turns of the event loop. */
export async function turns(count: number): Promise<void> {
  for (let turn = 0; turn < count; turn++) await new Promise((resolve) => setImmediate(resolve));
}

function forever<T>(): Promise<T> {
  return new Promise<T>(() => {});
}

/** A store that goes wrong as it is told. */
export class FaultyStore implements Store {
  readonly url: string;
  readonly minPartBytes: number;
  readonly #store: Store;
  readonly #calls: FaultyCalls;

  constructor(store: Store, calls: FaultyCalls) {
    this.#store = store;
    this.#calls = calls;
    this.url = store.url;
    this.minPartBytes = store.minPartBytes;
  }

  async begin(key: string): Promise<Upload> {
    const upload = await this.#calls.call(`begin ${key}`, () => this.#store.begin(key));
    return new FaultyUpload(upload, this.#calls, key);
  }

  publish(key: string, receipt: Receipt): Promise<"published" | "gone"> {
    return this.#calls.call(`publish ${key}`, () => this.#store.publish(key, receipt));
  }

  publishBytes(key: string, bytes: Buffer, checksum: string): Promise<void> {
    return this.#calls.call(`publish bytes ${key}`, () => this.#store.publishBytes(key, bytes, checksum));
  }

  has(key: string, checksum: string): Promise<boolean> {
    return this.#calls.call(`has ${key}`, () => this.#store.has(key, checksum));
  }

  discardUploads(isNamed: (receiptId: string) => boolean): Promise<number> {
    return this.#calls.call("discard uploads", () => this.#store.discardUploads(isNamed));
  }

  put(key: string, bytes: Buffer): Promise<void> {
    return this.#calls.call(`put ${key}`, () => this.#store.put(key, bytes));
  }

  putIfAbsent(key: string, bytes: Buffer): Promise<"created" | "exists"> {
    return this.#calls.call(`put if absent ${key}`, () => this.#store.putIfAbsent(key, bytes));
  }

  get(key: string, range?: { offset: number; length: number }): Promise<Buffer | null> {
    return this.#calls.call(`get ${key}`, () => this.#store.get(key, range));
  }

  async *list(prefix: string, options?: { startAfter?: string }): AsyncIterable<string> {
    yield* await this.#calls.call(`list ${prefix}`, async () => {
      const keys: string[] = [];
      for await (const key of this.#store.list(prefix, options)) keys.push(key);
      return keys;
    });
  }

  listFolders(prefix: string): Promise<string[]> {
    return this.#calls.call(`list folders ${prefix}`, () => this.#store.listFolders(prefix));
  }

  delete(keys: readonly string[]): Promise<void> {
    return this.#calls.call("delete", () => this.#store.delete(keys));
  }

  probe(): Promise<ProbeResult[]> {
    return this.#store.probe();
  }

  close(): void {
    this.#store.close();
  }
}

class FaultyUpload implements Upload {
  readonly #upload: Upload;
  readonly #calls: FaultyCalls;
  readonly #key: string;

  constructor(upload: Upload, calls: FaultyCalls, key: string) {
    this.#upload = upload;
    this.#calls = calls;
    this.#key = key;
  }

  write(part: Buffer, number: number, offset: number): Promise<void> {
    return this.#calls.call(`upload ${this.#key} ${number}`, () => this.#upload.write(part, number, offset));
  }

  finish(): Promise<Receipt> {
    return this.#calls.call(`upload ${this.#key} finish`, () => this.#upload.finish());
  }

  abort(): Promise<void> {
    return this.#calls.call(`abort ${this.#key}`, () => this.#upload.abort());
  }
}
