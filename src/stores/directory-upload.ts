import { randomUUID } from "node:crypto";
import { access, type FileHandle, open } from "node:fs/promises";
import { join } from "node:path";
import { messageOf, UploadLostError } from "../core/errors.ts";
import { hasCode } from "./directory-errors.ts";
import { syncFolder, unlinkIfThere, writeFully } from "./durable.ts";
import { wholeFile, type StoredPart } from "./parts.ts";
import type { Receipt, Upload } from "./store.ts";

/** S3 has a smallest part; here it only saves system calls. */
export const MIN_PART_BYTES = 1024 * 1024;

/** Runs an operation and classifies what it throws. */
export type Classify = <T>(run: () => Promise<T>) => Promise<T>;

/** A file in the staging folder, which listings leave out. */
export class DirectoryUpload implements Upload {
  readonly #id: string;
  readonly #folder: string;
  readonly #handle: FileHandle;
  readonly #classify: Classify;
  readonly #written = new Map<number, StoredPart>();
  readonly #underWay = new Set<Promise<void>>();
  #open = true;
  /** Why the disk does not have all of it. */
  #unwritten: unknown = null;

  private constructor(opened: { id: string; folder: string; handle: FileHandle; classify: Classify }) {
    this.#id = opened.id;
    this.#folder = opened.folder;
    this.#handle = opened.handle;
    this.#classify = opened.classify;
  }

  /** `folder` is the staging folder, and is there. */
  static async begin(folder: string, classify: Classify): Promise<DirectoryUpload> {
    const id = randomUUID();
    const handle = await open(join(folder, id), "wx");
    return new DirectoryUpload({ id, folder, handle, classify });
  }

  async write(part: Buffer, number: number, offset: number): Promise<void> {
    const writing = this.#classify(() => writeFully(this.#handle, part, offset));
    this.#underWay.add(writing);
    try {
      await writing;
      this.#written.set(number, { number, offset, bytes: part.length });
    } finally {
      this.#underWay.delete(writing);
    }
  }

  /** Everything is durable from here on: the bytes, and the name in the staging folder. */
  async finish(): Promise<Receipt> {
    await Promise.all(this.#underWay);
    const { bytes } = wholeFile(this.#written.values(), MIN_PART_BYTES);
    await this.#classify(async () => {
      if (this.#open) await this.#sync();
      await this.#close();
      await this.#assertNamed();
      await syncFolder(this.#folder);
    });
    return { id: this.#id, bytes };
  }

  async abort(): Promise<void> {
    await Promise.allSettled(this.#underWay);
    await this.#classify(async () => {
      await this.#close();
      await unlinkIfThere(join(this.#folder, this.#id));
    });
  }

  /**
   * What could not be written is told once: the kernel drops the pages, and the next fsync succeeds (PostgreSQL wiki,
   * "Fsync Errors"). So the file is given up, and its rows are received again.
   */
  async #sync(): Promise<void> {
    try {
      await this.#handle.sync();
    } catch (error) {
      this.#unwritten ??= error;
    }
    if (this.#unwritten === null) return;
    const path = join(this.#folder, this.#id);
    throw new UploadLostError(`${path} could not be written to the disk: ${messageOf(this.#unwritten)}`, {
      cause: this.#unwritten,
    });
  }

  /** An open file can be written after its name was removed. */
  async #assertNamed(): Promise<void> {
    try {
      await access(join(this.#folder, this.#id));
    } catch (error) {
      if (!hasCode(error, "ENOENT")) throw error;
      throw new UploadLostError(`${join(this.#folder, this.#id)} was removed while it was written`);
    }
  }

  async #close(): Promise<void> {
    if (!this.#open) return;
    this.#open = false;
    await this.#handle.close();
  }
}
