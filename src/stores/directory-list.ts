import type { Dirent } from "node:fs";
import { opendir } from "node:fs/promises";
import { join } from "node:path";
import { STAGED_FOLDER } from "../core/layout.ts";
import { hasCode } from "./directory-errors.ts";
import { compareUtf8 } from "./keys.ts";

/**
 * Keys of the files below a folder, in the order of their UTF-8 bytes, as S3 lists them. One folder's names are in
 * memory at a time, with those of the folders above it. Missing folders are empty.
 */
export async function* walkFiles(root: string, prefix: string, startAfter = ""): AsyncGenerator<string> {
  for (const key of await childrenOf(root, prefix, startAfter)) {
    if (key.endsWith("/")) yield* walkFiles(root, key, startAfter);
    else yield key;
  }
}

/** Names of the folders directly below that hold a file, at any depth: S3 has no empty folders. */
export async function foldersOf(root: string, prefix: string): Promise<string[]> {
  const folders: string[] = [];
  for (const key of await childrenOf(root, prefix, "")) {
    if (key.endsWith("/") && (await holdsFile(root, key))) folders.push(key.slice(prefix.length));
  }
  return folders;
}

async function holdsFile(root: string, folder: string): Promise<boolean> {
  const { done } = await walkFiles(root, folder).next();
  return done !== true;
}

/** Keys of the files, and of the folders with their slash, directly below a folder, from `startAfter` on, in order. */
async function childrenOf(root: string, prefix: string, startAfter: string): Promise<string[]> {
  const keys: string[] = [];
  try {
    for await (const entry of await opendir(join(root, prefix))) {
      const key = keyOf(prefix, entry);
      if (key !== null && isAfter(key, startAfter)) keys.push(key);
    }
  } catch (error) {
    if (!hasCode(error, "ENOENT") && !hasCode(error, "ENOTDIR")) throw error;
  }
  // With its slash a folder stands where its files do: after `a-b`, before `a0`.
  return keys.sort(compareUtf8);
}

/** Null for what is not part of the stage: uploads that are not published, sockets, symbolic links. */
function keyOf(prefix: string, entry: Dirent): string | null {
  if (entry.isFile()) return prefix + entry.name;
  const folder = `${prefix}${entry.name}/`;
  return entry.isDirectory() && folder !== STAGED_FOLDER ? folder : null;
}

/** A folder also counts if files in it may come after. */
function isAfter(key: string, startAfter: string): boolean {
  return compareUtf8(key, startAfter) > 0 || (key.endsWith("/") && startAfter.startsWith(key));
}
