import type { LogFile } from "../core/document.ts";
import { BusyError, OperatorError } from "../core/errors.ts";
import type { Lsn } from "../core/lsn.ts";
import type { Store } from "../stores/store.ts";
import type { Delivery } from "./delivery.ts";
import type { Patiently } from "./file-writer.ts";
import { readDocument, type Reading } from "./log.ts";
import { discardLeftovers, findLeftovers, publishLast } from "./recover.ts";
import type { State, TableEvent } from "./state.ts";

export interface TakingOver {
  readonly store: Store;
  readonly patiently: Patiently;
  readonly delivery: Delivery;
  /** What the log said when the slot became ours; null if there was none. */
  readonly reading: Reading | null;
  /** Where streaming goes on. */
  readonly from: Lsn;
  /** Recorded files that can no longer be published. */
  readonly lost: (files: readonly LogFile[]) => void;
  /** Leftovers could not be thrown away, which does not matter: the next start tries again. */
  readonly notDiscarded: (error: OperatorError) => void;
}

/**
 * Does the last document again and writes one of our own after it: from here on a daemon that we replaced fails at its
 * next write to the log. Only then are uploads that nobody recorded thrown away. Returns how many those were.
 */
export async function takeOver(own: TakingOver): Promise<number> {
  const { store, patiently, delivery, reading, from } = own;
  const next = delivery.state.sequence + 1;
  if (await patiently("read the log", () => readDocument(store, next))) {
    throw new BusyError("the daemon before us has written to the log meanwhile");
  }
  const lost = reading ? await publishLast(store, reading.last, patiently) : [];
  if (lost.length > 0) own.lost(lost);
  const events: TableEvent[] = copyAgain(delivery.state, lost);
  if (reading?.damage) events.push({ event: "copyAll", reason: reading.damage });
  const isFirst = delivery.state.endLsn === null;
  if (isFirst && Object.keys(delivery.state.tables).length > 0) {
    // Changes between a snapshot and the new slot were never streamed.
    events.push({ event: "copyAll", reason: "the stage held snapshots, and is streamed from now on" });
  }
  const leftovers = await ifAllowed(own, () => patiently("look for leftovers", () => findLeftovers(store)));
  const nothing = { files: [], firstLsn: null, committedAt: null };
  await delivery.submit({ kind: "start", ...nothing, events, endLsn: from });
  if (!leftovers) return 0;
  const discard = (): Promise<number> =>
    patiently("discard uploads", () => discardLeftovers(store, leftovers));
  return (await ifAllowed(own, discard)) ?? 0;
}

/** Null if only a person can help, which is told: leftovers cost a little money, and nothing else. */
async function ifAllowed<T>(own: TakingOver, tidy: () => Promise<T>): Promise<T | null> {
  try {
    return await tidy();
  } catch (error) {
    if (!(error instanceof OperatorError)) throw error;
    own.notDiscarded(error);
    return null;
  }
}

/** Files that were recorded and are gone: their tables have a hole that only a new copy mends. */
export function copyAgain(state: State, lost: readonly LogFile[]): TableEvent[] {
  const copy = { phase: "pending", reason: "a staged file was gone before it could be published" } as const;
  return [...new Set(lost.map((file) => file.oid))].flatMap((oid): TableEvent[] => {
    const record = state.tables[oid];
    return record ? [{ event: "table", table: { ...record, copy } }] : [];
  });
}
