import { Buffer } from "node:buffer";
import { beforeLargePiece } from "../core/garbage.ts";
import {
  appendQuoted,
  appendTuple,
  NULL,
  TEXT,
  tupleCsvBytes,
  UNCHANGED,
  worstCaseCsvBytes,
  type ByteOutput,
} from "../csv/tuple.ts";
import type { OpenFile } from "./table-encoder.ts";
import type { Transaction } from "./transaction.ts";

const LF = 0x0a;
const COMMA = 0x2c;
/** `_op`, `_lsn`, `_seq`, `_committed_at` and their commas, and the line feed. */
const ROW_FRAME_BYTES = 100;

export const OP_CREATED = 0x63; // c
export const OP_UPDATED = 0x75; // u
export const OP_DELETED = 0x64; // d
export const OP_TRUNCATED = 0x74; // t

/** A row before its values are appended. */
export interface RowHead {
  readonly op: number;
  readonly transaction: Transaction;
  readonly seq: number;
}

/** A tuple: bytes `at` to `to` of `bytes`. */
export interface TupleSpan {
  readonly bytes: Buffer;
  readonly at: number;
  readonly to: number;
}

/** Above this, a row's room is counted instead of estimated: twice a large value would be a lot of memory. */
const COUNT_FROM_BYTES = 256 * 1024;

/** Writes one row and returns its CSV bytes. `unchanged` is the JSON list, or null. */
export function writeRow(
  { writer }: OpenFile,
  head: RowHead,
  span: TupleSpan,
  unchanged: Buffer | null,
): number {
  const tuple = span.bytes;
  const bytes = span.to - span.at;
  const list = unchanged ? 2 * unchanged.length + 2 : 0;
  const room =
    bytes < COUNT_FROM_BYTES
      ? worstCaseCsvBytes(bytes, tuple.readUInt16BE(span.at))
      : tupleCsvBytes(tuple, span.at);
  writer.reserve(ROW_FRAME_BYTES + room + list);
  const start = writer.end;
  appendHead(writer, head);
  if (unchanged) appendQuoted(writer, unchanged);
  appendTuple(writer, tuple, span.at);
  writer.buffer[writer.end++] = LF;
  writer.rows++;
  return writer.end - start;
}

/** Writes a `t` row, which has no values, and returns its CSV bytes. */
export function writeTruncated({ writer }: OpenFile, head: RowHead, columns: number): number {
  writer.reserve(ROW_FRAME_BYTES + columns);
  const start = writer.end;
  appendHead(writer, head);
  writer.buffer.fill(COMMA, writer.end, writer.end + columns);
  writer.end += columns;
  writer.buffer[writer.end++] = LF;
  writer.rows++;
  return writer.end - start;
}

function appendHead(out: ByteOutput, { op, transaction, seq }: RowHead): void {
  const { buffer } = out;
  buffer[out.end++] = op;
  buffer.set(transaction.head, out.end);
  const end = appendNumber(buffer, out.end + transaction.head.length, seq);
  buffer.set(transaction.tail, end);
  out.end = end + transaction.tail.length;
}

function appendNumber(out: Buffer, end: number, value: number): number {
  if (value < 10) {
    out[end] = 0x30 + value;
    return end + 1;
  }
  let digits = 1;
  for (let rest = value; rest >= 10; rest = Math.floor(rest / 10)) digits++;
  for (let at = end + digits - 1; at >= end; at--) {
    out[at] = 0x30 + (value % 10);
    value = Math.floor(value / 10);
  }
  return end + digits;
}

/** One value of a tuple: its bytes, NULL, or not sent. */
export type Value = Buffer | null | undefined;

/** The values of a tuple as views, for the few rows that need a closer look. `undefined`: unchanged. */
export function valuesOf(payload: Buffer, at: number): Value[] {
  const columns = payload.readUInt16BE(at);
  const values: Value[] = [];
  at += 2;
  for (let column = 0; column < columns; column++) {
    const kind = payload[at++];
    if (kind === TEXT) {
      const length = payload.readUInt32BE(at);
      values.push(payload.subarray(at + 4, at + 4 + length));
      at += 4 + length;
    } else {
      values.push(kind === UNCHANGED ? undefined : null);
    }
  }
  return values;
}

/** A tuple of these values, copied: it may be kept. A long text is written once, without bytes of its own before. */
export function tupleOf(values: readonly (Value | string)[]): Buffer {
  const sizes = values.map((value) => (value ? Buffer.byteLength(value) : 0));
  const bytes = values.reduce((sum, value, i) => sum + (isSent(value) ? 5 + (sizes[i] ?? 0) : 1), 2);
  beforeLargePiece(bytes);
  const tuple = Buffer.allocUnsafe(bytes);
  let at = tuple.writeUInt16BE(values.length);
  for (const [i, value] of values.entries()) {
    if (!isSent(value)) {
      at = tuple.writeUInt8(value === null ? NULL : UNCHANGED, at);
      continue;
    }
    at = tuple.writeUInt8(TEXT, at);
    at = tuple.writeUInt32BE(sizes[i] ?? 0, at);
    at += typeof value === "string" ? tuple.write(value, at) : value.copy(tuple, at);
  }
  return tuple;
}

function isSent(value: Value | string): value is Buffer | string {
  return value !== null && value !== undefined;
}
