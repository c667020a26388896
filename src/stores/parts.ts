/** S3 allows 10,000 parts in one upload. */
export const MAX_PARTS = 10_000;

/** One part that the store has. */
export interface StoredPart {
  /** From 1. */
  readonly number: number;
  /** Of its first byte in the file. */
  readonly offset: number;
  readonly bytes: number;
}

/**
 * Puts the parts of an upload in order. Throws a RangeError if they leave a gap or overlap, or if a part but the
 * last is smaller than allowed: such an upload must not be published.
 */
export function wholeFile<T extends StoredPart>(
  parts: Iterable<T>,
  minPartBytes: number,
): { parts: T[]; bytes: number } {
  const ordered = [...parts].sort((a, b) => a.number - b.number);
  let bytes = 0;
  for (const [index, part] of ordered.entries()) {
    if (part.number !== index + 1 || part.offset !== bytes) {
      throw new RangeError(
        `part ${part.number} at ${part.offset} does not follow part ${index} that ends at ${bytes}`,
      );
    }
    if (index < ordered.length - 1 && part.bytes < minPartBytes) {
      throw new RangeError(
        `part ${part.number} has ${part.bytes} bytes; only the last may be under ${minPartBytes}`,
      );
    }
    bytes += part.bytes;
  }
  return { parts: ordered, bytes };
}
