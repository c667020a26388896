import { randomUUID } from "node:crypto";
import { type BigIntStats, createReadStream } from "node:fs";
import { readFile, rename, statfs } from "node:fs/promises";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { STAGED_FOLDER } from "../core/layout.ts";
import { checksumOf } from "./checksum.ts";
import { occupied } from "./classified.ts";
import { classifyDiskError, hasCode } from "./directory-errors.ts";
import { foldersOf, walkFiles } from "./directory-list.ts";
import { DirectoryUpload, MIN_PART_BYTES } from "./directory-upload.ts";
import { DurableFolders, linkIfFree, syncFolder, unlinkIfThere } from "./durable.ts";
import { isMissing, namesIn, readRange, statIfThere, writeDurably } from "./files.ts";
import { safeKey, safePrefix } from "./keys.ts";
import { probeStep, probeStore, type Finding } from "./probe.ts";
import type { ProbeResult, Receipt, Store, Upload } from "./store.ts";

/** Names of unfinished documents in the staging folder begin so; uploads there have a UUID for a name. */
const TEMPORARY = "tmp-";

/** Below this `check` warns: one batch and its pack may need it. */
const LITTLE_SPACE_BYTES = 1024 ** 3;

/**
 * A stage in a directory. Every file appears under its key whole and durable, by a hard link or a rename, and a link
 * never replaces: a crash at any instruction leaves at most names in the staging folder, for discardUploads.
 */
export class DirectoryStore implements Store {
  readonly url: string;
  readonly minPartBytes = MIN_PART_BYTES;
  readonly #root: string;
  readonly #folders: DurableFolders;
  readonly #staging: string;

  /** Touches nothing. The directory is made by the first write, if the folder that it stands in exists. */
  constructor(root: string) {
    this.#root = root.length > 1 ? root.replace(/\/+$/, "") : root;
    this.url = pathToFileURL(this.#root).href;
    this.#folders = new DurableFolders(this.#root);
    this.#staging = join(this.#root, STAGED_FOLDER.slice(0, -1));
  }

  async begin(key: string): Promise<Upload> {
    const path = this.#path(key);
    return this.#run(path, async () => {
      await this.#folders.ensure(this.#staging);
      return DirectoryUpload.begin(this.#staging, (run) => this.#run(path, run));
    });
  }

  async publish(key: string, receipt: Receipt): Promise<"published" | "gone"> {
    const path = this.#path(key);
    const staged = this.#stagedPath(receipt.id);
    return this.#runTwice(path, async () => {
      const mine = await statIfThere(staged);
      // Nothing is gone as long as the file system with it is only away.
      if (mine === null) await this.#folders.assertRoot();
      // A staged file of another size was damaged; what is recorded cannot be published any more.
      if (mine === null || mine.size !== BigInt(receipt.bytes)) return publishedBefore(path, receipt.bytes);
      if ((await this.#linkInto(staged, path)) === "taken") await assertSameFile(mine, path);
      await syncFolder(dirname(path));
      await unlinkIfThere(staged);
      return "published";
    });
  }

  async publishBytes(key: string, bytes: Buffer, _checksum: string): Promise<void> {
    const path = this.#path(key);
    if ((await this.#create(path, bytes)) === "exists") throw occupied(path, "with another checksum");
  }

  async has(key: string, checksum: string): Promise<boolean> {
    const path = this.#path(key);
    return this.#run(path, async () => {
      try {
        return (await checksumOf(createReadStream(path))) === checksum;
      } catch (error) {
        if (!isMissing(error)) throw error;
        await this.#folders.assertRoot();
        return false;
      }
    });
  }

  async discardUploads(isNamed: (receiptId: string) => boolean): Promise<number> {
    return this.#run(this.#staging, async () => {
      let discarded = 0;
      for (const name of await namesIn(this.#staging)) {
        if (isNamed(name)) continue;
        await unlinkIfThere(join(this.#staging, name));
        if (!name.startsWith(TEMPORARY)) discarded++;
      }
      return discarded;
    });
  }

  async put(key: string, bytes: Buffer): Promise<void> {
    const path = this.#path(key);
    await this.#withTemporary(path, bytes, async (temporary) => {
      await this.#folders.ensure(dirname(path));
      await rename(temporary, path);
      await syncFolder(dirname(path));
    });
  }

  async putIfAbsent(key: string, bytes: Buffer): Promise<"created" | "exists"> {
    return this.#create(this.#path(key), bytes);
  }

  async get(key: string, range?: { offset: number; length: number }): Promise<Buffer | null> {
    const path = this.#path(key);
    return this.#run(path, async () => {
      try {
        return range === undefined ? await readFile(path) : await readRange(path, range);
      } catch (error) {
        if (!isMissing(error)) throw error;
        await this.#folders.assertRoot();
        return null;
      }
    });
  }

  async *list(prefix: string, options?: { startAfter?: string }): AsyncIterable<string> {
    const folder = join(this.#root, safePrefix(prefix));
    await this.#run(folder, () => this.#folders.assertRoot());
    const files = walkFiles(this.#root, prefix, options?.startAfter);
    for (;;) {
      const next = await this.#run(folder, () => files.next());
      if (next.done === true) return;
      yield next.value;
    }
  }

  async listFolders(prefix: string): Promise<string[]> {
    return this.#run(join(this.#root, safePrefix(prefix)), async () => {
      await this.#folders.assertRoot();
      return foldersOf(this.#root, prefix);
    });
  }

  async delete(keys: readonly string[]): Promise<void> {
    for (const key of keys) {
      const path = this.#path(key);
      await this.#run(path, () => unlinkIfThere(path));
    }
  }

  async probe(): Promise<ProbeResult[]> {
    const results = await probeStore(this);
    if (results.some(({ verdict }) => verdict === "fail")) return results;
    return [...results, await probeStep("stage space", () => findSpace(this.#root))];
  }

  close(): void {}

  /** Writes a file if its key is free; `created` also if it holds exactly these bytes already. */
  async #create(path: string, bytes: Buffer): Promise<"created" | "exists"> {
    return this.#withTemporary(path, bytes, async (temporary) => {
      const linked = await this.#linkInto(temporary, path);
      if (linked === "taken" && !(await readFile(path)).equals(bytes)) return "exists";
      await syncFolder(dirname(path));
      return "created";
    });
  }

  /** Links into a folder that may not be there yet. */
  async #linkInto(from: string, to: string): Promise<"linked" | "taken"> {
    await this.#folders.ensure(dirname(to));
    return linkIfFree(from, to);
  }

  /** Runs `use` with a durable file of these bytes that nobody sees, and removes that name afterwards. */
  async #withTemporary<T>(path: string, bytes: Buffer, use: (temporary: string) => Promise<T>): Promise<T> {
    return this.#runTwice(path, async () => {
      const temporary = join(this.#staging, TEMPORARY + randomUUID());
      await this.#folders.ensure(this.#staging);
      try {
        await writeDurably(temporary, bytes);
        return await use(temporary);
      } finally {
        await unlinkIfThere(temporary);
      }
    });
  }

  /**
   * As #run, once more if a name was missing: a folder was removed, another call published first, or a daemon that
   * starts has tidied up.
   */
  async #runTwice<T>(path: string, operation: () => Promise<T>): Promise<T> {
    return this.#run(path, async () => {
      try {
        return await operation();
      } catch (error) {
        if (!hasCode(error, "ENOENT")) throw error;
        this.#folders.forget();
        return operation();
      }
    });
  }

  /** Classifies what an operation throws. After a missing file, folders are looked at again, and so is the root. */
  async #run<T>(path: string, operation: () => Promise<T>): Promise<T> {
    try {
      return await operation();
    } catch (error) {
      if (hasCode(error, "ENOENT")) {
        this.#folders.forget();
        await this.#folders.assertRoot();
      }
      throw classifyDiskError(error, path);
    }
  }

  #path(key: string): string {
    return join(this.#root, safeKey(key));
  }

  #stagedPath(id: string): string {
    if (!/^[0-9a-f-]{36}$/.test(id))
      throw new RangeError(`not a receipt of a directory: ${JSON.stringify(id)}`);
    return join(this.#staging, id);
  }
}

/** Nothing is staged any more: an earlier call published it, or it is lost. */
async function publishedBefore(path: string, bytes: number): Promise<"published" | "gone"> {
  const there = await statIfThere(path);
  if (there === null) return "gone";
  if (there.size !== BigInt(bytes)) throw occupied(path, "with another size");
  await syncFolder(dirname(path));
  return "published";
}

/** A crash between link and unlink leaves two names of one file; any other file under the key is somebody else's. */
async function assertSameFile(mine: BigIntStats, path: string): Promise<void> {
  const there = await statIfThere(path);
  if (there?.ino !== mine.ino || there.dev !== mine.dev) throw occupied(path, "with other content");
}

async function findSpace(root: string): Promise<Finding> {
  const { bavail, bsize } = await statfs(root);
  return judgeSpace(bavail * bsize, root);
}

/** What `check` says of so many bytes free below `root`. */
export function judgeSpace(freeBytes: number, root: string): Finding {
  const found = `${Math.floor(freeBytes / 1024 ** 2)} MiB are free in ${root}`;
  if (freeBytes >= LITTLE_SPACE_BYTES) return found;
  return {
    verdict: "warn",
    found,
    mend: "make room, or move the stage: a full disk stops the pipeline until there is some",
  };
}
