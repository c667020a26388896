import type { LogDocument, LogFile } from "../core/document.ts";
import { PACKS_FOLDER } from "../core/layout.ts";
import type { Store } from "../stores/store.ts";
import { publishFiles } from "./delivery.ts";
import type { Patiently } from "./file-writer.ts";

/**
 * Does the last document again: publishes what it names, which is harmless if it is published already. Documents
 * before the last one are published, because each was before the next was written. Returns the files that were
 * recorded and can no longer be published.
 */
export async function publishLast(store: Store, last: LogDocument, patiently: Patiently): Promise<LogFile[]> {
  return publishFiles(store, last.files, { patiently, inMemory: () => null });
}

/** Uploads (ids of their receipts) and packs that were there at one moment. */
export interface Leftovers {
  readonly uploads: ReadonlySet<string>;
  readonly packs: readonly string[];
}

/**
 * What may be left by daemons before us. Looked for before a document of our own is written: whoever replaces us
 * begins after that, so nothing of theirs is among it, however late it is thrown away.
 */
export async function findLeftovers(store: Store): Promise<Leftovers> {
  const uploads = new Set<string>();
  // Claims all of them: nothing is discarded yet.
  await store.discardUploads((id) => {
    uploads.add(id);
    return true;
  });
  const packs: string[] = [];
  for await (const key of store.list(PACKS_FOLDER)) packs.push(key);
  return { uploads, packs };
}

/**
 * Throws away what nobody recorded. Only after a document of our own follows the last one: before that, a daemon
 * that we replace may still record its uploads.
 */
export async function discardLeftovers(store: Store, { uploads, packs }: Leftovers): Promise<number> {
  const discarded = await store.discardUploads((id) => !uploads.has(id));
  if (packs.length > 0) await store.delete(packs);
  return discarded;
}
