import type { Buffer } from "node:buffer";
import { LARGE_ROW_BYTES } from "../core/memory.ts";
import { longestOf } from "../core/shape.ts";
import type { Batch } from "./batch.ts";
import { writeValues, type DeferredRow } from "./deferred.ts";
import { KEY_TUPLE, malformed, NEW_TUPLE, OLD_TUPLE, scanTuple } from "./pgoutput.ts";
import {
  OP_CREATED,
  OP_DELETED,
  OP_TRUNCATED,
  OP_UPDATED,
  tupleOf,
  valuesOf,
  writeRow,
  writeTruncated,
  type TupleSpan,
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
    const span = wholeTuple(encoder, payload, "INSERT");
    if (payload[FIRST_TUPLE] !== NEW_TUPLE || span.unchanged) throw malformed("INSERT", payload);
    this.#write(encoder, OP_CREATED, span);
  }

  delete(encoder: TableEncoder, payload: Buffer): void {
    if (!isOld(payload[FIRST_TUPLE])) throw malformed("DELETE", payload);
    this.#write(encoder, OP_DELETED, wholeTuple(encoder, payload, "DELETE"));
  }

  update(encoder: TableEncoder, payload: Buffer): void {
    if (isOld(payload[FIRST_TUPLE])) {
      this.#updateWithOld(encoder, payload);
      return;
    }
    if (payload[FIRST_TUPLE] !== NEW_TUPLE) throw malformed("UPDATE", payload);
    const span = wholeTuple(encoder, payload, "UPDATE");
    if (span.unchanged) this.#writeIncomplete(encoder, valuesOf(payload, span.at), false);
    else this.#write(encoder, OP_UPDATED, span);
  }

  /** An old tuple came along: the key changed, or the identity is FULL, or a key value is stored out of line. */
  #updateWithOld(encoder: TableEncoder, payload: Buffer): void {
    const columns = encoder.relation.columns.length;
    const oldAt = FIRST_TUPLE + 1;
    const oldTo = scanTuple(payload, oldAt, columns).end;
    if (payload[oldTo] !== NEW_TUPLE) throw malformed("UPDATE", payload);
    if (scanTuple(payload, oldTo + 1, columns).end !== payload.length) throw malformed("UPDATE", payload);
    const old = valuesOf(payload, oldAt);
    const values = valuesOf(payload, oldTo + 1).map((value, i) =>
      value === undefined ? (old[i] ?? value) : value,
    );
    if (!encoder.isBag && encoder.key.every((i) => sameValue(old[i], values[i]))) {
      this.#writeIncomplete(encoder, values, false);
      return;
    }
    this.#write(encoder, OP_DELETED, { bytes: payload, at: oldAt, to: oldTo });
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
      const bytes = writeValues(file, row);
      this.#batch.wrote(file, bytes);
      this.tellIfLarge(encoder, values, bytes);
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
    const head = { op: OP_TRUNCATED, transaction, seq: ++this.#seq };
    this.#batch.wrote(file, writeTruncated(file, head, encoder.relation.columns.length));
  }

  #write(encoder: TableEncoder, op: number, span: TupleSpan): void {
    const transaction = this.#current();
    const file = this.#batch.fileFor(encoder, transaction);
    const bytes = writeRow(file, { op, transaction, seq: ++this.#seq }, span, null);
    this.#batch.wrote(file, bytes);
    if (bytes > LARGE_ROW_BYTES) this.tellIfLarge(encoder, valuesOf(span.bytes, span.at), bytes);
  }

  /** `bytes` is the row's length as CSV. */
  tellIfLarge(encoder: TableEncoder, values: DeferredRow["values"], bytes: number): void {
    if (bytes <= LARGE_ROW_BYTES) return;
    const { shape } = encoder;
    const key = encoder.isBag ? [] : encoder.key.map((i) => String(values[i]));
    const columns = shape.columns.map((column) => column.name);
    this.#facts.largeRow({ shape, key, bytes, longest: longestOf(columns, values) });
  }

  #current(): Transaction {
    if (!this.#transaction) throw new Error("a change outside of a transaction in the replication stream");
    return this.#transaction;
  }
}

function isOld(kind: number | undefined): boolean {
  return kind === KEY_TUPLE || kind === OLD_TUPLE;
}

/** The one tuple of a message, which it fills. */
function wholeTuple(
  encoder: TableEncoder,
  payload: Buffer,
  what: string,
): TupleSpan & { readonly unchanged: boolean } {
  const at = FIRST_TUPLE + 1;
  const { end, unchanged } = scanTuple(payload, at, encoder.relation.columns.length);
  if (end !== payload.length) throw malformed(what, payload);
  return { bytes: payload, at, to: end, unchanged };
}

function sameValue(a: Value, b: Value): boolean {
  if (!a || !b) return a === b;
  return a.equals(b);
}
