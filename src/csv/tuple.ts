import type { Buffer } from "node:buffer";

/**
 * Tuples of pgoutput as CSV, bytes to bytes, exactly as `COPY … (FORMAT csv)` writes the same values.
 * Sources: PostgreSQL documentation, "Logical Replication Message Formats", TupleData; copyto.c, CopyAttributeOutCSV.
 *
 * A value is quoted only if it is empty or holds a comma, a quote, CR or LF. (COPY also quotes a lone `\.` in a
 * table of one column; no row of ours has one column.) NULL is nothing at all.
 */

const COMMA = 0x2c;
const QUOTE = 0x22;
const LF = 0x0a;
const CR = 0x0d;
export const TEXT = 0x74; // t
export const NULL = 0x6e; // n
export const UNCHANGED = 0x75; // u

/** Room that a tuple of `bytes` bytes and `columns` columns can need at most: every byte doubled, quotes, commas. */
export function worstCaseCsvBytes(bytes: number, columns: number): number {
  return 2 * bytes + 3 * columns + 2;
}

/** The same, counted: at most a few bytes more than the tuple at `at` takes. */
export function tupleCsvBytes(tuple: Buffer, at: number): number {
  const columns = tuple.readUInt16BE(at);
  let room = 3 * columns + 2;
  at += 2;
  for (let column = 0; column < columns; column++) {
    if (tuple[at++] !== TEXT) continue;
    const to = at + 4 + tuple.readUInt32BE(at);
    at += 4;
    room += to - at;
    for (
      let quote = tuple.indexOf(QUOTE, at);
      quote >= 0 && quote < to;
      quote = tuple.indexOf(QUOTE, quote + 1)
    )
      room++;
    at = to;
  }
  return room;
}

/** Where rows are written: a buffer and how far it is filled. A file's writer is one. */
export interface ByteOutput {
  readonly buffer: Buffer;
  end: number;
}

/**
 * Appends the values of the tuple at `at`, a comma before each, to `out`, which has room for the worst case. An
 * unchanged value is written as NULL: the caller lists it.
 */
export function appendTuple(out: ByteOutput, tuple: Buffer, at: number): void {
  const columns = ((tuple[at] as number) << 8) | (tuple[at + 1] as number);
  at += 2;
  for (let column = 0; column < columns; column++) {
    out.buffer[out.end++] = COMMA;
    if (tuple[at++] !== TEXT) continue;
    const length = tuple.readUInt32BE(at);
    at += 4;
    appendValue(out, tuple, at, at + length);
    at += length;
  }
  if (at > tuple.length) throw new RangeError("a tuple is longer than its message");
}

/** Appends one value, `from` to `to` of `source`; an empty one is `""`. */
export function appendValue(out: ByteOutput, source: Buffer, from: number, to: number): void {
  const { buffer } = out;
  let end = out.end;
  if (from === to) {
    buffer[end++] = QUOTE;
    buffer[end++] = QUOTE;
    out.end = end;
    return;
  }
  for (let read = from; read < to; read++) {
    const byte = source[read] as number;
    // All four special bytes are at most a comma: one comparison clears nearly every byte.
    if (byte <= COMMA && (byte === COMMA || byte === QUOTE || byte === LF || byte === CR)) {
      appendQuoted(out, source, from, to);
      return;
    }
    buffer[end++] = byte;
  }
  out.end = end;
}

function appendQuoted(out: ByteOutput, source: Buffer, from: number, to: number): void {
  const { buffer } = out;
  let end = out.end;
  buffer[end++] = QUOTE;
  for (let read = from; read < to; read++) {
    const byte = source[read] as number;
    if (byte === QUOTE) buffer[end++] = QUOTE;
    buffer[end++] = byte;
  }
  buffer[end++] = QUOTE;
  out.end = end;
}
