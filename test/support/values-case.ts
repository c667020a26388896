import type fc from "fast-check";

/** A type as tables of tests have it, with values in the text that its input function takes. */
export interface ValueCase {
  readonly type: string;
  /** Edge values. */
  readonly edges: readonly string[];
  /** Major version that has them. */
  readonly since?: number;
  /** Any value. */
  readonly any: fc.Arbitrary<string>;
}
