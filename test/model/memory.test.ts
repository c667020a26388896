import { expect, test } from "vitest";
import { Random } from "../support/random.ts";
import { Bench } from "../unit/pump-bench.ts";

const TABLES = 1_000;
const MIB = 1024 * 1024;
/** What one chunk of the socket may add after the limit: a buffer for each table that it has a row of. */
const CHUNK_ROWS = 100;

/** Rows whose text hardly compresses. */
function text(random: Random, bytes: number): string {
  let all = "";
  while (all.length < bytes) all += random.next().toString(36).slice(2);
  return all.slice(0, bytes);
}

test.each([
  ["none", 2_000, 8_000],
  ["gzip", 2_000, 8_000],
  // A row as long as half of the memory, now and then.
  ["gzip", 4 * MIB, 15],
] as const)(
  "one transaction over 1,000 tables stays within its memory: %s, rows of up to %i bytes",
  async (compression, bytes, rows) => {
    const limit = 8 * MIB;
    const random = new Random(7);
    const bench = new Bench({ memoryBytes: limit, compression });
    let most = 0;
    for (let oid = 1; oid <= TABLES; oid++) bench.send(bench.relation(oid));
    bench.send(bench.begin());
    for (let row = 0; row < rows; row++) {
      bench.send(bench.insert(text(random, 1 + random.below(bytes)), 1 + random.below(TABLES)));
      most = Math.max(most, bench.memory.heldBytes);
      if (row % CHUNK_ROWS === 0 || bytes > MIB)
        await expect.poll(() => bench.paused, { timeout: 20_000, interval: 1 }).toBe(false);
    }
    bench.send(bench.commit());
    bench.pump.drain();
    await bench.pump.done;
    const files = bench.documents.flatMap((document) => document.files);
    expect(files.reduce((sum, file) => sum + file.rows, 0)).toBe(rows);
    expect(new Set(bench.stage.dataKeys()).size).toBe(files.length);
    expect(bench.memory.heldBytes).toBe(0);
    // A long row may be there twice: as it is read, and where it is compressed from.
    expect(most).toBeLessThan(limit + Math.max(2 * MIB, 2 * bytes));
  },
);
