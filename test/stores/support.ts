import { createHash, randomUUID } from "node:crypto";
import type { Receipt, Store } from "../../src/stores/store.ts";

/** Two views of one stage. */
export interface Stores {
  readonly store: Store;
  /** Another instance, as after a restart. */
  readonly other: Store;
}

/** A data file's key that no other test uses. */
export function freshKey(): string {
  const table = randomUUID().slice(0, 8);
  return `public/${table}/2026/11/22/07/00000000015F0010-0000000001640258-0001.csv.gz`;
}

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
