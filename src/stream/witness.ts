import type { Buffer } from "node:buffer";
import { BusyError, messageOf, OperatorError } from "../core/errors.ts";
import { formatLsn, type Lsn } from "../core/lsn.ts";
import { BEGIN, COMMIT, DELETE, INSERT, readBegin, readRelation, RELATION, UPDATE } from "./pgoutput.ts";

/**
 * The server cannot send a row of the transaction that commits at `commitLsn`. What comes before it has to be
 * published first, by another attempt, in a batch that holds nothing of it.
 */
export class UnsendableError extends BusyError {
  readonly commitLsn: Lsn;

  constructor(commitLsn: Lsn, options?: ErrorOptions) {
    super(`a row of the transaction at ${formatLsn(commitLsn)} cannot be sent`, options);
    this.commitLsn = commitLsn;
  }
}

/** Follows which transaction and which tables the stream is at, for the case that the server cannot go on. */
export class Witness {
  readonly #startLsn: Lsn;
  readonly #unsendable: Lsn | null;
  readonly #names = new Map<number, string>();
  /** Tables that changed in the transaction under way. */
  readonly #changed = new Set<number>();
  /** The table that was described last, if nothing came after: the server does that right before a change of it. */
  #described: number | null = null;
  #last = 0;
  #commitLsn: Lsn | null = null;
  /** A transaction that is not published yet has come whole. */
  #hasWhole = false;
  #stopped = false;

  /** `unsendable`: where the transaction commits that the server could not send, once that is known. */
  constructor(startLsn: Lsn, unsendable: Lsn | null) {
    this.#startLsn = startLsn;
    this.#unsendable = unsendable;
  }

  /** The stream has come to what cannot be sent, and what is before it is to be published. */
  get isStopped(): boolean {
    return this.#stopped;
  }

  /** One XLogData payload, before anybody else reads it. */
  see(payload: Buffer): void {
    const tag = payload[0];
    if (tag === INSERT || tag === UPDATE || tag === DELETE) {
      this.#described = null;
      const oid = payload.readUInt32BE(1);
      if (oid === this.#last) return;
      this.#last = oid;
      this.#changed.add(oid);
    } else if (tag === BEGIN) {
      this.#begin(readBegin(payload).commitLsn);
    } else if (tag === COMMIT) {
      this.#hasWhole ||= this.#commitLsn !== null && this.#commitLsn >= this.#startLsn;
      this.#commitLsn = null;
    } else if (tag === RELATION) {
      const { oid, schema, table } = readRelation(payload);
      this.#names.set(oid, `${schema}.${table}`);
      this.#described = oid;
    }
  }

  #begin(commitLsn: Lsn): void {
    this.#commitLsn = commitLsn;
    this.#changed.clear();
    this.#last = 0;
    this.#described = null;
    if (commitLsn === this.#unsendable && this.#hasWhole) this.#stopped = true;
  }

  /** `error` is the server's, which could not send the next change. */
  explain(error: unknown): UnsendableError | OperatorError {
    const commitLsn = this.#commitLsn;
    // A stream that begins at the log describes each table in this transaction, right before its first change.
    const isPlain = this.#described !== null || this.#unsendable !== null;
    if (commitLsn !== null && (this.#hasWhole || !isPlain))
      return new UnsendableError(commitLsn, { cause: error });
    const oids = this.#described === null ? [...this.#changed] : [this.#described];
    const candidates = oids.length > 0 ? oids : [...this.#names.keys()];
    const tables = candidates.map((oid) => this.#names.get(oid) ?? `relation ${oid}`);
    const named = tables.length > 0 ? tables.join(" or ") : "a table";
    const where = commitLsn === null ? "" : ` in the transaction at ${formatLsn(commitLsn)}`;
    return new OperatorError(
      `Postgres cannot send a row of ${named}${where}: ${messageOf(error)}; everything before it is staged`,
      `a row's values as text must stay below 1 GB together: make them smaller or delete the row, or leave the table out (source.exclude); then run \`pgstage resync --all\`, which goes on after that transaction and copies every table afresh`,
      { cause: error },
    );
  }
}
