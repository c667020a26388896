import type { Lsn } from "../core/lsn.ts";
import { formatTimestamp } from "../csv/header.ts";
import type { Submission } from "../delivery/delivery.ts";
import type { Batch } from "./batch.ts";

/** A batch while it fills, with what its log document will say. */
export class Filling {
  readonly batch: Batch;
  /** Values that are being read back for rows of it. */
  readonly fills: Promise<void>[] = [];
  /** Its first transaction, and when that arrived. */
  opened: { readonly atMs: number; readonly lsn: Lsn; readonly commitMicros: bigint } | null = null;
  #newestCommitMicros = 0n;

  constructor(batch: Batch) {
    this.batch = batch;
  }

  /** The first change of a transaction is in it. */
  began(commitLsn: Lsn, commitMicros: bigint): void {
    this.opened ??= { atMs: performance.now(), lsn: commitLsn, commitMicros };
    this.#newestCommitMicros = commitMicros;
  }

  /** First commit and commit times, as the log document says them. */
  span(): Pick<Submission, "firstLsn" | "firstCommittedAt" | "committedAt"> {
    if (!this.opened) return { firstLsn: null, firstCommittedAt: null, committedAt: null };
    return {
      firstLsn: this.opened.lsn,
      firstCommittedAt: formatTimestamp(this.opened.commitMicros),
      committedAt: formatTimestamp(this.#newestCommitMicros),
    };
  }
}
