import { setTimeout as delay } from "node:timers/promises";
import type { LogDocument } from "../../src/core/document.ts";
import { LOG_FOLDER } from "../../src/core/layout.ts";
import type { Store } from "../../src/stores/store.ts";

/** All documents of the log, oldest first. */
export async function documentsOf(store: Store): Promise<LogDocument[]> {
  const documents: LogDocument[] = [];
  for await (const key of store.list(LOG_FOLDER)) {
    const bytes = await store.get(key);
    if (bytes) documents.push(JSON.parse(bytes.toString("utf8")) as LogDocument);
  }
  return documents;
}

export async function newestDocument(store: Store): Promise<LogDocument> {
  const newest = (await documentsOf(store)).at(-1);
  if (!newest) throw new Error("there is no log yet");
  return newest;
}

/** Polls until the answer fits; rejects with the last one if it does not in time. */
export async function until<T>(
  ask: () => Promise<T>,
  fits: (answer: T) => boolean,
  withinMs = 30_000,
): Promise<T> {
  const deadline = performance.now() + withinMs;
  for (;;) {
    const answer = await ask();
    if (fits(answer)) return answer;
    if (performance.now() > deadline) throw new Error(`still ${JSON.stringify(answer)} after ${withinMs} ms`);
    await delay(20);
  }
}
