import { Buffer } from "node:buffer";
import { randomBytes } from "node:crypto";
import zlib from "node:zlib";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { takeChunk } from "../../src/core/chunks.ts";
import type { Compression } from "../../src/core/layout.ts";
import { MemoryAccount } from "../../src/core/memory.ts";
import { Compressor } from "../../src/csv/compressor.ts";
import { checksumOf } from "../support/memory-store.ts";

const hasZstd = "zstdDecompressSync" in zlib;
const unzstd = (zlib as unknown as { zstdDecompressSync: (bytes: Buffer) => Buffer }).zstdDecompressSync;
const READERS: Record<Compression, (bytes: Buffer) => Buffer> = {
  none: (bytes) => bytes,
  gzip: (bytes) => zlib.gunzipSync(bytes),
  zstd: (bytes) => unzstd(bytes),
};
const COMPRESSIONS: Compression[] = hasZstd ? ["none", "gzip", "zstd"] : ["none", "gzip"];

/** Text that compresses, and bytes that do not. */
const chunk = fc.oneof(
  fc.nat(400).map((length) => Buffer.from("row,".repeat(length))),
  fc.nat(100_000).map((length) => randomBytes(length)),
  fc.constant(Buffer.alloc(0)),
);

describe.each(COMPRESSIONS)("%s", (compression) => {
  test("gives back what went in, however it is cut and taken, with its checksum and nothing held", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(chunk, { maxLength: 8 }),
        chunk,
        fc.nat(100_000),
        async (chunks, last, part) => {
          const memory = new MemoryAccount(1);
          const compressor = new Compressor(compression, memory);
          const taken: Buffer[] = [];
          const take = (bytes?: number): void => {
            const piece = compressor.take(bytes);
            memory.release(piece.length);
            taken.push(piece);
          };
          compressor.onPiece = () => {
            if (compressor.readyBytes > part) take(part);
          };
          // The caller may have reserved more than it filled.
          for (const one of chunks) {
            const buffer = takeChunk();
            memory.hold(buffer.length);
            compressor.write(buffer, one.copy(buffer));
          }
          memory.hold(last.length);
          await compressor.end(last, last.length);
          expect(compressor.queuedBytes).toBe(0);
          take();
          const out = Buffer.concat(taken);
          expect(READERS[compression](out).equals(Buffer.concat([...chunks, last]))).toBe(true);
          expect(compressor.checksum()).toBe(checksumOf(out));
          expect(compressor.totalBytes).toBe(out.length);
          expect(compressor.readyBytes).toBe(0);
          expect(memory.heldBytes).toBe(0);
        },
      ),
      { numRuns: 60 },
    );
  });

  test("frees everything when it is given up in the middle", async () => {
    const memory = new MemoryAccount(1);
    const compressor = new Compressor(compression, memory);
    for (let i = 0; i < 5; i++) {
      memory.hold(200_000);
      compressor.write(randomBytes(200_000), 200_000);
    }
    await new Promise((resolve) => setImmediate(resolve));
    compressor.discard();
    await expect.poll(() => memory.heldBytes).toBe(0);
  });
});

test("takes exactly what it is asked for, in order", async () => {
  const compressor = new Compressor("none", new MemoryAccount(1));
  for (const text of ["abc", "de", "f"]) compressor.write(Buffer.from(text), text.length);
  await compressor.end(Buffer.from("gh"), 2);
  expect([2, 1, 3, 100].map((bytes) => compressor.take(bytes).toString())).toEqual(["ab", "c", "def", "gh"]);
});

test("a chunk that somebody still has a view of is not used again", async () => {
  const compressor = new Compressor("none", new MemoryAccount(1));
  const taken: Buffer[] = [];
  const letters = ["a", "b", "c", "d", "e", "f", "g", "h"];
  for (const letter of letters) {
    const buffer = takeChunk();
    compressor.write(buffer.fill(letter, 0, 100), 100);
    taken.push(compressor.take(letter < "e" ? 60 : undefined));
  }
  await compressor.end(Buffer.alloc(0), 0);
  taken.push(compressor.take());
  const text = letters.map((letter) => letter.repeat(100)).join("");
  expect(Buffer.concat(taken).toString()).toBe(text);
});
