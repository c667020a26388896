/**
 * What a verification found.
 */

/**
 * - `equal`, `different`: compared.
 * - `behind`: it differs, but the stage has not reached the moment of the comparison yet.
 * - `copying`, `pending`: it is being copied, or waits to be, so there is nothing to compare with yet.
 * - `unreadable`: a file is gone or is not what the contract says, so the table cannot be rebuilt.
 */
type Outcome = "equal" | "different" | "behind" | "copying" | "pending" | "unreadable";

export interface Example {
  readonly kind: "missing" | "extra" | "different";
  /** Key columns, or all columns of a table without a key, as text; long values are cut. */
  readonly row: Readonly<Record<string, string | null>>;
  /** For a different row: its columns whose values differ, source and stage. */
  readonly columns?: Readonly<
    Record<string, { readonly source: string | null; readonly stage: string | null }>
  >;
}

export interface TableResult {
  /** `schema.table` */
  readonly table: string;
  readonly outcome: Outcome;
  /** Why, for a person; empty if equal. */
  readonly note: string;
  /** Rows in the source. */
  readonly rows: number;
  readonly equal: number;
  /** Rows of the source that the stage does not have, and the other way round. */
  readonly missing: number;
  readonly extra: number;
  /** Rows with the same key and other values. */
  readonly different: number;
  readonly examples: readonly Example[];
  /** Staged files and rows that were read. */
  readonly files: number;
  readonly stagedRows: number;
}

/** Something wrong with the stage itself. */
export interface StageProblem {
  /** The file or document it is about; empty if it is about the whole. */
  readonly key: string;
  readonly problem: string;
}

export interface Verdict {
  readonly ok: boolean;
  /** The moment of the (last) comparison: transactions that committed before it are in it. */
  readonly lsn: string;
  readonly tables: readonly TableResult[];
  readonly stage: {
    readonly documents: number;
    readonly files: number;
    readonly rows: number;
    readonly bytes: number;
    readonly problems: readonly StageProblem[];
  };
  /** Fraction of the keys that was compared; 1 for all. */
  readonly sample: number;
  readonly tookMs: number;
}
