import type { Json } from "../core/json.ts";

/**
 * A place for files: an S3 bucket's prefix, or a directory.
 *
 * Keys are relative to the stage's prefix. Every method rejects with a TransientError when trying again may
 * help (network, 5xx, SlowDown, timeouts, expired credentials, a full disk) and with an OperatorError when only
 * a person can help (no such bucket, access denied, not writable). Nothing here retries for long: whoever calls
 * decides how patient to be. Everything accepts being done twice.
 */
export interface Store {
  /** `s3://bucket/prefix` or `file:///directory`, without secrets. */
  readonly url: string;
  /** Bytes that each part of an upload but the last must have at least. */
  readonly minPartBytes: number;

  /** Begins an upload that stays invisible until it is published. */
  begin(key: string): Promise<Upload>;
  /**
   * Makes a staged upload visible under its key. Resolves with `published` also if an earlier call did it, and
   * with `gone` if neither the staged bytes nor the published object can be found any more.
   */
  publish(key: string, receipt: Receipt): Promise<"published" | "gone">;
  /**
   * Writes a small data file under its final key, in one step. A file that is there already with this
   * checksum (`sha256:<hex>` of `bytes`) counts as done; one with another checksum is an OperatorError,
   * because a published key never changes.
   */
  publishBytes(key: string, bytes: Buffer, checksum: string): Promise<void>;
  /** Whether a data file with this checksum is published under its key. */
  has(key: string, checksum: string): Promise<boolean>;
  /** Throws away uploads that `isNamed` does not claim, as a crash leaves them. Returns how many. */
  discardUploads(isNamed: (receiptId: string) => boolean): Promise<number>;

  /** Writes a document that may be written again with other content. For large ones, too. */
  put(key: string, bytes: Buffer): Promise<void>;
  /**
   * Writes a document if its key is free: the compare-and-swap of the log. An answer that was lost is found
   * out by reading the document back: `created` if it holds exactly these bytes.
   */
  putIfAbsent(key: string, bytes: Buffer): Promise<"created" | "exists">;
  /** A document's bytes (or `length` of them from `offset`), or null if there is none. */
  get(key: string, range?: { offset: number; length: number }): Promise<Buffer | null>;
  /** Keys of files below `prefix` (which ends in `/`), in order of their UTF-8 bytes, page by page. */
  list(prefix: string, options?: { startAfter?: string }): AsyncIterable<string>;
  /** Names, each with its closing slash and relative to `prefix`, of the folders directly below `prefix`, in order. */
  listFolders(prefix: string): Promise<string[]>;
  /** Deletes documents of ours; missing ones are fine. */
  delete(keys: readonly string[]): Promise<void>;

  /** Verifies that the stage can be used, as `check` shows it. */
  probe(): Promise<ProbeResult[]>;
  close(): void;
}

/** An upload in progress. After a rejection it can only be aborted, or the same part be written again. */
export interface Upload {
  /**
   * Uploads one part and resolves when it is durable. Calls may overlap and come again: `number` (from 1) and
   * `offset` (of its first byte in the file) say which part it is. An upload that the store no longer knows is
   * an UploadLostError.
   */
  write(part: Buffer, number: number, offset: number): Promise<void>;
  /** All parts are there: what the log records, and `publish` needs. */
  finish(): Promise<Receipt>;
  abort(): Promise<void>;
}

/** What the log records about a staged upload: enough to publish it from another process. `id` is unique. */
export interface Receipt {
  readonly id: string;
  /** Size of the whole file. */
  readonly bytes: number;
  readonly [detail: string]: Json;
}

export interface ProbeResult {
  readonly name: string;
  readonly verdict: "ok" | "warn" | "fail";
  readonly found: string;
  /** What to do about it; empty if ok. */
  readonly mend: string;
  /** It failed in a way that may pass: a network that is away, a store that is busy. */
  readonly passing?: boolean;
}
