import { Buffer } from "node:buffer";
import fc from "fast-check";
import { expect, test } from "vitest";
import { csvRecord } from "../../src/csv/header.ts";
import { appendTuple, tupleCsvBytes, worstCaseCsvBytes } from "../../src/csv/tuple.ts";
import { readCsv } from "../model/csv.ts";
import { tuple, type WireValue } from "../support/pgoutput-writer.ts";

const special = fc.constantFrom(",", '"', "\n", "\r", "\r\n", '""', " ", "\t", "\\.", "é", "😀", "NULL", "");
const text = fc.oneof(
  fc.string({ unit: "binary", maxLength: 20 }),
  fc.array(special, { maxLength: 10 }).map((pieces) => pieces.join("")),
  // Long enough for whatever is done with long values.
  fc
    .tuple(fc.constantFrom("", ",", '"'), fc.nat(5_000))
    .map(([one, length]) => "x".repeat(length) + one + "y".repeat(length)),
);
const value: fc.Arbitrary<WireValue> = fc.oneof(
  { weight: 5, arbitrary: text },
  { weight: 1, arbitrary: fc.constantFrom(null, undefined) },
);

/** The tuple as one CSV record, without the comma before it, in a buffer of exactly the room that it may need. */
function encode(values: readonly WireValue[], room: (bytes: Buffer) => number): string {
  const bytes = tuple(values);
  const out = { buffer: Buffer.alloc(room(bytes), "!"), end: 0 };
  appendTuple(out, bytes, 0);
  expect(out.end).toBeLessThanOrEqual(out.buffer.length);
  return out.buffer.toString("utf8", 1, out.end);
}

const worst = (bytes: Buffer): number => worstCaseCsvBytes(bytes.length, bytes.readUInt16BE(0));
const counted = (bytes: Buffer): number => tupleCsvBytes(bytes, 0);

test("a reader of RFC 4180 reads the values that were written; NULL and the empty string differ", () => {
  fc.assert(
    fc.property(fc.array(value, { minLength: 1, maxLength: 8 }), (values) => {
      const wanted = values.map((one) => (one === undefined ? null : (one as string | null)));
      expect(readCsv(`${encode(values, worst)}\n`)).toEqual([wanted]);
      expect(encode(values, counted)).toBe(encode(values, worst));
    }),
    { numRuns: 500 },
  );
});

test("headers and rows that are not hot are quoted in the same way", () => {
  fc.assert(
    fc.property(fc.array(fc.option(text), { minLength: 2, maxLength: 5 }), (values) => {
      expect(readCsv(csvRecord(values).toString("utf8"))).toEqual([values]);
    }),
  );
});

test.each([
  ["a", "a"],
  ["", '""'],
  [" ", " "],
  ["a,b", '"a,b"'],
  ['say "no"', '"say ""no"""'],
  ["two\nlines", '"two\nlines"'],
  ["\r", '"\r"'],
  ["\\.", "\\."],
])("%j is written as COPY writes it: %s", (plain, csv) => {
  expect(encode([plain], worst)).toBe(csv);
});

test("what stands before and behind a tuple in its message is left alone", () => {
  const [before, behind] = [Buffer.from('",\n"'), Buffer.from(',"')];
  const bytes = tuple(["a", "b,c"]);
  const out = { buffer: Buffer.alloc(100), end: 2 };
  appendTuple(out, Buffer.concat([before, bytes, behind]), before.length);
  expect(out.buffer.toString("utf8", 0, out.end)).toBe('\0\0,a,"b,c"');
});
