import { Buffer } from "node:buffer";
import type { Lsn } from "../../src/core/lsn.ts";
import type { ChangeSource } from "../../src/stream/pump.ts";
import { begin, commit, relation, type WireRelation } from "./pgoutput-writer.ts";
import type { Random } from "./random.ts";

/** A committed transaction in the write-ahead log. */
export interface WalTransaction {
  readonly commitLsn: Lsn;
  readonly endLsn: Lsn;
  readonly committedAtMicros: bigint;
  readonly messages: readonly WalMessage[];
}

/** One message, with the relations that have to be described before it. */
export interface WalMessage {
  readonly payload: Buffer;
  readonly relations: readonly WireRelation[];
}

/** A server with a write-ahead log and one slot. Positions only grow, but for the slot after a crash of the server. */
export class FakeServer {
  readonly transactions: WalTransaction[] = [];
  /** Where the log ends. */
  position = 0x0152_c0a8n as Lsn;
  /** Null until the slot is made. */
  confirmed: Lsn | null = null;
  /** The consistent point that the slot was born with. */
  born: Lsn | null = null;
  /** Everything that was ever confirmed, in order. */
  readonly acknowledged: Lsn[] = [];
  stream: FakeStream | null = null;

  /** WAL that concerns nobody. */
  skip(bytes: number): void {
    this.position = (this.position + BigInt(bytes)) as Lsn;
  }

  /** The commit record is the last thing that the transaction writes; the next one may follow at once. */
  commit(bytes: number, committedAtMicros: bigint, messages: readonly WalMessage[]): WalTransaction {
    const commitLsn = this.position;
    this.skip(bytes);
    const transaction = { commitLsn, endLsn: this.position, committedAtMicros, messages };
    this.transactions.push(transaction);
    return transaction;
  }

  createSlot(): Lsn {
    this.skip(56);
    this.confirmed = this.position;
    this.born = this.position;
    this.acknowledged.push(this.position);
    return this.position;
  }

  /** What was confirmed last was not on disk yet when the server crashed. */
  forget(steps: number): void {
    const kept = this.acknowledged.slice(0, Math.max(1, this.acknowledged.length - steps));
    this.acknowledged.splice(0, this.acknowledged.length, ...kept);
    this.confirmed = kept.at(-1) ?? this.confirmed;
  }

  connect(random: Random, events: StreamEvents): FakeStream {
    if (this.stream) throw new Error("the slot is taken");
    this.stream = new FakeStream(this, random, events);
    return this.stream;
  }
}

export interface StreamEvents {
  /** A position is confirmed: whatever must be true of it is checked here. */
  readonly confirming: (lsn: Lsn) => void;
}

export interface Receiver {
  read(payload: Buffer): void;
  keepalive(walEnd: Lsn, urgent: boolean): void;
}

/**
 * One connection that streams from the slot. Payloads come in chunks, as from a socket: what a chunk holds is handed
 * on without a break, from one buffer that is overwritten afterwards, and a pause is heeded after it.
 */
export class FakeStream implements ChangeSource {
  receiver: Receiver | null = null;
  paused = false;
  readonly #server: FakeServer;
  readonly #random: Random;
  readonly #events: StreamEvents;
  readonly #described = new Map<number, string>();
  readonly #from: Lsn;
  #next: number;
  /** Messages of the transaction that is being sent. */
  #queue: Buffer[] = [];
  #connected = true;

  constructor(server: FakeServer, random: Random, events: StreamEvents) {
    this.#server = server;
    this.#random = random;
    this.#events = events;
    const from = server.confirmed;
    if (from === null) throw new Error("there is no slot");
    this.#from = from;
    const next = server.transactions.findIndex((one) => one.commitLsn >= from);
    this.#next = next < 0 ? server.transactions.length : next;
  }

  pause(): void {
    this.paused = true;
  }

  resume(): void {
    this.paused = false;
  }

  acknowledge(lsn: Lsn): void {
    if (!this.#connected) return;
    this.#events.confirming(lsn);
    if (this.#server.confirmed !== null && lsn <= this.#server.confirmed) return;
    this.#server.confirmed = lsn;
    this.#server.acknowledged.push(lsn);
  }

  /** The server or the network ends the connection; what has arrived can still be read. */
  disconnect(): void {
    if (!this.#connected) return;
    this.#connected = false;
    if (this.#server.stream === this) this.#server.stream = null;
  }

  /** Whether everything that was committed has been handed on. */
  get isCaughtUp(): boolean {
    this.#skipBehind();
    return this.#queue.length === 0 && this.#next >= this.#server.transactions.length;
  }

  /** Hands on one chunk of at most so many messages; does nothing while paused. */
  step(messages: number): void {
    if (this.paused || !this.receiver) return;
    if (this.#connected && this.#queue.length === 0 && this.#random.chance(0.2)) this.#keepalive(false);
    for (let sent = 0; sent < messages; sent++) {
      const payload = this.#take();
      if (!payload) return;
      this.#hand(payload);
    }
  }

  /** Says how far the server has sent. Inside a transaction it is sending, that is before its commit record. */
  keepalive(urgent: boolean): void {
    if (!this.paused && this.#connected) this.#keepalive(urgent);
  }

  #keepalive(urgent: boolean): void {
    this.#skipBehind();
    const next = this.#server.transactions[this.#queue.length > 0 ? this.#next - 1 : this.#next];
    const reached = next ? next.commitLsn : this.#server.position;
    // It may be behind what it could say, but never before where it began.
    const walEnd = this.#random.chance(0.3) ? this.#from : reached;
    this.receiver?.keepalive(walEnd, urgent);
  }

  /** The buffer is used again for what comes next: views that were kept see something else. */
  #hand(payload: Buffer): void {
    const chunk = Buffer.from(payload);
    try {
      this.receiver?.read(chunk);
    } finally {
      chunk.fill(0x58);
    }
  }

  #take(): Buffer | undefined {
    if (this.#queue.length === 0) this.#beginNext();
    return this.#queue.shift();
  }

  #skipBehind(): void {
    const { transactions } = this.#server;
    while (this.#queue.length === 0 && (transactions[this.#next]?.commitLsn ?? this.#from) < this.#from)
      this.#next++;
  }

  #beginNext(): void {
    if (!this.#connected) return;
    this.#skipBehind();
    const transaction = this.#server.transactions[this.#next];
    if (!transaction) return;
    this.#next++;
    const { commitLsn, endLsn, committedAtMicros, messages } = transaction;
    const sent = messages.flatMap(({ relations, payload }) => [...this.#describe(relations), payload]);
    this.#queue = [
      begin(commitLsn, committedAtMicros),
      ...sent,
      commit(commitLsn, endLsn, committedAtMicros),
    ];
  }

  /** A relation is described before its first change in a connection, and again when it is another. */
  #describe(relations: readonly WireRelation[]): Buffer[] {
    return relations.flatMap((one) => {
      const text = JSON.stringify(one);
      if (this.#described.get(one.oid) === text && this.#random.chance(0.95)) return [];
      this.#described.set(one.oid, text);
      return [relation(one)];
    });
  }
}
