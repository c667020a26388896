import { Buffer } from "node:buffer";

/**
 * Writes pgoutput's messages, protocol version 1, as a server does.
 * Source: PostgreSQL documentation, "Logical Replication Message Formats".
 */

/** One value of a tuple: text, NULL, or `undefined` for an unchanged value that is not sent. */
export type WireValue = string | Buffer | null | undefined;

export interface WireColumn {
  readonly name: string;
  readonly typeOid: number;
  readonly typeModifier: number;
  /** Part of the replica identity. */
  readonly key: boolean;
}

export interface WireRelation {
  readonly oid: number;
  readonly schema: string;
  readonly table: string;
  /** d, n, f or i. */
  readonly identity: "d" | "n" | "f" | "i";
  readonly columns: readonly WireColumn[];
}

/** Microseconds from 1970 to 2000. */
const EPOCH_MICROS = 946_684_800_000_000n;

export function begin(commitLsn: bigint, committedAtMicros: bigint, xid = 700): Buffer {
  return Buffer.concat([tag("B"), u64(commitLsn), i64(committedAtMicros - EPOCH_MICROS), u32(xid)]);
}

export function commit(commitLsn: bigint, endLsn: bigint, committedAtMicros: bigint): Buffer {
  return Buffer.concat([tag("C"), u8(0), u64(commitLsn), u64(endLsn), i64(committedAtMicros - EPOCH_MICROS)]);
}

export function relation({ oid, schema, table, identity, columns }: WireRelation): Buffer {
  const described = columns.flatMap((column) => [
    u8(column.key ? 1 : 0),
    cstring(column.name),
    u32(column.typeOid),
    i32(column.typeModifier),
  ]);
  const names = [u32(oid), cstring(schema), cstring(table)];
  return Buffer.concat([tag("R"), ...names, tag(identity), u16(columns.length), ...described]);
}

export function insert(oid: number, values: readonly WireValue[]): Buffer {
  return Buffer.concat([tag("I"), u32(oid), tag("N"), tuple(values)]);
}

/** `old`: the key before (K, the other columns null) or the whole row before (O). */
export function update(
  oid: number,
  values: readonly WireValue[],
  old?: { readonly kind: "K" | "O"; readonly values: readonly WireValue[] },
): Buffer {
  const before = old ? [tag(old.kind), tuple(old.values)] : [];
  return Buffer.concat([tag("U"), u32(oid), ...before, tag("N"), tuple(values)]);
}

export function remove(oid: number, kind: "K" | "O", values: readonly WireValue[]): Buffer {
  return Buffer.concat([tag("D"), u32(oid), tag(kind), tuple(values)]);
}

/** `options`: 1 is CASCADE, 2 is RESTART IDENTITY. */
export function truncate(oids: readonly number[], options = 0): Buffer {
  return Buffer.concat([tag("T"), u32(oids.length), u8(options), ...oids.map(u32)]);
}

export function type(oid: number, schema: string, name: string): Buffer {
  return Buffer.concat([tag("Y"), u32(oid), cstring(schema), cstring(name)]);
}

export function origin(commitLsn: bigint, name: string): Buffer {
  return Buffer.concat([tag("O"), u64(commitLsn), cstring(name)]);
}

export function message(lsn: bigint, prefix: string, content: Buffer): Buffer {
  return Buffer.concat([tag("M"), u8(1), u64(lsn), cstring(prefix), u32(content.length), content]);
}

export function tuple(values: readonly WireValue[]): Buffer {
  const pieces = values.map((value) => {
    if (value === undefined) return tag("u");
    if (value === null) return tag("n");
    const bytes = typeof value === "string" ? Buffer.from(value, "utf8") : value;
    return Buffer.concat([tag("t"), u32(bytes.length), bytes]);
  });
  return Buffer.concat([u16(values.length), ...pieces]);
}

function tag(letter: string): Buffer {
  return Buffer.from(letter, "latin1");
}

function cstring(text: string): Buffer {
  return Buffer.from(`${text}\0`, "utf8");
}

function u8(value: number): Buffer {
  return Buffer.of(value);
}

function u16(value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16BE(value);
  return bytes;
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

function i32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(value);
  return bytes;
}

function u64(value: bigint): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(value);
  return bytes;
}

function i64(value: bigint): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigInt64BE(value);
  return bytes;
}
