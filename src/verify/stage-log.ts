import PQueue from "p-queue";
import { parseLsn } from "../core/lsn.ts";
import type { LogDocument, LogFile } from "../core/document.ts";
import { encodeName, LOG_FOLDER, logKey } from "../core/layout.ts";
import { readDocument, readLog } from "../delivery/log.ts";
import { applyDocument, type State } from "../delivery/state.ts";
import type { Store } from "../stores/store.ts";
import type { StageProblem } from "./result.ts";

const READS_AT_ONCE = 16;

/** A data file as the log names it. */
export interface StagedFile extends LogFile {
  readonly sequence: number;
}

/**
 * The stage's log as far as it has been read, and what is wrong with it.
 *
 * Grows with `refresh`; only documents without a hole before them count.
 */
export class StageLog {
  readonly #store: Store;
  readonly #files = new Map<string, StagedFile>();
  readonly problems: StageProblem[] = [];
  #state: State;
  #documents = 0;
  #firstSequence = 0;
  #previousEnd: string | null = null;

  private constructor(store: Store, state: State) {
    this.#store = store;
    this.#state = state;
  }

  /** Null if there is no log. */
  static async open(store: Store): Promise<StageLog | null> {
    const reading = await readLog(store);
    if (!reading) return null;
    const log = new StageLog(store, reading.state);
    await log.#readDocumentsUpTo(reading.last.sequence);
    return log;
  }

  /** What the documents read so far add up to. */
  get state(): State {
    return this.#state;
  }

  /** Data files by key. */
  get files(): ReadonlyMap<string, StagedFile> {
    return this.#files;
  }

  /** Schemas that have or had a table on this stage. */
  get schemas(): Set<string> {
    const schemas = new Set(Object.values(this.#state.tables).map(({ catalog }) => catalog.schema));
    for (const file of this.#files.values()) schemas.add(file.schemaName);
    return schemas;
  }

  get documents(): number {
    return this.#documents;
  }

  /** Sequence of the oldest document; above 1 if older ones have been removed. */
  get firstSequence(): number {
    return this.#firstSequence;
  }

  /** Reads what has been written meanwhile. True if there was something. */
  async refresh(): Promise<boolean> {
    const before = this.#state.sequence;
    for (;;) {
      const document = await readDocument(this.#store, this.#state.sequence + 1);
      if (!document) return this.#state.sequence > before;
      this.#take(document);
      this.#state = applyDocument(this.#state, document);
    }
  }

  async #readDocumentsUpTo(newest: number): Promise<void> {
    const sequences: number[] = [];
    for await (const key of this.#store.list(LOG_FOLDER)) {
      const sequence = Number(/(\d+)\.json$/.exec(key)?.[1] ?? Number.NaN);
      if (!(sequence <= newest)) continue;
      if (logKey(sequence) !== key)
        this.problems.push({ key, problem: "is not where a log document belongs" });
      sequences.push(sequence);
    }
    this.#firstSequence = sequences[0] ?? newest;
    const queue = new PQueue({ concurrency: READS_AT_ONCE });
    const reads = sequences.map((sequence) => () => readDocument(this.#store, sequence));
    const documents = await queue.addAll(reads);
    let expected = this.#firstSequence;
    for (const [index, document] of documents.entries()) {
      const sequence = sequences[index] ?? 0;
      if (sequence > expected) this.#missing(expected, sequence - 1);
      expected = sequence + 1;
      if (document) this.#take(document);
      else this.#missing(sequence, sequence);
    }
  }

  #missing(from: number, to: number): void {
    const which = from === to ? `document ${from} is` : `documents ${from} to ${to} are`;
    this.problems.push({ key: logKey(from), problem: `the log has a gap: ${which} missing` });
    this.#previousEnd = null;
  }

  #take(document: LogDocument): void {
    this.#documents++;
    for (const problem of documentProblems(document, this.#previousEnd)) {
      this.problems.push({ key: logKey(document.sequence), problem });
    }
    this.#previousEnd = document.endLsn ?? this.#previousEnd;
    for (const file of document.files) {
      const earlier = this.#files.get(file.key);
      if (earlier) {
        this.problems.push({
          key: file.key,
          problem: `is named by two log documents, ${earlier.sequence} and ${document.sequence}`,
        });
      }
      this.#files.set(file.key, { ...file, sequence: document.sequence });
    }
  }
}

/** Whether a document follows from the one before it. Its files of changes lie between the two ends. */
export function documentProblems(document: LogDocument, previousEnd: string | null): string[] {
  const problems: string[] = [];
  if (previousEnd !== null && document.endLsn !== null && parseLsn(document.endLsn) < parseLsn(previousEnd)) {
    problems.push(`its end, ${document.endLsn}, is before the end of the document before it, ${previousEnd}`);
  }
  for (const file of document.files) {
    if (isCopyFile(file.key)) continue;
    if (previousEnd !== null && parseLsn(file.firstLsn) < parseLsn(previousEnd)) {
      problems.push(
        `${file.key} begins at ${file.firstLsn}, before the end of the document before it, ${previousEnd}`,
      );
    }
    if (document.endLsn === null || parseLsn(file.lastLsn) >= parseLsn(document.endLsn)) {
      problems.push(
        `${file.key} ends at ${file.lastLsn}, not before the document's end, ${String(document.endLsn)}`,
      );
    }
  }
  return problems;
}

/** Copied rows, by name: they stand at their consistent point, which may be anywhere before the document's end. */
export function isCopyFile(key: string): boolean {
  return /\/[0-9A-F]{16}-snapshot-\d{5}[^/]*$/.test(key);
}

/** Keys of the data files that are there, in the folders of these schemas. */
export async function listDataFiles(store: Store, schemas: Iterable<string>): Promise<Set<string>> {
  const keys = new Set<string>();
  for (const schema of schemas) {
    for await (const key of store.list(`${encodeName(schema)}/`)) keys.add(key);
  }
  return keys;
}
