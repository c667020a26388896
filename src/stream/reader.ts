import type { Buffer } from "node:buffer";
import { OperatorError } from "../core/errors.ts";
import { formatLsn, NO_LSN, type Lsn } from "../core/lsn.ts";
import type { Shape } from "../core/shape.ts";
import { formatTimestamp } from "../csv/header.ts";
import type { Batch } from "./batch.ts";
import { ChangeWriter } from "./change-writer.ts";
import {
  BEGIN,
  COMMIT,
  DELETE,
  INSERT,
  malformed,
  MESSAGE,
  ORIGIN,
  readBegin,
  readCommitEnd,
  readRelation,
  readTruncated,
  RELATION,
  TRUNCATE,
  TYPE,
  UPDATE,
} from "./pgoutput.ts";
import { makeEncoder, type TableEncoder, type TableFacts } from "./table-encoder.ts";
import { Transactions, type Transaction } from "./transaction.ts";

/** Transactions that commit at the same time may be numbered in another order, and clocks are set. */
const CLOCK_SLACK_MS = 60_000;

export interface ReaderParts {
  readonly facts: TableFacts;
  readonly metadataPrefix: string;
  /** Where the log ends: what committed before is published already, however far back the server begins. */
  readonly startLsn: Lsn;
  /** What is published has committed before, in ms since 1970; null or not given: not known. */
  readonly publishedUntilMs?: number | null;
  /** The first change of a transaction is about to be written. */
  readonly firstChange: (transaction: Transaction) => void;
  /** A transaction is whole. `changed`: it wrote rows. */
  readonly committed: (endLsn: Lsn, changed: boolean) => void;
  /** A relation was described in a shape that this reader has not seen, or is one that is not captured. */
  readonly shapeSeen: (seen: SeenRelation) => void;
}

export interface SeenRelation {
  readonly shape: Shape;
  readonly commitLsn: Lsn;
  /** OID of the root that it is a partition of; not given until a change shows that it is one. */
  readonly root?: number;
}

/** Reads pgoutput's messages one by one and writes their rows. Payloads are views: nothing of them is kept. */
export class StreamReader {
  readonly writer: ChangeWriter;
  readonly #parts: ReaderParts;
  readonly #transactions = new Transactions();
  /** By OID; null: described, and not to be captured. */
  readonly #encoders = new Map<number, TableEncoder | null>();
  /** What the last message was about, if it was RELATION. */
  #described: Shape | null = null;
  #transaction: Transaction | null = null;
  #skipping = false;
  #changed = false;

  constructor(parts: ReaderParts, batch: Batch) {
    this.#parts = parts;
    this.writer = new ChangeWriter(parts.facts, batch);
  }

  get insideTransaction(): boolean {
    return this.#transaction !== null;
  }

  read(payload: Buffer): void {
    // Up to 13 an origin that the transaction itself has made is sent as nothing (pgoutput.c, pgoutput_begin_txn).
    if (payload.length === 0) return;
    const tag = payload.readUInt8(0);
    switch (tag) {
      case INSERT:
      case UPDATE:
      case DELETE:
        if (this.#skipping) this.#assertPublished(payload.readUInt32BE(1));
        else this.#change(tag, payload);
        return;
      case BEGIN:
        this.#begin(payload);
        return;
      case COMMIT:
        if (!this.#transaction) throw malformed("COMMIT", payload);
        this.#commit(readCommitEnd(payload));
        return;
      case RELATION:
        this.#describe(payload);
        return;
      case TRUNCATE:
        if (!this.#skipping) this.#truncate(payload);
        return;
      case TYPE:
      case ORIGIN:
      case MESSAGE:
        return;
      default:
        throw malformed("message", payload);
    }
  }

  #begin(payload: Buffer): void {
    const begin = readBegin(payload);
    if (this.#transaction) throw malformed("BEGIN", payload);
    this.#transaction = this.#transactions.begin(begin);
    this.#skipping = begin.commitLsn < this.#parts.startLsn;
    this.#changed = false;
    this.#described = null;
    this.writer.begin(this.#transaction);
  }

  #commit(endLsn: Lsn): void {
    const skipped = this.#skipping;
    const changed = this.#changed;
    this.#transaction = null;
    this.#skipping = this.#changed = false;
    if (!skipped) this.#parts.committed(endLsn, changed);
  }

  #change(tag: number, payload: Buffer): void {
    const oid = payload.readUInt32BE(1);
    const encoder = this.#encoderOf(oid);
    if (this.#described !== null) this.#place(this.#described, oid);
    if (!encoder) return;
    this.#beforeRow();
    if (tag === INSERT) this.writer.insert(encoder, payload);
    else if (tag === UPDATE) this.writer.update(encoder, payload);
    else this.writer.delete(encoder, payload);
  }

  /**
   * A change of a partition is sent as its root's, behind RELATION of the root and of the partition (pgoutput.c,
   * maybe_send_schema): one relation is described and the next change is of another.
   */
  #place(described: Shape, oid: number): void {
    this.#described = null;
    if (described.oid === oid) return;
    const commitLsn = this.#transaction?.commitLsn ?? NO_LSN;
    this.#parts.shapeSeen({ shape: described, commitLsn, root: oid });
  }

  #truncate(payload: Buffer): void {
    this.#described = null;
    for (const oid of readTruncated(payload)) {
      const encoder = this.#encoderOf(oid);
      if (!encoder) continue;
      this.#beforeRow();
      this.writer.truncate(encoder);
    }
  }

  /**
   * A change from before the log's end is published, if this is the same history. After a restore of the server's
   * volume the same positions come again with other transactions, which committed later than all that is published.
   */
  #assertPublished(oid: number): void {
    const { publishedUntilMs = null, startLsn } = this.#parts;
    if (publishedUntilMs === null || !this.#transaction || !this.#encoders.get(oid)) return;
    const { commitLsn, committedAtMicros } = this.#transaction;
    if (Number(committedAtMicros / 1000n) <= publishedUntilMs + CLOCK_SLACK_MS) return;
    throw new OperatorError(
      `the source went back in time: a transaction at ${formatLsn(commitLsn)} committed at ${formatTimestamp(committedAtMicros)}, after all changes that the stage holds, up to ${formatLsn(startLsn)}. Was it restored from a backup?`,
      "run `pgstage resync --all` to copy every table afresh onto this stage, or use another stage.url",
    );
  }

  #beforeRow(): void {
    if (this.#changed) return;
    if (!this.#transaction) throw new Error("a change outside of a transaction in the replication stream");
    this.#changed = true;
    this.#parts.firstChange(this.#transaction);
  }

  #encoderOf(oid: number): TableEncoder | null {
    const encoder = this.#encoders.get(oid);
    if (encoder === undefined)
      throw new Error(`a change of relation ${oid}, which the stream has not described`);
    return encoder;
  }

  /** Under FULL the key is the catalog's, which may have changed since RELATION was sent. */
  refreshEncoders(): void {
    const { facts, metadataPrefix } = this.#parts;
    for (const [oid, encoder] of this.#encoders) {
      if (encoder?.relation.replicaIdentity !== "full") continue;
      const fresh = makeEncoder(encoder.relation, facts, metadataPrefix);
      if (fresh.shapeId !== encoder.shapeId) this.#encoders.set(oid, fresh);
    }
  }

  #describe(payload: Buffer): void {
    const { facts, metadataPrefix, shapeSeen } = this.#parts;
    const relation = readRelation(payload);
    const captured = facts.captures(relation.schema, relation.table);
    const encoder = makeEncoder(relation, facts, metadataPrefix);
    const known = this.#encoders.get(relation.oid);
    this.#described = encoder.shape;
    if (captured && known?.shapeId === encoder.shapeId) return;
    this.#encoders.set(relation.oid, captured ? encoder : null);
    shapeSeen({ shape: encoder.shape, commitLsn: this.#transaction?.commitLsn ?? NO_LSN });
  }
}
