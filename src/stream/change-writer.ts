import { Buffer } from "node:buffer";
import type { Batch, OpenFile } from "./batch.ts";
import { writeValues, type DeferredRow } from "./deferred.ts";
import { endOfTuple, malformed, NEW_TUPLE } from "./pgoutput.ts";
import {
  hasUnchanged,
  OP_CREATED,
  OP_DELETED,
  OP_TRUNCATED,
  OP_UPDATED,
  tupleOf,
  valuesOf,
  writeRow,
  writeTruncated,
  type Value,
} from "./rows.ts";
import type { TableEncoder, TableFacts } from "./table-encoder.ts";
import type { Transaction } from "./transaction.ts";

/** Where the first tuple's tag stands in Insert, Update and Delete: after the message's tag and the OID. */
const FIRST_TUPLE = 5;

/** Turns the changes of one transaction after the other into rows of a batch. */
export class ChangeWriter {
  readonly #facts: TableFacts;
  #batch: Batch;
  #deferred: DeferredRow[] = [];
  #deferredBytes = 0;
  #seq = 0;
  #transaction: Transaction | null = null;

  constructor(facts: TableFacts, batch: Batch) {
    this.#facts = facts;
    this.#batch = batch;
  }

  begin(transaction: Transaction): void {
    this.#transaction = transaction;
    this.#seq = 0;
  }

  /** From here on rows go to another batch. Returns the rows of the old one that wait for their values. */
  changeBatch(batch: Batch): DeferredRow[] {
    this.#batch = batch;
    return this.takeDeferred();
  }

  get deferredBytes(): number {
    return this.#deferredBytes;
  }

  get deferredRows(): number {
    return this.#deferred.length;
  }

  takeDeferred(): DeferredRow[] {
    const deferred = this.#deferred;
    this.#deferred = [];
    this.#deferredBytes = 0;
    return deferred;
  }

  insert(encoder: TableEncoder, payload: Buffer): void {
    this.#write(encoder, OP_CREATED, payload, { at: FIRST_TUPLE + 1, to: payload.length });
  }

  delete(encoder: TableEncoder, payload: Buffer): void {
    this.#write(encoder, OP_DELETED, payload, { at: FIRST_TUPLE + 1, to: payload.length });
  }

  update(encoder: TableEncoder, payload: Buffer): void {
    if (payload[FIRST_TUPLE] !== NEW_TUPLE) {
      this.#updateWithOld(encoder, payload);
      return;
    }
    const at = FIRST_TUPLE + 1;
    if (hasUnchanged(payload, at)) {
      this.#writeIncomplete(encoder, valuesOf(payload, at), false);
      return;
    }
    this.#write(encoder, OP_UPDATED, payload, { at, to: payload.length });
  }

  /** An old tuple came along: the key changed, or the identity is FULL, or a key value is stored out of line. */
  #updateWithOld(encoder: TableEncoder, payload: Buffer): void {
    const oldAt = FIRST_TUPLE + 1;
    const oldTo = endOfTuple(payload, oldAt);
    if (payload[oldTo] !== NEW_TUPLE) throw malformed("UPDATE", payload);
    const old = valuesOf(payload, oldAt);
    const values = valuesOf(payload, oldTo + 1).map((value, i) => (value === undefined ? (old[i] ?? value) : value));
    if (!encoder.isBag && encoder.key.every((i) => sameValue(old[i], values[i]))) {
      this.#writeIncomplete(encoder, values, false);
      return;
    }
    this.#write(encoder, OP_DELETED, payload, { at: oldAt, to: oldTo });
    this.#writeIncomplete(encoder, values, true);
  }

  /** Writes an update of which some values may not have been sent. */
  #writeIncomplete(encoder: TableEncoder, values: readonly Value[], keyChanged: boolean): void {
    const transaction = this.#current();
    const head = { op: OP_UPDATED, transaction, seq: ++this.#seq };
    const row = { encoder, head, values, bytes: 0 };
    const complete = values.every((value) => value !== undefined);
    if (complete || !(keyChanged || this.#facts.mustFill(encoder.relation.oid, transaction.commitLsn))) {
      const file = this.#batch.fileFor(encoder, transaction);
      writeValues(file, row);
      this.#wrote(file);
      return;
    }
    const copy = valuesOf(tupleOf(values), 0);
    const bytes = copy.reduce((sum, value) => sum + (value?.length ?? 0) + 64, 0);
    this.#deferred.push({ ...row, values: copy, bytes });
    this.#deferredBytes += bytes;
  }

  truncate(encoder: TableEncoder): void {
    const transaction = this.#current();
    const file = this.#batch.fileFor(encoder, transaction);
    writeTruncated(file, { op: OP_TRUNCATED, transaction, seq: ++this.#seq }, encoder.relation.columns.length);
    this.#wrote(file);
  }

  #write(encoder: TableEncoder, op: number, payload: Buffer, span: { at: number; to: number }): void {
    const transaction = this.#current();
    const file = this.#batch.fileFor(encoder, transaction);
    writeRow(file, { op, transaction, seq: ++this.#seq }, payload, span, null);
    this.#wrote(file);
  }

  #wrote(file: OpenFile): void {
    this.#batch.rows++;
    this.#batch.rollIfLong(file);
  }

  #current(): Transaction {
    if (!this.#transaction) throw new Error("a change outside of a transaction in the replication stream");
    return this.#transaction;
  }
}

function sameValue(a: Value, b: Value): boolean {
  if (!a || !b) return a === b;
  return a.equals(b);
}
