import PQueue from "p-queue";
import type { Json } from "../core/json.ts";
import type { LogDocument, LogFile } from "../core/document.ts";
import { formatLsn, laterLsn, type Lsn } from "../core/lsn.ts";
import type { Receipt, Store } from "../stores/store.ts";
import type { FinishedFile, Patiently } from "./file-writer.ts";
import type { Log, NewDocument } from "./log.ts";
import { Pack } from "./pack.ts";
import type { State, TableEvent } from "./state.ts";

/** Requests on their way at once while files are published. */
const PUBLISH_AT_ONCE = 16;

/** A complete, invisible file with what the log says about it. */
export interface DeliveredFile {
  readonly key: string;
  readonly schemaName: string;
  readonly tableName: string;
  readonly shape: string;
  readonly firstLsn: Lsn;
  readonly lastLsn: Lsn;
  readonly oid: number;
  readonly file: FinishedFile;
}

/** What is to be published together. */
export interface Submission {
  readonly kind: "birth" | "start" | "batch" | "idle";
  readonly files: readonly DeliveredFile[];
  readonly events: readonly TableEvent[];
  /** Where the stream stands once this is published; null if this is not about the stream. */
  readonly endLsn: Lsn | null;
  readonly firstLsn: Lsn | null;
  readonly firstCommittedAt?: string | null;
  readonly committedAt: string | null;
}

/** What one document published. */
export interface Published {
  readonly document: LogDocument;
  readonly state: State;
  readonly tookMs: number;
}

export interface DeliveryEvents {
  /** After everything of the document is visible; before anything is acknowledged. */
  readonly published: (published: Published) => void;
  /** Files that are recorded and can no longer be published: their tables must be copied afresh. */
  readonly lost: (files: readonly LogFile[]) => void;
}

interface Waiting {
  readonly submission: Submission;
  readonly resolve: (published: Published) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Stage → record → publish, one document after the other; submissions that wait are recorded together. The caller
 * acknowledges after its submission resolved. A crash before the record leaves nothing visible, a crash after it is
 * mended by publishing what the record names.
 */
export class Delivery {
  readonly #store: Store;
  readonly #log: Log;
  readonly #patiently: Patiently;
  readonly #events: DeliveryEvents;
  #waiting: Waiting[] = [];
  #running = false;
  #failure: unknown = null;

  constructor(parts: { store: Store; log: Log; patiently: Patiently; events: DeliveryEvents }) {
    this.#store = parts.store;
    this.#log = parts.log;
    this.#patiently = parts.patiently;
    this.#events = parts.events;
  }

  get state(): State {
    return this.#log.state;
  }

  /** Resolves once all of it is published. After a rejection the whole attempt is over: every later call rejects, too. */
  submit(submission: Submission): Promise<Published> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ submission, resolve, reject });
      void this.#run();
    });
  }

  /** Submits changes to what is known about tables, without files. */
  async record(events: readonly TableEvent[]): Promise<void> {
    if (events.length === 0) return;
    await this.submit({ kind: "batch", files: [], events, endLsn: null, firstLsn: null, committedAt: null });
  }

  async #run(): Promise<void> {
    if (this.#running) return;
    this.#running = true;
    while (this.#waiting.length > 0) {
      const group = this.#waiting;
      this.#waiting = [];
      try {
        if (this.#failure) throw this.#failure;
        const published = await this.#deliver(group.map((waiting) => waiting.submission));
        for (const waiting of group) waiting.resolve(published);
      } catch (error) {
        this.#failure = error;
        for (const waiting of group) waiting.reject(error);
      }
    }
    this.#running = false;
  }

  async #deliver(group: readonly Submission[]): Promise<Published> {
    const startedAtMs = performance.now();
    const files = group.flatMap((submission) => submission.files);
    const pack = new Pack(this.#store);
    const named = files.map((file) => nameFile(file, pack));
    await this.#patiently("stage small files", () => pack.put());
    const document = this.#log.next(combine(group, named, this.#log.state));
    await this.#patiently("write the log", () => this.#log.append(document));
    const contents = new Map(files.map((file) => [file.key, file.file.content]));
    const lost = await publishFiles(this.#store, document.files, {
      patiently: this.#patiently,
      inMemory: (key) => {
        const content = contents.get(key);
        return content && "small" in content ? content.small : null;
      },
    });
    const published: Published = {
      document,
      state: this.#log.state,
      tookMs: performance.now() - startedAtMs,
    };
    this.#events.published(published);
    if (lost.length > 0) this.#events.lost(lost);
    await this.#tidy(new Set(named.flatMap((file) => ("pack" in file.staged ? [file.staged.pack] : []))));
    return published;
  }

  /** Neither packs nor states are needed for anything but speed from here on, so failures are left to the next start. */
  async #tidy(packs: ReadonlySet<string>): Promise<void> {
    await Promise.allSettled([
      packs.size > 0 ? this.#store.delete([...packs]) : Promise.resolve(),
      this.#log.wantsState ? this.#log.writeState() : Promise.resolve(),
    ]);
  }
}

function nameFile(delivered: DeliveredFile, pack: Pack): LogFile {
  const { key, schemaName, tableName, oid, shape, file } = delivered;
  const { rows, bytes, csvBytes, checksum } = file;
  const lsns = { firstLsn: formatLsn(delivered.firstLsn), lastLsn: formatLsn(delivered.lastLsn) };
  const about = { key, table: `${schemaName}.${tableName}`, schemaName, tableName, oid, shape };
  return { ...about, rows, bytes, csvBytes, checksum, ...lsns, staged: placeOf(file, pack) };
}

function placeOf({ content }: FinishedFile, pack: Pack): LogFile["staged"] {
  if ("upload" in content) return { upload: content.upload as unknown as Json };
  if ("packed" in content) return content.packed;
  return pack.add(content.small);
}

/** One document for all that waits: at most one of them moves the stream's position. */
function combine(group: readonly Submission[], files: readonly LogFile[], state: State): NewDocument {
  let endLsn: Lsn | null = null;
  let firstLsn: Lsn | null = null;
  let committedAt: string | null = null;
  let firstCommittedAt: string | null = null;
  for (const submission of group) {
    if (submission.endLsn !== null)
      endLsn = endLsn === null ? submission.endLsn : laterLsn(endLsn, submission.endLsn);
    firstLsn ??= submission.firstLsn;
    firstCommittedAt ??= submission.firstCommittedAt ?? null;
    committedAt = submission.committedAt ?? committedAt;
  }
  const kind = group.find((submission) => submission.kind !== "idle")?.kind ?? "idle";
  return {
    kind,
    files,
    tables: group.flatMap((submission) => submission.events) as unknown as Json[],
    endLsn: endLsn === null ? state.endLsn : formatLsn(endLsn),
    firstLsn: firstLsn === null ? null : formatLsn(firstLsn),
    firstCommittedAt,
    committedAt,
  };
}

/** Makes recorded files visible; returns those of which neither the staged bytes nor the published file is left. */
export async function publishFiles(
  store: Store,
  files: readonly LogFile[],
  how: { patiently: Patiently; inMemory: (key: string) => Buffer | null },
): Promise<LogFile[]> {
  const lost: LogFile[] = [];
  const queue = new PQueue({ concurrency: PUBLISH_AT_ONCE });
  const publishing = files.map((file) =>
    queue.add(async () => {
      const outcome = await how.patiently(`publish ${file.key}`, () =>
        publishFile(store, file, how.inMemory),
      );
      if (outcome === "gone") lost.push(file);
    }),
  );
  try {
    await Promise.all(publishing);
  } finally {
    queue.clear();
  }
  return lost;
}

async function publishFile(
  store: Store,
  file: LogFile,
  inMemory: (key: string) => Buffer | null,
): Promise<"published" | "gone"> {
  if ("upload" in file.staged) return store.publish(file.key, file.staged.upload as unknown as Receipt);
  const { pack, offset } = file.staged;
  const bytes = inMemory(file.key) ?? (await store.get(pack, { offset, length: file.bytes }));
  if (bytes?.length !== file.bytes) return (await store.has(file.key, file.checksum)) ? "published" : "gone";
  await store.publishBytes(file.key, bytes, file.checksum);
  return "published";
}
