import type { BigIntStats } from "node:fs";
import { open, opendir, stat } from "node:fs/promises";
import { hasCode } from "./directory-errors.ts";
import { writeFully } from "./durable.ts";

/** Null if there is nothing of that name. */
export async function statIfThere(path: string): Promise<BigIntStats | null> {
  try {
    return await stat(path, { bigint: true });
  } catch (error) {
    if (hasCode(error, "ENOENT") || hasCode(error, "ENOTDIR")) return null;
    throw error;
  }
}

/** Nothing is readable under this name. */
export function isMissing(error: unknown): boolean {
  return ["ENOENT", "ENOTDIR", "EISDIR"].some((code) => hasCode(error, code));
}

/** Writes a new file; its bytes survive a power cut, its name does once its folder is synced. */
export async function writeDurably(path: string, bytes: Buffer): Promise<void> {
  const handle = await open(path, "wx");
  try {
    await writeFully(handle, bytes, 0);
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Bytes of a file from `offset` on, as many of `length` as there are. */
export async function readRange(
  path: string,
  { offset, length }: { offset: number; length: number },
): Promise<Buffer> {
  const handle = await open(path, "r");
  try {
    const { size } = await handle.stat();
    const bytes = Buffer.alloc(Math.max(0, Math.min(length, size - offset)));
    let done = 0;
    while (done < bytes.length) {
      const { bytesRead } = await handle.read(bytes, done, bytes.length - done, offset + done);
      if (bytesRead === 0) break;
      done += bytesRead;
    }
    return bytes.subarray(0, done);
  } finally {
    await handle.close();
  }
}

/** Names in a folder, in no order; none if it is missing. */
export async function namesIn(folder: string): Promise<string[]> {
  try {
    const names: string[] = [];
    for await (const entry of await opendir(folder)) names.push(entry.name);
    return names;
  } catch (error) {
    if (hasCode(error, "ENOENT")) return [];
    throw error;
  }
}
