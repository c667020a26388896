import { createHash } from "node:crypto";
import type { Receipt, Store } from "../../src/stores/store.ts";

/** Uploads a file in parts of the smallest size. */
export async function stageFile(store: Store, key: string, bytes: Buffer): Promise<Receipt> {
  const upload = await store.begin(key);
  for (let at = 0; at < bytes.length; at += store.minPartBytes) {
    await upload.write(bytes.subarray(at, at + store.minPartBytes), at / store.minPartBytes + 1, at);
  }
  return upload.finish();
}

export function checksum(bytes: Buffer): string {
  return `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
}

export async function keysOf(
  store: Store,
  prefix: string,
  options?: { startAfter?: string },
): Promise<string[]> {
  const keys: string[] = [];
  for await (const key of store.list(prefix, options)) keys.push(key);
  return keys;
}

/** Runs many, a few at a time. */
export async function inTurns<T>(items: readonly T[], run: (item: T) => Promise<unknown>): Promise<void> {
  const left = [...items];
  const worker = async (): Promise<void> => {
    for (let item = left.pop(); item !== undefined; item = left.pop()) await run(item);
  };
  await Promise.all(Array.from({ length: 16 }, worker));
}
