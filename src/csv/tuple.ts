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
 * unchanged value is written as NULL: the caller lists it. Throws a RangeError if the tuple ends beyond its message.
 */
export function appendTuple(out: ByteOutput, tuple: Buffer, at: number): void {
  const columns = tuple.readUInt16BE(at);
  at += 2;
  // Local variables, and the values of most bytes in this very loop: a third faster than a call for each value.
  const { buffer } = out;
  let { end } = out;
  for (let column = 0; column < columns; column++) {
    buffer[end++] = COMMA;
    if (tuple[at++] !== TEXT) continue;
    const from = at + 4;
    const to = from + tuple.readUInt32BE(at);
    if (to > tuple.length) throw new RangeError("a tuple is longer than its message");
    const start = end;
    at = from;
    while (at < to) {
      const byte = tuple[at] as number;
      if (byte <= COMMA && mustQuote(byte)) break;
      buffer[end++] = byte;
      at++;
    }
    if (at < to || from === to) end = putQuoted(buffer, start, tuple.subarray(from, to));
    at = to;
  }
  out.end = end;
}

/** Appends a value in quotes: one of which is known that it needs them. */
export function appendQuoted(out: ByteOutput, value: Buffer): void {
  out.end = putQuoted(out.buffer, out.end, value);
}

/** All four are at most a comma: one comparison clears nearly every byte. */
function mustQuote(byte: number): boolean {
  return byte === COMMA || byte === QUOTE || byte === LF || byte === CR;
}

/** Puts a value in quotes at `end`, and returns the end after it. */
function putQuoted(buffer: Buffer, end: number, value: Buffer): number {
  buffer[end++] = QUOTE;
  for (let at = 0; at < value.length; at++) {
    const byte = value[at] as number;
    if (byte === QUOTE) buffer[end++] = QUOTE;
    buffer[end++] = byte;
  }
  buffer[end++] = QUOTE;
  return end;
}
