import fc from "fast-check";
import { expect, test } from "vitest";
import { CopyDataReader } from "../../src/postgres/copy-data.ts";

function message(tag: string, payload: Buffer): Buffer {
  const header = Buffer.alloc(5, tag);
  header.writeUInt32BE(4 + payload.length, 1);
  return Buffer.concat([header, payload]);
}

/** `bytes` in pieces that end at the given places. */
function cut(bytes: Buffer, places: readonly number[]): Buffer[] {
  const ends = [...new Set(places.map((place) => place % (bytes.length + 1)))].sort((a, b) => a - b);
  return [...ends, bytes.length].map((end, i) => bytes.subarray(ends[i - 1] ?? 0, end));
}

function readAll(chunks: readonly Buffer[]): { rows: string[]; others: string[]; end: string } {
  const rows: string[] = [];
  const others: string[] = [];
  const end: Buffer[] = [];
  const reader = new CopyDataReader({
    data: (bytes, from, to) => rows.push(bytes.toString("latin1", from, to)),
    other: (bytes) => others.push(bytes.toString("latin1")),
    end: (bytes) => end.push(bytes),
  });
  for (const chunk of chunks) {
    if (end.length > 0) end.push(chunk);
    else reader.read(chunk);
  }
  return { rows, others, end: Buffer.concat(end).toString("latin1") };
}

const anyPayload = fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes));
const anyMessage = fc.record({ tag: fc.constantFrom("d", "d", "d", "N", "S", "A"), payload: anyPayload });

test("takes the rows out of a copy, however the socket cuts it, and leaves everything else to pg", () => {
  const scenes = fc.record({
    start: fc.constantFrom("H", "W"),
    messages: fc.array(anyMessage, { maxLength: 20 }),
    ending: fc.constantFrom("c", "E"),
    after: anyPayload,
    places: fc.array(fc.nat(), { maxLength: 30 }),
  });
  fc.assert(
    fc.property(scenes, ({ start, messages, ending, after, places }) => {
      const all = [{ tag: start, payload: Buffer.alloc(3) }, ...messages];
      const last = Buffer.concat([message(ending, after), message("Z", Buffer.from("I"))]);
      const bytes = Buffer.concat([...all.map(({ tag, payload }) => message(tag, payload)), last]);
      const read = readAll(cut(bytes, places));
      const text = (wanted: boolean): string[] =>
        all
          .filter(({ tag }) => (tag === "d") === wanted)
          .map(({ tag, payload }) => (wanted ? payload : message(tag, payload)).toString("latin1"));
      expect(read).toEqual({ rows: text(true), others: text(false), end: last.toString("latin1") });
    }),
  );
});

test("reads a row that is far longer than a chunk without copying it again for every chunk", () => {
  const row = Buffer.alloc(8 * 1024 * 1024, "x");
  const bytes = Buffer.concat([message("d", row), message("c", Buffer.alloc(0))]);
  const chunks = Array.from({ length: Math.ceil(bytes.length / 1000) }, (_, i) =>
    bytes.subarray(i * 1000, (i + 1) * 1000),
  );
  const startedAtMs = performance.now();
  const { rows, end } = readAll(chunks);
  expect(rows.map((text) => text.length)).toEqual([row.length]);
  expect(end).toBe(message("c", Buffer.alloc(0)).toString("latin1"));
  // Copying all of it for each of 8,000 chunks would be 35 GB.
  expect(performance.now() - startedAtMs).toBeLessThan(2_000);
});
