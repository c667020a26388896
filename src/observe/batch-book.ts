import type { LogFile } from "../core/document.ts";
import { formatLsn, type Lsn } from "../core/lsn.ts";
import type { BatchStatus, Status } from "../core/status.ts";

export interface PublishedBatch {
  readonly sequence: number;
  readonly files: readonly Pick<LogFile, "key" | "table" | "rows" | "bytes">[];
  readonly stagedLsn: Lsn | null;
  readonly tookMs: number;
  /** Commit time of the batch's newest transaction, in ms since 1970; null without changes. */
  readonly committedMs: number | null;
}

const KEPT_BATCHES = 20;
const KEPT_FILES_PER_BATCH = 50;

/** What was published: the last batches with their largest files, and the sums since the start. */
export class BatchBook {
  /** Of the newest commit that is published, in ms since 1970. */
  lastCommitMs: number;
  readonly #batches: BatchStatus[] = [];
  #totals = { rows: 0, bytes: 0, files: 0, batches: 0 };

  constructor(startedMs: number) {
    this.lastCommitMs = startedMs;
  }

  published(batch: PublishedBatch, nowMs: number): void {
    const { sequence, files, stagedLsn, tookMs, committedMs } = batch;
    const rows = sum(files, "rows");
    const bytes = sum(files, "bytes");
    this.#totals.rows += rows;
    this.#totals.bytes += bytes;
    this.#totals.files += files.length;
    this.#totals.batches++;
    if (committedMs !== null) this.lastCommitMs = Math.max(this.lastCommitMs, committedMs);
    this.#batches.unshift({
      sequence,
      time: new Date(nowMs).toISOString(),
      files: largest(files),
      fileCount: files.length,
      rows,
      bytes,
      stagedLsn: stagedLsn === null ? null : formatLsn(stagedLsn),
      tookMs,
    });
    this.#batches.length = Math.min(this.#batches.length, KEPT_BATCHES);
  }

  /** Newest first. */
  list(): BatchStatus[] {
    return [...this.#batches];
  }

  totals(): Status["totals"] {
    return { ...this.#totals };
  }
}

function largest(files: PublishedBatch["files"]): BatchStatus["files"] {
  return files
    .toSorted((a, b) => b.bytes - a.bytes)
    .slice(0, KEPT_FILES_PER_BATCH)
    .map(({ key, rows, bytes }) => ({ key, rows, bytes }));
}

function sum<K extends "rows" | "bytes">(files: readonly Readonly<Record<K, number>>[], field: K): number {
  return files.reduce((total, file) => total + file[field], 0);
}
