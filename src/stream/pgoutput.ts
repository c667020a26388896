import type { Buffer } from "node:buffer";
import type { Lsn } from "../core/lsn.ts";
import { NULL, TEXT, UNCHANGED } from "../csv/tuple.ts";

/**
 * The messages of pgoutput, protocol version 1, read in place.
 * Source: PostgreSQL documentation, "Logical Replication Message Formats".
 *
 * Payloads are views into the receive buffer and die when the callback returns: nothing here keeps one.
 */

/** Message tags. */
export const BEGIN = 0x42; // B
export const COMMIT = 0x43; // C
export const RELATION = 0x52; // R
export const INSERT = 0x49; // I
export const UPDATE = 0x55; // U
export const DELETE = 0x44; // D
export const TRUNCATE = 0x54; // T
/** Origin, Type and Message carry nothing that a file needs. */
export const ORIGIN = 0x4f;
export const TYPE = 0x59;
export const MESSAGE = 0x4d;

/** What precedes a tuple. */
export const NEW_TUPLE = 0x4e; // N
export const KEY_TUPLE = 0x4b; // K: replica identity columns, the others are sent as null and mean "not sent"
export const OLD_TUPLE = 0x4f; // O: the whole old row, under REPLICA IDENTITY FULL

/** Microseconds from 1970 to 2000, where Postgres's clock begins. */
const POSTGRES_EPOCH_MICROS = 946_684_800_000_000n;

export interface Begin {
  readonly commitLsn: Lsn;
  /** Microseconds since 1970. */
  readonly committedAtMicros: bigint;
  readonly xid: number;
}

export function readBegin(payload: Buffer): Begin {
  if (payload.length !== 21) throw malformed("BEGIN", payload);
  return {
    commitLsn: payload.readBigUInt64BE(1) as Lsn,
    committedAtMicros: payload.readBigInt64BE(9) + POSTGRES_EPOCH_MICROS,
    xid: payload.readUInt32BE(17),
  };
}

/** The first byte after the commit record: what is acknowledged. */
export function readCommitEnd(payload: Buffer): Lsn {
  if (payload.length !== 26) throw malformed("COMMIT", payload);
  return payload.readBigUInt64BE(10) as Lsn;
}

export type ReplicaIdentity = "default" | "nothing" | "full" | "index";

export interface RelationColumn {
  readonly name: string;
  readonly typeOid: number;
  readonly typeModifier: number;
  /** Part of the replica identity; true for every column under FULL. */
  readonly key: boolean;
}

export interface Relation {
  readonly oid: number;
  readonly schema: string;
  readonly table: string;
  readonly replicaIdentity: ReplicaIdentity;
  readonly columns: readonly RelationColumn[];
}

const IDENTITIES: Readonly<Record<string, ReplicaIdentity>> = {
  d: "default",
  n: "nothing",
  f: "full",
  i: "index",
};

export function readRelation(payload: Buffer): Relation {
  const oid = payload.readUInt32BE(1);
  let at = 5;
  const text = (): string => {
    const end = payload.indexOf(0, at);
    if (end < 0) throw malformed("RELATION", payload);
    const value = payload.toString("utf8", at, end);
    at = end + 1;
    return value;
  };
  const schema = text() || "pg_catalog";
  const table = text();
  const replicaIdentity = IDENTITIES[String.fromCharCode(payload.readUInt8(at))];
  if (!replicaIdentity) throw malformed("RELATION", payload);
  const count = payload.readUInt16BE(at + 1);
  at += 3;
  const columns: RelationColumn[] = [];
  for (let i = 0; i < count; i++) {
    const key = (payload.readUInt8(at) & 1) === 1;
    at += 1;
    const name = text();
    columns.push({ name, key, typeOid: payload.readUInt32BE(at), typeModifier: payload.readInt32BE(at + 4) });
    at += 8;
  }
  if (at !== payload.length) throw malformed("RELATION", payload);
  return { oid, schema, table, replicaIdentity, columns };
}

/** OIDs of the relations of a TRUNCATE. */
export function readTruncated(payload: Buffer): number[] {
  const count = payload.readUInt32BE(1);
  if (payload.length !== 6 + 4 * count) throw malformed("TRUNCATE", payload);
  return Array.from({ length: count }, (_, i) => payload.readUInt32BE(6 + 4 * i));
}

/** A tuple as far as it has been looked at. */
export interface TupleScan {
  /** The first byte after it. */
  end: number;
  unchanged: boolean;
}

const scan: TupleScan = { end: 0, unchanged: false };

/**
 * Looks over the tuple of `columns` values that begins at `at` (its column count). Whatever is read of it afterwards
 * needs no further checks. The result is one object for all calls.
 */
export function scanTuple(payload: Buffer, at: number, columns: number): Readonly<TupleScan> {
  if (payload.length < at + 2 || payload.readUInt16BE(at) !== columns) throw malformed("tuple", payload);
  at += 2;
  let unchanged = false;
  for (let i = 0; i < columns; i++) {
    const kind = payload[at++];
    if (kind === TEXT) at += 4 + (at + 4 <= payload.length ? payload.readUInt32BE(at) : payload.length);
    else if (kind === UNCHANGED) unchanged = true;
    else if (kind !== NULL) throw malformed("tuple", payload);
  }
  if (at > payload.length) throw malformed("tuple", payload);
  scan.end = at;
  scan.unchanged = unchanged;
  return scan;
}

export function malformed(what: string, payload: Buffer): Error {
  return new Error(`malformed ${what} in the replication stream: ${payload.subarray(0, 64).toString("hex")}`);
}
