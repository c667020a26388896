import type { Lsn } from "../core/lsn.ts";
import { formatTimestamp } from "../csv/header.ts";
import type { Submission } from "../delivery/delivery.ts";
import type { Batch } from "./batch.ts";
import { fillUnchanged, writeValues, type DeferredRow, type ReadBack } from "./deferred.ts";

/** Whom to ask for unchanged values, and whom to tell. */
export interface FillParts {
  readonly readBack: ReadBack;
  /** A row with all its values, and the CSV bytes that it took. */
  readonly wrote: (row: DeferredRow, bytes: number) => void;
  /** Called after each answer of the source. */
  readonly relieve: () => Promise<void>;
}

/** A batch while it fills, with what its log document will say. */
export class Filling {
  readonly batch: Batch;
  readonly #fills: Promise<void>[] = [];
  /** Its first transaction, and when that arrived. */
  opened: { readonly atMs: number; readonly lsn: Lsn; readonly commitMicros: bigint } | null = null;
  #newestCommitMicros = 0n;

  constructor(batch: Batch) {
    this.batch = batch;
  }

  /** The first change of a transaction is in it. */
  began(commitLsn: Lsn, commitMicros: bigint): void {
    this.opened ??= { atMs: performance.now(), lsn: commitLsn, commitMicros };
    // Clocks are set, and what another server's transaction is applied as has that one's time.
    if (commitMicros > this.#newestCommitMicros) this.#newestCommitMicros = commitMicros;
  }

  /** Reads values back for rows that waited for them, and writes the rows. */
  fill(rows: readonly DeferredRow[], { readBack, wrote, relieve }: FillParts): Promise<void> {
    if (rows.length === 0) return Promise.resolve();
    const write = (row: DeferredRow): void => {
      const file = this.batch.fileFor(row.encoder, row.head.transaction);
      const bytes = writeValues(file, row);
      this.batch.wrote(file, bytes);
      wrote(row, bytes);
    };
    const filled = fillUnchanged(rows, readBack, { write: (complete) => complete.forEach(write), relieve });
    filled.catch(() => {}); // told to whoever asks for `filled`
    this.#fills.push(filled);
    return filled;
  }

  /** Resolves once all rows that waited so far are written; rejects if the source did not answer. */
  async filled(): Promise<void> {
    await Promise.all(this.#fills);
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
