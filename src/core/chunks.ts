import { Buffer } from "node:buffer";

/** What is worth compressing by itself. */
export const CHUNK_BYTES = 256 * 1024;
/** A new one costs page faults, and V8 a collection every 64 MiB of them: a few are kept. */
const KEPT = 16;

const free: Buffer[] = [];

/** A buffer of CHUNK_BYTES with anything in it. Whoever has it may give it back once, and then no longer knows it. */
export function takeChunk(): Buffer {
  return free.pop() ?? Buffer.allocUnsafeSlow(CHUNK_BYTES);
}

/** Buffers of another size are left to the garbage collector. */
export function giveBackChunk(buffer: Buffer): void {
  if (buffer.length !== CHUNK_BYTES || free.length >= KEPT) return;
  if (free.includes(buffer)) throw new Error("a chunk was given back twice");
  free.push(buffer);
}
