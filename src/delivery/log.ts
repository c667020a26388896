import { randomUUID } from "node:crypto";
import { DOCUMENT_FORMAT, type LogDocument } from "../core/document.ts";
import { OperatorError, ReplacedError } from "../core/errors.ts";
import { beforeLargePiece } from "../core/garbage.ts";
import { LOG_FOLDER, logKey, STATE_FOLDER, stateKey } from "../core/layout.ts";
import type { Store } from "../stores/store.ts";
import { applyDocument, unborn, type State } from "./state.ts";

/** A state document is written every so many log documents: what a start has to read at most. */
const DOCUMENTS_PER_STATE = 100;
/** … and at least so often, so that a bucket rule that expires old objects always leaves one. */
const STATE_EVERY_MS = 6 * 3_600_000;
/** State documents that are kept: the newest, and one in case it cannot be read. */
const STATES_KEPT = 2;
const READS_AT_ONCE = 16;

/** What the log says. */
export interface Reading {
  readonly state: State;
  /** The newest document: what recovery does again. */
  readonly last: LogDocument;
  /** Why everything has to be copied afresh, if documents are missing. */
  readonly damage: string | null;
  /** Keys of the state documents that are there. */
  readonly stateKeys: readonly string[];
  /**
   * When what was streamed last had committed, or nothing was left to stream, in ms since 1970; null if the documents
   * that were read do not tell. Those of copies and starts do not count: they say nothing of the stream.
   */
  readonly streamedUntilMs?: number | null;
}

/** Reads the log up to its end; null if there is none. Costs the same however long it is. */
export async function readLog(store: Store): Promise<Reading | null> {
  const newest = await newestSequence(store);
  if (newest === null) return null;
  const last = await readDocument(store, newest);
  if (!last) throw new OperatorError(`${logKey(newest)} vanished while it was read`, "start again");
  const stateKeys = await collect(store.list(STATE_FOLDER));
  const base = await newestState(store, stateKeys, newest);
  const from = base?.sequence ?? 0;
  const documents = await readRange(store, from + 1, newest);
  const missing = documents.filter((document) => document === null).length;
  let state = base ?? unborn(last.pipeline);
  for (const document of documents) if (document) state = applyDocument(state, document);
  const damage =
    missing === 0
      ? null
      : `${missing} log document(s) before ${logKey(newest)} are gone (a bucket rule, or a person)`;
  return { state, last, damage, stateKeys, streamedUntilMs: streamedUntil(documents) };
}

/**
 * Also by the clock of whoever wrote: a subscriber's own transactions lie between those that it applies, whose commit
 * times are their origin's, and so perhaps hours back.
 */
function streamedUntil(documents: readonly (LogDocument | null)[]): number | null {
  const times = documents.flatMap((document) => {
    const committedAt = document?.committedAt ?? null;
    if (!document || (document.kind !== "idle" && committedAt === null)) return [];
    const { time } = document;
    return [time, (committedAt ?? time).replace(" ", "T").replace("+00", "Z")].map((one) => Date.parse(one));
  });
  return times.length === 0 ? null : Math.max(...times);
}

async function collect(keys: AsyncIterable<string>): Promise<string[]> {
  const all: string[] = [];
  for await (const key of keys) all.push(key);
  return all;
}

async function newestSequence(store: Store): Promise<number | null> {
  const folders = await store.listFolders(LOG_FOLDER);
  for (const folder of folders.toReversed()) {
    let newest: string | undefined;
    for await (const key of store.list(LOG_FOLDER + folder)) newest = key;
    if (newest !== undefined) return sequenceOf(newest);
  }
  return null;
}

function sequenceOf(key: string): number {
  const sequence = Number(/(\d+)\.json$/.exec(key)?.[1]);
  // A copy under another name beside the documents would count as one of them, perhaps as the newest.
  if (key !== logKey(sequence) && key !== stateKey(sequence))
    throw new OperatorError(`${key} is not a log document`, `remove it, or choose another stage.url`);
  return sequence;
}

async function newestState(store: Store, keys: readonly string[], upTo: number): Promise<State | null> {
  for (const key of keys.toReversed()) {
    if (sequenceOf(key) > upTo) continue;
    const bytes = await store.get(key);
    const state = bytes && parse<State>(key, bytes);
    if (state && (await isOfThisLog(store, state))) return state;
  }
  return null;
}

/** States outlive a log that a bucket rule or a person removed: the next log begins at 1 again, and comes past them. */
async function isOfThisLog(store: Store, { sequence, writer }: State): Promise<boolean> {
  if (writer === undefined) return true;
  const document = await readDocument(store, sequence);
  return document === null || document.writer === writer;
}

async function readRange(store: Store, from: number, to: number): Promise<(LogDocument | null)[]> {
  const documents: (LogDocument | null)[] = [];
  // Documents older than that are only read if there is no state document at all: then most are missing anyway.
  const start = Math.max(from, to - 10 * DOCUMENTS_PER_STATE);
  if (start > from) documents.push(null);
  for (let at = start; at <= to; at += READS_AT_ONCE) {
    const sequences = Array.from({ length: Math.min(READS_AT_ONCE, to - at + 1) }, (_, i) => at + i);
    documents.push(...(await Promise.all(sequences.map((sequence) => readDocument(store, sequence)))));
  }
  return documents;
}

/** One log document, or null if it is not there. */
export async function readDocument(store: Store, sequence: number): Promise<LogDocument | null> {
  const key = logKey(sequence);
  const bytes = await store.get(key);
  return bytes ? parse<LogDocument>(key, bytes) : null;
}

function parse<T extends { readonly format: number }>(key: string, bytes: Buffer): T {
  let document: T;
  try {
    // As text, and as objects.
    beforeLargePiece(2 * bytes.length);
    document = JSON.parse(bytes.toString("utf8")) as T;
  } catch (error) {
    throw new OperatorError(`${key} is not valid JSON`, "restore it from the bucket's versions", {
      cause: error,
    });
  }
  if (document.format > DOCUMENT_FORMAT) {
    throw new OperatorError(
      `${key} has format ${document.format}; this pgstage reads up to ${DOCUMENT_FORMAT}`,
      "run the newer version of pgstage that wrote it",
    );
  }
  return document;
}

export type NewDocument = Omit<LogDocument, "format" | "time" | "writer" | "sequence" | "pipeline">;

/** The log as its one writer holds it: knows the state, and notices when somebody else has written. */
export class Log {
  readonly #store: Store;
  #state: State;
  #stateKeys: string[];
  #stateWrittenAtMs = 0;

  constructor(store: Store, state: State, stateKeys: readonly string[]) {
    this.#store = store;
    this.#state = state;
    this.#stateKeys = [...stateKeys];
  }

  get state(): State {
    return this.#state;
  }

  /** The document as it would be written next. */
  next(document: NewDocument): LogDocument {
    return {
      format: DOCUMENT_FORMAT,
      sequence: this.#state.sequence + 1,
      time: new Date().toISOString(),
      writer: randomUUID(),
      pipeline: this.#state.pipeline,
      ...document,
    };
  }

  /** Compare-and-swap. The same document may be appended again after an answer that was lost. Throws ReplacedError. */
  async append(document: LogDocument): Promise<void> {
    const key = logKey(document.sequence);
    const outcome = await this.#store.putIfAbsent(key, Buffer.from(`${JSON.stringify(document)}\n`));
    if (outcome === "exists") throw new ReplacedError(`another daemon wrote ${key}`);
    this.#state = applyDocument(this.#state, document);
  }

  get wantsState(): boolean {
    return (
      this.#state.sequence % DOCUMENTS_PER_STATE === 0 || Date.now() - this.#stateWrittenAtMs > STATE_EVERY_MS
    );
  }

  /** Writes the state down and forgets older ones. Only speeds up the next start: a failure loses nothing. */
  async writeState(): Promise<void> {
    const key = stateKey(this.#state.sequence);
    this.#stateWrittenAtMs = Date.now();
    await this.#store.put(key, Buffer.from(`${JSON.stringify(this.#state)}\n`));
    this.#stateKeys = [...this.#stateKeys.filter((known) => known !== key), key];
    const old = this.#stateKeys.splice(0, Math.max(0, this.#stateKeys.length - STATES_KEPT));
    if (old.length > 0) await this.#store.delete(old);
  }
}
