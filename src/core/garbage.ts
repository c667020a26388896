import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

/**
 * V8 lets some 64 MiB of dead buffers wait before it looks for them, which is more than rows of many MiB leave of
 * memory.max. So whoever allocates such pieces counts them here, and they are looked for every so often.
 */
const COLLECT_EVERY_BYTES = 8 * 1024 * 1024;
/** Pieces below this are V8's business. */
const LARGE_PIECE_BYTES = 1024 * 1024;

let allocatedBytes = 0;
let collect: (() => void) | null = null;

/** Call before a buffer of so many bytes is allocated for one row. */
export function beforeLargePiece(bytes: number): void {
  if (bytes < LARGE_PIECE_BYTES) return;
  allocatedBytes += bytes;
  if (allocatedBytes < COLLECT_EVERY_BYTES) return;
  allocatedBytes = 0;
  collect ??= collector();
  collect();
}

/** The engine's own function, which only contexts made under the flag have. */
function collector(): () => void {
  setFlagsFromString("--expose-gc");
  const found: unknown = runInNewContext("globalThis.gc");
  setFlagsFromString("--no-expose-gc");
  return typeof found === "function" ? (found as () => void) : () => {};
}
