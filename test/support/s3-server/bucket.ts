import { randomUUID } from "node:crypto";
import {
  appendFileSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import type { ChecksumName } from "./checksums.ts";

/** What a client said about an object, and gets back with it. Names are those of headers, in lower case. */
export interface Properties {
  readonly contentType: string;
  /** `content-encoding`, `cache-control` and the like, `x-amz-meta-*`, `x-amz-server-side-encryption*`, storage class. */
  readonly headers: Readonly<Record<string, string>>;
}

export interface Blob {
  readonly id: string;
  readonly bytes: number;
}

export interface ObjectRecord {
  readonly key: string;
  /** Without quotes. */
  readonly etag: string;
  readonly bytes: number;
  readonly modifiedMs: number;
  readonly properties: Properties;
  readonly checksum: { readonly name: ChecksumName; readonly value: string } | null;
  /** The content, in order. */
  readonly blobs: readonly Blob[];
}

export interface PartRecord {
  readonly number: number;
  readonly etag: string;
  readonly md5: string;
  readonly checksum: string | null;
  readonly blob: Blob;
}

export interface UploadRecord {
  readonly id: string;
  readonly key: string;
  readonly initiatedMs: number;
  readonly properties: Properties;
  readonly checksumName: ChecksumName | null;
  readonly parts: readonly PartRecord[];
}

/** What may happen to a bucket; one line of its journal. */
type Change =
  | { readonly put: ObjectRecord; readonly completes?: string }
  | { readonly remove: string }
  | { readonly begin: UploadRecord }
  | { readonly upload: string; readonly part: PartRecord }
  | { readonly abort: string };

/**
 * Objects and uploads of one bucket. A change takes effect in one synchronous step, so conditions that were looked
 * at in the same step hold; it is on disk (a journal line) before anybody is answered, and read back at the next start.
 */
export class Bucket {
  readonly name: string;
  readonly #dir: string;
  readonly #objects = new Map<string, ObjectRecord>();
  readonly #uploads = new Map<string, UploadRecord>();
  #order: string[] | null = [];

  constructor(dir: string, name: string) {
    this.name = name;
    this.#dir = join(dir, name);
    mkdirSync(join(this.#dir, "blobs"), { recursive: true });
    this.#load();
  }

  object(key: string): ObjectRecord | undefined {
    return this.#objects.get(key);
  }

  upload(id: string): UploadRecord | undefined {
    return this.#uploads.get(id);
  }

  /** In the order of their keys' UTF-8 bytes. */
  keys(): readonly string[] {
    this.#order ??= sortedByUtf8([...this.#objects.keys()]);
    return this.#order;
  }

  /** In the order of key and time. */
  uploads(): readonly UploadRecord[] {
    const all = [...this.#uploads.values()];
    const keys = sortedByUtf8([...new Set(all.map((upload) => upload.key))]);
    const rank = new Map(keys.map((key, index) => [key, index]));
    return all.sort(
      (a, b) => (rank.get(a.key) ?? 0) - (rank.get(b.key) ?? 0) || a.initiatedMs - b.initiatedMs,
    );
  }

  newBlob(): { id: string; path: string } {
    const id = randomUUID();
    return { id, path: this.blobPath(id) };
  }

  blobPath(id: string): string {
    return join(this.#dir, "blobs", id);
  }

  dropBlob(id: string): void {
    rmSync(this.blobPath(id), { force: true });
  }

  apply(change: Change): void {
    appendFileSync(this.#journal, `${JSON.stringify(change)}\n`);
    for (const blob of this.#remember(change)) this.dropBlob(blob.id);
  }

  get #journal(): string {
    return join(this.#dir, "journal");
  }

  /** Returns the blobs that nothing refers to any more. */
  #remember(change: Change): readonly Blob[] {
    if ("put" in change) {
      const before = this.#objects.get(change.put.key);
      this.#objects.set(change.put.key, change.put);
      if (before === undefined) this.#order = null;
      const used = new Set(change.put.blobs.map((blob) => blob.id));
      const parts = change.completes === undefined ? [] : this.#end(change.completes);
      return [...(before?.blobs ?? []), ...parts].filter((blob) => !used.has(blob.id));
    }
    if ("remove" in change) {
      const before = this.#objects.get(change.remove);
      this.#objects.delete(change.remove);
      this.#order = null;
      return before?.blobs ?? [];
    }
    if ("begin" in change) {
      this.#uploads.set(change.begin.id, change.begin);
      return [];
    }
    if ("abort" in change) return this.#end(change.abort);
    return this.#rememberPart(change.upload, change.part);
  }

  #rememberPart(id: string, part: PartRecord): readonly Blob[] {
    const upload = this.#uploads.get(id);
    if (upload === undefined) return [part.blob];
    const others = upload.parts.filter((other) => other.number !== part.number);
    const replaced = upload.parts.filter((other) => other.number === part.number);
    const parts = [...others, part].sort((a, b) => a.number - b.number);
    this.#uploads.set(id, { ...upload, parts });
    return replaced.map((other) => other.blob);
  }

  #end(uploadId: string): readonly Blob[] {
    const upload = this.#uploads.get(uploadId);
    this.#uploads.delete(uploadId);
    return upload?.parts.map((part) => part.blob) ?? [];
  }

  /** Reads the journal and writes it anew, shorter. A killed server may leave half a line at its end. */
  #load(): void {
    for (const line of readLines(this.#journal)) this.#remember(JSON.parse(line) as Change);
    const puts = [...this.#objects.values()].map((put): Change => ({ put }));
    const begins = [...this.#uploads.values()].map((begin): Change => ({ begin }));
    const lines = [...puts, ...begins].map((change) => `${JSON.stringify(change)}\n`);
    writeFileSync(`${this.#journal}.new`, lines.join(""));
    renameSync(`${this.#journal}.new`, this.#journal);
    const used = new Set(
      [...this.#objects.values()].flatMap((object) => object.blobs.map((blob) => blob.id)),
    );
    for (const upload of this.#uploads.values()) for (const part of upload.parts) used.add(part.blob.id);
    for (const id of readdirSync(join(this.#dir, "blobs"))) if (!used.has(id)) this.dropBlob(id);
  }
}

function readLines(path: string): string[] {
  try {
    return readFileSync(path, "utf8").split("\n").slice(0, -1);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw error;
  }
}

function sortedByUtf8(texts: string[]): string[] {
  return texts
    .map((text) => Buffer.from(text))
    .sort((a, b) => Buffer.compare(a, b))
    .map((bytes) => bytes.toString());
}
