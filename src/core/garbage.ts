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

/** Call before so many bytes are allocated for one row, or one document. */
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

/** How often memory is looked at, from which share of memory.max on garbage counts, and how much of it is worth a look. */
const LOOK_EVERY_MS = 500;
const COUNTS_FROM = 0.7;
const WORTHWHILE_BYTES = 16 * 1024 * 1024;

/**
 * V8 sizes its heap by the machine's memory. While the process is near `maxBytes`, dead objects and buffers are looked
 * for as soon as there may be enough of them. Returns what ends it.
 */
export function keepBelow(maxBytes: number): () => void {
  let leftBytes = 0;
  const timer = setInterval(() => {
    if (process.memoryUsage.rss() < COUNTS_FROM * maxBytes) return;
    if (usedBytes() < leftBytes + WORTHWHILE_BYTES) return;
    collect ??= collector();
    collect();
    leftBytes = usedBytes();
  }, LOOK_EVERY_MS).unref();
  return () => clearInterval(timer);
}

function usedBytes(): number {
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}
