import { Buffer } from "node:buffer";

const COMMA = 0x2c;
const QUOTE = 0x22;
const LF = 0x0a;

/** The fields of one CSV record (RFC 4180, as COPY writes it), without their quotes. For rows that are looked at, not moved. */
export function splitRecord(record: Buffer): Buffer[] {
  const fields: Buffer[] = [];
  let at = 0;
  while (at <= record.length) {
    const end = endOfField(record, at);
    fields.push(valueOf(record.subarray(at, end)));
    if (end >= record.length || record[end] === LF) break;
    at = end + 1;
  }
  return fields;
}

function endOfField(record: Buffer, at: number): number {
  let quoted = false;
  for (let i = at; i < record.length; i++) {
    const byte = record[i];
    if (byte === QUOTE) quoted = !quoted;
    else if (!quoted && (byte === COMMA || byte === LF)) return i;
  }
  return record.length;
}

function valueOf(field: Buffer): Buffer {
  if (field[0] !== QUOTE) return field;
  const inner = field.subarray(1, field.length - 1);
  if (!inner.includes(QUOTE)) return inner;
  return Buffer.from(inner.toString("latin1").replaceAll('""', '"'), "latin1");
}
