import { type FileHandle, link, mkdir, open, stat, unlink } from "node:fs/promises";
import { dirname } from "node:path";
import { OperatorError } from "../core/errors.ts";
import { hasCode } from "./directory-errors.ts";

/** Folders remembered as durable; beyond it they are looked at again. A folder an hour and table comes up. */
const REMEMBERED_FOLDERS = 10_000;

/**
 * Makes folders that survive a power cut. A new folder is durable once its parent is synced; one that is found may
 * have been made by a process that died before it synced, so the first use by this process syncs as well.
 */
export class DurableFolders {
  readonly root: string;
  readonly #known = new Set<string>();
  /** Null until it is there. Under the same name an unmounted file system leaves another folder. */
  #rootInode: bigint | null = null;

  constructor(root: string) {
    this.root = root;
  }

  /** Makes a folder at or below the root. */
  async ensure(folder: string): Promise<void> {
    if (this.#known.has(folder)) return;
    if (folder === this.root) {
      await this.#ensureRoot();
    } else {
      const parent = dirname(folder);
      await this.ensure(parent);
      await makeFolder(folder);
      await syncFolder(parent);
    }
    if (this.#known.size >= REMEMBERED_FOLDERS) this.#known.clear();
    this.#known.add(folder);
  }

  /** Something below a remembered folder was missing: whatever is remembered may be wrong. */
  forget(): void {
    this.#known.clear();
  }

  /** Rejects with an OperatorError if the root was there and is not any more, or is not the same folder. */
  async assertRoot(): Promise<void> {
    const inode = await inodeOf(this.root);
    this.#rootInode ??= inode;
    if (inode !== this.#rootInode) {
      throw new OperatorError(
        `the stage directory ${this.root} has vanished`,
        "mount or restore it, then start again: staged and published files were in it",
      );
    }
  }

  /** Makes the root in a folder that exists, but only once: a stage that vanishes is not started afresh. */
  async #ensureRoot(): Promise<void> {
    await this.assertRoot();
    if (this.#rootInode !== null) return;
    try {
      await makeFolder(this.root);
    } catch (error) {
      if (!hasCode(error, "ENOENT")) throw error;
      throw new OperatorError(`the stage directory ${this.root} does not exist`, `mkdir -p ${this.root}`);
    }
    await syncFolder(dirname(this.root));
    this.#rootInode = await inodeOf(this.root);
  }
}

async function makeFolder(folder: string): Promise<void> {
  try {
    await mkdir(folder);
  } catch (error) {
    if (!hasCode(error, "EEXIST") && !(await isThere(folder))) throw error;
  }
}

async function isThere(path: string): Promise<boolean> {
  return (await inodeOf(path)) !== null;
}

async function inodeOf(path: string): Promise<bigint | null> {
  try {
    return (await stat(path, { bigint: true })).ino;
  } catch (error) {
    if (hasCode(error, "ENOENT")) return null;
    throw error;
  }
}

/** Makes a folder's entries durable: names that were added to it survive a power cut from here on. */
export async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, "r");
  try {
    await handle.sync();
  } catch (error) {
    // Some network file systems cannot sync a folder: there a name is as durable as it gets.
    if (!hasCode(error, "EINVAL")) throw error;
  } finally {
    await handle.close();
  }
}

/** Writes all of a buffer; one write may take less than it is given. */
export async function writeFully(handle: FileHandle, bytes: Buffer, position: number): Promise<void> {
  let done = 0;
  while (done < bytes.length) {
    const { bytesWritten } = await handle.write(bytes, done, bytes.length - done, position + done);
    done += bytesWritten;
  }
}

/** Gives a file a second name, unless that name is taken. */
export async function linkIfFree(from: string, to: string): Promise<"linked" | "taken"> {
  try {
    await link(from, to);
    return "linked";
  } catch (error) {
    if (hasCode(error, "EEXIST")) return "taken";
    throw error;
  }
}

/** Removes a name; a missing one is fine. */
export async function unlinkIfThere(path: string): Promise<void> {
  try {
    await unlink(path);
  } catch (error) {
    if (!hasCode(error, "ENOENT")) throw error;
  }
}
