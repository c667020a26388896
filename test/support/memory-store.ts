import { createHash, randomUUID } from "node:crypto";
import { OperatorError, UploadLostError } from "../../src/core/errors.ts";
import { OWN_FOLDER } from "../../src/core/layout.ts";
import type { ProbeResult, Receipt, Store, Upload } from "../../src/stores/store.ts";

/** What is on the stage, whoever writes: outlives every daemon of a test. */
export class MemoryStage {
  readonly objects = new Map<string, Buffer>();
  readonly uploads = new Map<string, { readonly key: string; readonly parts: Map<number, Part> }>();
  /** Every content that a key has ever shown, as checksums, in order. */
  readonly shown = new Map<string, string[]>();
  /** Uploads were removed that somebody may still have wanted. */
  hasExpired = false;

  show(key: string, bytes: Buffer): void {
    const kept = Buffer.from(bytes);
    this.objects.set(key, kept);
    const sum = checksumOf(kept);
    const before = this.shown.get(key) ?? [];
    if (before.at(-1) !== sum) this.shown.set(key, [...before, sum]);
  }

  /** Keys in order of their bytes. */
  keys(prefix = ""): string[] {
    return [...this.objects.keys()].filter((key) => key.startsWith(prefix)).toSorted(byBytes);
  }

  /** Keys outside of the daemon's own folder. */
  dataKeys(): string[] {
    return this.keys().filter((key) => !key.startsWith(OWN_FOLDER));
  }

  /** What a rule of the bucket does to uploads that nobody completes. */
  expireUploads(): void {
    if (this.uploads.size > 0) this.hasExpired = true;
    this.uploads.clear();
  }
}

interface Part {
  readonly offset: number;
  readonly bytes: Buffer;
}

function byBytes(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}

export function checksumOf(bytes: Buffer): string {
  return `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
}

/** The contract of src/stores/store.ts in memory. Every effect is one step: it happens or it does not. */
export class MemoryStore implements Store {
  readonly url = "memory:";
  readonly minPartBytes: number;
  readonly #stage: MemoryStage;

  constructor(stage: MemoryStage, minPartBytes = 1) {
    this.#stage = stage;
    this.minPartBytes = minPartBytes;
  }

  async begin(key: string): Promise<Upload> {
    const id = randomUUID();
    this.#stage.uploads.set(id, { key, parts: new Map() });
    return new MemoryUpload(this.#stage, id, this.minPartBytes);
  }

  async publish(key: string, receipt: Receipt): Promise<"published" | "gone"> {
    const upload = this.#stage.uploads.get(receipt.id);
    const there = this.#stage.objects.get(key);
    if (!upload) return there && checksumOf(there) === receipt["checksum"] ? "published" : "gone";
    const bytes = joined(upload.parts);
    if (upload.key !== key || bytes.length !== receipt.bytes) throw new Error(`another upload than ${key}`);
    if (there && !there.equals(bytes)) throw new OperatorError(`${key} is there with other content`, "");
    this.#stage.show(key, bytes);
    this.#stage.uploads.delete(receipt.id);
    return "published";
  }

  async publishBytes(key: string, bytes: Buffer, checksum: string): Promise<void> {
    if (checksumOf(bytes) !== checksum) throw new Error(`${key}: the bytes are not what their checksum says`);
    const there = this.#stage.objects.get(key);
    if (there && checksumOf(there) !== checksum)
      throw new OperatorError(`${key} is there with other content`, "");
    if (!there) this.#stage.show(key, bytes);
  }

  async has(key: string, checksum: string): Promise<boolean> {
    const there = this.#stage.objects.get(key);
    return there !== undefined && checksumOf(there) === checksum;
  }

  async discardUploads(isNamed: (receiptId: string) => boolean): Promise<number> {
    const unnamed = [...this.#stage.uploads.keys()].filter((id) => !isNamed(id));
    for (const id of unnamed) this.#stage.uploads.delete(id);
    return unnamed.length;
  }

  async put(key: string, bytes: Buffer): Promise<void> {
    this.#stage.show(key, bytes);
  }

  async putIfAbsent(key: string, bytes: Buffer): Promise<"created" | "exists"> {
    const there = this.#stage.objects.get(key);
    if (there) return there.equals(bytes) ? "created" : "exists";
    this.#stage.show(key, bytes);
    return "created";
  }

  async get(key: string, range?: { offset: number; length: number }): Promise<Buffer | null> {
    const there = this.#stage.objects.get(key);
    if (!there) return null;
    const span = range ? there.subarray(range.offset, range.offset + range.length) : there;
    return Buffer.from(span);
  }

  async *list(prefix: string, options?: { startAfter?: string }): AsyncIterable<string> {
    const after = options?.startAfter;
    for (const key of this.#stage.keys(prefix)) if (after === undefined || byBytes(key, after) > 0) yield key;
  }

  async listFolders(prefix: string): Promise<string[]> {
    const folders = this.#stage.keys(prefix).flatMap((key) => {
      const slash = key.indexOf("/", prefix.length);
      return slash < 0 ? [] : [key.slice(prefix.length, slash + 1)];
    });
    return [...new Set(folders)];
  }

  async delete(keys: readonly string[]): Promise<void> {
    for (const key of keys) this.#stage.objects.delete(key);
  }

  async probe(): Promise<ProbeResult[]> {
    return [];
  }

  close(): void {}
}

class MemoryUpload implements Upload {
  readonly #stage: MemoryStage;
  readonly #id: string;
  readonly #minPartBytes: number;

  constructor(stage: MemoryStage, id: string, minPartBytes: number) {
    this.#stage = stage;
    this.#id = id;
    this.#minPartBytes = minPartBytes;
  }

  async write(part: Buffer, number: number, offset: number): Promise<void> {
    this.#parts().set(number, { offset, bytes: Buffer.from(part) });
  }

  async finish(): Promise<Receipt> {
    const parts = this.#parts();
    const numbers = [...parts.keys()].toSorted((a, b) => a - b);
    let end = 0;
    for (const [index, number] of numbers.entries()) {
      const part = parts.get(number) as Part;
      if (number !== index + 1 || part.offset !== end) throw new RangeError(`part ${number} leaves a gap`);
      if (number < numbers.length && part.bytes.length < this.#minPartBytes)
        throw new RangeError(`part ${number} is too small`);
      end += part.bytes.length;
    }
    return { id: this.#id, bytes: end, checksum: checksumOf(joined(parts)) };
  }

  async abort(): Promise<void> {
    this.#stage.uploads.delete(this.#id);
  }

  #parts(): Map<number, Part> {
    const upload = this.#stage.uploads.get(this.#id);
    if (!upload) throw new UploadLostError(`upload ${this.#id} is not known any more`);
    return upload.parts;
  }
}

function joined(parts: ReadonlyMap<number, Part>): Buffer {
  const numbers = [...parts.keys()].toSorted((a, b) => a - b);
  return Buffer.concat(numbers.map((number) => (parts.get(number) as Part).bytes));
}
