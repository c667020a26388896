import { Compressor } from "../csv/compressor.ts";
import { CHUNK_BYTES, takeChunk } from "../core/chunks.ts";
import { beforeLargePiece } from "../core/garbage.ts";
import type { Compression } from "../core/layout.ts";
import type { MemoryAccount } from "../core/memory.ts";
import type { PackPlace } from "./pack.ts";
import type { Receipt, Store, Upload } from "../stores/store.ts";

/** A file's first chunk; it doubles until it is worth compressing by itself. */
const FIRST_CHUNK_BYTES = 4 * 1024;
/** A file up to here is published with one PUT from its batch's pack instead of a multipart upload. */
export const SMALL_FILE_BYTES = 1024 * 1024;
/** A part that fills the line, is cheap to send again, and small enough for one per copy worker in memory. */
const PART_BYTES = 5 * 1024 * 1024;
/** What may wait beyond a full part before whoever writes has to wait. */
const SLACK_BYTES = 1024 * 1024;
/** Parts of one file on their way at once: one fills the line, one waits for it. While memory is short, one. */
const PARTS_IN_FLIGHT = 2;

/** Tries something of the store again for as long as it may help; `what` is for the log. */
export type Patiently = <T>(what: string, attempt: () => Promise<T>) => Promise<T>;

export interface WriterParts {
  readonly store: Store;
  readonly memory: MemoryAccount;
  readonly compression: Compression;
  readonly patiently: Patiently;
}

/** A file that is complete and invisible: its bytes if it is small, else the receipt of its upload. */
export interface FinishedFile {
  readonly rows: number;
  readonly bytes: number;
  readonly csvBytes: number;
  readonly checksum: string;
  readonly content:
    | { readonly small: Buffer }
    | { readonly packed: PackPlace }
    | { readonly upload: Receipt };
}

/** Bytes of a finished file that are still counted in the memory account. */
export function heldBytes(file: FinishedFile): number {
  return "small" in file.content ? file.content.small.length : 0;
}

/**
 * One CSV file on its way to the store: rows are written straight into `buffer` at `end` (after `reserve`), full
 * chunks go to the compressor, full parts to the store once the upload has begun.
 */
export class FileWriter {
  buffer: Buffer;
  end: number;
  rows = 0;

  readonly #parts: WriterParts;
  readonly #compressor: Compressor;
  readonly #partBytes: number;
  #chunksBytes = 0;
  #key: string | null = null;
  #upload: Promise<Upload> | null = null;
  #partNumber = 0;
  #partOffset = 0;
  #inFlight = new Set<Promise<void>>();
  #failure: unknown = null;
  #waiting: (() => void)[] = [];

  constructor(parts: WriterParts, header: Buffer) {
    this.#parts = parts;
    this.#compressor = new Compressor(parts.compression, parts.memory);
    this.#compressor.onPiece = () => this.#pump();
    this.#partBytes = Math.max(parts.store.minPartBytes, PART_BYTES);
    this.buffer = Buffer.allocUnsafeSlow(Math.max(FIRST_CHUNK_BYTES, header.length * 2));
    parts.memory.hold(this.buffer.length);
    this.end = header.copy(this.buffer);
  }

  /** CSV bytes so far, with the header. */
  get csvBytes(): number {
    return this.#chunksBytes + this.end;
  }

  /** The key is fixed once an upload has begun. */
  get key(): string | null {
    return this.#key;
  }

  /** Compressed bytes that wait for an upload, and CSV bytes that wait for the compressor. */
  get backlogBytes(): number {
    return this.#compressor.queuedBytes + this.#compressor.readyBytes;
  }

  /** True once it has outgrown what is worth keeping small. */
  get isLarge(): boolean {
    return this.#compressor.isStreaming || this.#compressor.totalBytes > 0;
  }

  /** Makes room for `bytes` more at `end`. */
  reserve(bytes: number): void {
    if (this.buffer.length - this.end < bytes) this.#makeRoom(bytes);
  }

  #makeRoom(bytes: number): void {
    const { memory } = this.#parts;
    const wanted = this.end + bytes;
    if (wanted <= CHUNK_BYTES && !this.isLarge) {
      const grown = bufferOf(Math.min(CHUNK_BYTES, Math.max(wanted, this.buffer.length * 2)));
      this.buffer.copy(grown, 0, 0, this.end);
      memory.hold(grown.length - this.buffer.length);
      this.buffer = grown;
      return;
    }
    this.#compressor.write(this.buffer, this.end);
    this.#chunksBytes += this.end;
    beforeLargePiece(bytes);
    this.buffer = bufferOf(Math.max(CHUNK_BYTES, bytes));
    memory.hold(this.buffer.length);
    this.end = 0;
  }

  /** From here on full parts leave memory; the key can no longer change. */
  beginUpload(key: string): void {
    if (this.#upload) return;
    this.#key = key;
    const { store, patiently } = this.#parts;
    this.#upload = patiently(`begin ${key}`, () => store.begin(key));
    this.#upload.catch((error: unknown) => this.#fail(error));
    this.#pump();
  }

  /** More waits for compressor and store than one part: whoever writes should wait for `room`. */
  get isFull(): boolean {
    return this.backlogBytes > this.#partBytes + SLACK_BYTES;
  }

  get #partsInFlight(): number {
    const { memory } = this.#parts;
    return memory.heldBytes > memory.limitBytes ? 1 : PARTS_IN_FLIGHT;
  }

  /** Resolves once it is no longer full; rejects if the upload failed. */
  async room(): Promise<void> {
    while (this.isFull && !this.#failure) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
    if (this.#failure) throw this.#failure;
  }

  /** Resolves once every part that is full is stored; rejects if the upload failed. */
  async partsGone(): Promise<void> {
    const busy = (): boolean => this.#compressor.queuedBytes > 0 || this.#inFlight.size > 0;
    while (busy() && !this.#failure) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    if (this.#failure) throw this.#failure;
  }

  /** Completes the file. Small ones come back as bytes; a larger one is uploaded as `key`, if it was not begun before. */
  async finish(key: string): Promise<FinishedFile> {
    const csvBytes = this.csvBytes;
    const { memory } = this.#parts;
    const used = this.end;
    this.#chunksBytes = csvBytes;
    this.end = 0;
    await this.#compressor.end(this.buffer, used);
    this.buffer = Buffer.alloc(0);
    const summary = {
      rows: this.rows,
      bytes: this.#compressor.totalBytes,
      csvBytes,
      checksum: this.#compressor.checksum(),
    };
    if (!this.#upload && summary.bytes <= SMALL_FILE_BYTES) {
      return { ...summary, content: { small: this.#compressor.take() } };
    }
    this.beginUpload(key);
    const upload = await (this.#upload as unknown as Promise<Upload>);
    await this.#drain();
    if (this.#compressor.readyBytes > 0) {
      const part = this.#compressor.take();
      const { number, offset } = this.#nextPart(part);
      await this.#parts.patiently(`upload ${this.#key}`, () => upload.write(part, number, offset));
      memory.release(part.length);
    }
    const receipt = await this.#parts.patiently(`finish ${this.#key}`, () => upload.finish());
    return { ...summary, content: { upload: receipt } };
  }

  /** Gives up; what was uploaded is thrown away in the background, or by the next start. */
  discard(): void {
    this.#compressor.discard();
    this.#parts.memory.release(this.buffer.length);
    this.buffer = Buffer.alloc(0);
    this.end = 0;
    this.#fail(new Error("discarded"));
    void this.#upload?.then((upload) => upload.abort()).catch(() => {});
  }

  async #drain(): Promise<void> {
    this.#pump();
    while (this.#inFlight.size > 0) await Promise.race(this.#inFlight);
    if (this.#failure) throw this.#failure;
  }

  #pump(): void {
    while (this.#upload && !this.#failure && this.#inFlight.size < this.#partsInFlight) {
      if (this.#compressor.readyBytes < this.#partBytes) break;
      this.#send(this.#compressor.take(this.#partBytes), this.#upload);
    }
    this.#wake();
  }

  #send(part: Buffer, begun: Promise<Upload>): void {
    const { patiently, memory } = this.#parts;
    const { number, offset } = this.#nextPart(part);
    const sending = begun
      .then((upload) => patiently(`upload ${this.#key}`, () => upload.write(part, number, offset)))
      .catch((error: unknown) => this.#fail(error))
      .finally(() => {
        memory.release(part.length);
        this.#inFlight.delete(sending);
        this.#pump();
      });
    this.#inFlight.add(sending);
  }

  #nextPart(part: Buffer): { number: number; offset: number } {
    const place = { number: ++this.#partNumber, offset: this.#partOffset };
    this.#partOffset += part.length;
    return place;
  }

  #fail(error: unknown): void {
    this.#failure ??= error;
    this.#wake();
  }

  #wake(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resolve of waiting) resolve();
  }
}

function bufferOf(bytes: number): Buffer {
  return bytes === CHUNK_BYTES ? takeChunk() : Buffer.allocUnsafeSlow(bytes);
}
