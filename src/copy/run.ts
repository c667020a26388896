import { setTimeout as delay } from "node:timers/promises";
import PQueue from "p-queue";
import { formatLsn, parseLsn } from "../core/lsn.ts";
import type { LargeRow } from "../core/shape.ts";
import { tableName, type CatalogTable, type TableRecord } from "../core/table.ts";
import type { Submission } from "../delivery/delivery.ts";
import { heldBytes, type WriterParts } from "../delivery/file-writer.ts";
import type { ShapeBook } from "../delivery/shapes.ts";
import type { State, TableEvent } from "../delivery/state.ts";
import { asNamedNow, isBag, mayResume, planStorages, rangesOf, type PlannedRange } from "./plan.ts";
import { RangeFile, shapeOf } from "./range-file.ts";
import { namesOf } from "./reasons.ts";
import type { RangeFailure, Session } from "./session.ts";
import { Throttle } from "./throttle.ts";

/** A range of a table that somebody has locked is tried again after this. */
const BUSY_PAUSE_MS = 1_000;
/** … so often in one session. */
const BUSY_TRIES = 30;
/** What a range that has begun gets beyond snapshot.maxAge, at least. */
const LEAST_GRACE_MS = 60_000;
/** Share of the memory limit above which no further range begins. */
const BEGIN_BELOW = 0.6;

/** Where finished ranges go: to be published at once, or all together at the end. */
export interface CopyTarget {
  readonly state: State;
  submit(submission: Submission): Promise<unknown>;
  record(events: readonly TableEvent[]): Promise<void>;
}

export interface CopierParts {
  readonly delivery: CopyTarget;
  readonly shapes: ShapeBook;
  readonly writer: WriterParts & { readonly fileMaxBytes: number };
  readonly rangeBytes: number;
  readonly maxAgeMs: number;
  readonly maxBytesPerSecond: number;
  readonly metadataPrefix: string;
  readonly failureOf: (error: unknown) => RangeFailure;
  readonly events: CopierEvents;
}

export interface CopierEvents {
  readonly planned: (table: string, ranges: number, resumed: boolean) => void;
  readonly copied: (range: {
    oid: number;
    table: string;
    number: number;
    ranges: number;
    rows: number;
    bytes: number;
    tookMs: number;
  }) => void;
  readonly tableCopied: (copied: { oid: number; table: string; rows: number; bytes: number }) => void;
  readonly refused: (table: string, error: unknown) => void;
  /** Somebody has locked the table: the range is read later. */
  readonly busy: (locked: { oid: number; storage: number; table: string }) => void;
  readonly largeRow: (row: LargeRow) => void;
}

interface Task {
  readonly oid: number;
  readonly range: PlannedRange;
  readonly bag: boolean;
  /** How often a lock was in its way. */
  readonly tries: number;
}

/** Copies tables in one session; a range is published, and so done, by itself. */
export class CopyRun {
  readonly #parts: CopierParts;
  readonly #session: Session;
  readonly #throttle: Throttle;
  readonly #signal: AbortSignal;
  readonly #free: number[];
  readonly #startedAtMs = performance.now();
  readonly #publishing = new Set<Promise<void>>();
  readonly #left = new Set<number>();
  readonly #completed = new Set<number>();
  #longestRangeMs = 0;
  #failure: unknown = null;

  constructor(parts: CopierParts, session: Session, signal: AbortSignal) {
    this.#parts = parts;
    this.#session = session;
    this.#throttle = new Throttle(parts.maxBytesPerSecond);
    this.#signal = signal;
    this.#free = Array.from({ length: session.workers }, (_, i) => i);
  }

  /**
   * Copies what it can of these tables before the session is too old. Tables that are not complete afterwards keep
   * what is done. Rejects if the connection or the delivery is lost.
   */
  async run(oids: readonly number[]): Promise<void> {
    const tasks = await this.#plan(oids);
    await this.#completeResumed(oids);
    const queue = new PQueue({ concurrency: this.#session.workers });
    for (const task of tasks) void queue.add(() => this.#take(task, queue), { priority: task.bag ? 1 : 0 });
    const tooOld = setTimeout(() => this.#endIfTooOld(tasks), this.#parts.maxAgeMs + this.#graceMs).unref();
    await queue.onIdle();
    clearTimeout(tooOld);
    // Nothing more is read: the source need not keep the snapshot while the store takes its time.
    await this.#session.close();
    await Promise.allSettled(this.#publishing);
    if (this.#failure !== null) throw this.#failure;
  }

  /** A range that is being read at snapshot.maxAge may end; one that a slow store holds up may not do so for ever. */
  get #graceMs(): number {
    return Math.max(LEAST_GRACE_MS, this.#parts.maxAgeMs);
  }

  #endIfTooOld(tasks: readonly Task[]): void {
    const bags = tasks.filter((task) => task.bag).map((task) => task.oid);
    const copies = this.#parts.delivery.state.tables;
    if (bags.some((oid) => !this.#left.has(oid) && copies[oid]?.copy.phase === "copying")) return;
    void this.#session.close();
  }

  async #plan(oids: readonly number[]): Promise<Task[]> {
    const { delivery, shapes, events } = this.#parts;
    const now = new Map(this.#session.tables.map((table) => [table.oid, table]));
    const tables = oids.flatMap((oid) => now.get(oid) ?? []).filter((table) => this.#isAsKnown(table));
    const sizes = await this.#session.sizes(
      tables.flatMap((table) => table.storages.map((storage) => storage.oid)),
    );
    const changed: TableEvent[] = [];
    for (const table of tables) {
      const record = delivery.state.tables[table.oid];
      if (!record || mayResume(record, table)) continue;
      const locked = table.storages.find((storage) => !sizes.has(storage.oid));
      if (locked) {
        this.#left.add(table.oid);
        events.busy({ oid: table.oid, storage: locked.oid, table: tableName(table) });
        continue;
      }
      changed.push({ event: "table", table: { ...record, ...this.#fresh(table, sizes) } });
    }
    await delivery.record(changed);
    await shapes.record(tables.map(shapeOf));
    const fresh = new Set(changed.map((event) => (event.event === "table" ? event.table.catalog.oid : 0)));
    return tables.flatMap((table) => {
      // A look at the catalog may have found meanwhile that the table is gone.
      const copy = delivery.state.tables[table.oid]?.copy;
      if (copy?.phase !== "copying" || this.#left.has(table.oid)) return [];
      const ranges = rangesOf(asNamedNow(copy.storages, table));
      events.planned(tableName(table), ranges.length, !fresh.has(table.oid));
      const left = ranges.filter((range) => !copy.done.includes(range.number));
      return left.map((range) => ({ oid: table.oid, range, bag: isBag(table), tries: 0 }));
    });
  }

  /** The stream must know what identifies rows before a copy begins: else the next look at the catalog comes first. */
  #isAsKnown(table: CatalogTable): boolean {
    const known = this.#parts.delivery.state.tables[table.oid]?.catalog;
    return known?.insertOnly === table.insertOnly && known.key.join("\0") === table.key.join("\0");
  }

  #fresh(table: CatalogTable, sizes: Awaited<ReturnType<Session["sizes"]>>): TableRecord {
    const storages = planStorages(table, sizes, this.#parts.rangeBytes);
    const firstPoint = formatLsn(this.#session.consistentPoint);
    const copy = { phase: "copying", firstPoint, storages, done: [], rows: 0, bytes: 0 } as const;
    return { catalog: table, names: namesOf(table), copy };
  }

  async #take(task: Task, queue: PQueue): Promise<void> {
    if (this.#isOver(task)) return;
    const { memory } = this.#parts.writer;
    await memory.below(memory.limitBytes * BEGIN_BELOW);
    const worker = this.#free.pop();
    if (worker === undefined) throw new Error("more ranges at once than workers");
    const startedAtMs = performance.now();
    let failure: RangeFailure | null = null;
    try {
      await this.#copy(task, worker);
      this.#longestRangeMs = Math.max(this.#longestRangeMs, performance.now() - startedAtMs);
    } catch (error) {
      failure = this.#failed(task, error);
    } finally {
      this.#free.push(worker);
    }
    if (failure !== "busy") return;
    await delay(BUSY_PAUSE_MS, undefined, { signal: this.#signal }).catch(() => {});
    void queue.add(() => this.#take({ ...task, tries: task.tries + 1 }, queue));
  }

  /** A range is only begun if it will probably end before the session is too old. Bags have no other session. */
  #isOver({ oid, bag, tries }: Task): boolean {
    if (this.#failure !== null || this.#signal.aborted || this.#left.has(oid)) return true;
    const ageMs = performance.now() - this.#startedAtMs;
    if (tries >= BUSY_TRIES) return true;
    return (
      !bag && ageMs > 0 && ageMs + this.#longestRangeMs > this.#parts.maxAgeMs && this.#longestRangeMs > 0
    );
  }

  #failed(task: Task, error: unknown): RangeFailure {
    const failure = this.#parts.failureOf(error);
    if (failure === "lost") this.#failure ??= error;
    if (failure === "changed" || failure === "refused") this.#left.add(task.oid);
    if (failure === "refused") this.#parts.events.refused(this.#nameOf(task.oid), error);
    if (failure === "busy") {
      const storage = task.range.storage?.oid ?? task.oid;
      this.#parts.events.busy({ oid: task.oid, storage, table: this.#nameOf(task.oid) });
    }
    return failure;
  }

  async #copy({ oid, range }: Task, worker: number): Promise<void> {
    const record = this.#parts.delivery.state.tables[oid];
    if (record?.copy.phase !== "copying") return;
    const { catalog, copy } = record;
    const startedAtMs = performance.now();
    const { metadataPrefix, writer } = this.#parts;
    const { consistentPoint: point, pointMicros } = this.#session;
    const truncateAt = range.number === 1 ? parseLsn(copy.firstPoint) : null;
    const about = { parts: writer, table: catalog, range: range.number, point, pointMicros };
    const file = new RangeFile({
      ...about,
      truncateAt,
      metadataPrefix,
      largeRow: this.#parts.events.largeRow,
    });
    try {
      const rows = await this.#read(worker, range, catalog, file);
      const files = await file.finish();
      const published = this.#publish(
        { oid, number: range.number, firstPoint: copy.firstPoint, rows, startedAtMs },
        files,
      );
      this.#publishing.add(published);
      void published.finally(() => this.#publishing.delete(published));
    } catch (error) {
      file.discard();
      throw error;
    }
  }

  async #read(worker: number, range: PlannedRange, table: CatalogTable, file: RangeFile): Promise<number> {
    const { storage, from, to } = range;
    if (!storage) return 0;
    let rows = 0;
    const columns = table.columns.map((column) => column.name);
    const sent = await this.#session.copy(worker, { storage, from, to }, columns, (row) => {
      rows++;
      const wait = file.write(row);
      const slow = this.#throttle.spend(row.length);
      return wait && slow ? Promise.all([wait, slow]).then(() => {}) : (wait ?? slow);
    });
    if (sent !== rows) throw new Error(`${tableName(table)}: COPY sent ${sent} rows, ${rows} arrived`);
    return rows;
  }

  async #publish(
    done: { oid: number; number: number; firstPoint: string; rows: number; startedAtMs: number },
    files: Awaited<ReturnType<RangeFile["finish"]>>,
  ): Promise<void> {
    const { delivery, writer, events } = this.#parts;
    const { oid, number, firstPoint, rows, startedAtMs } = done;
    const bytes = files.reduce((sum, file) => sum + file.file.bytes, 0);
    try {
      const range: TableEvent = { event: "range", oid, firstPoint, number, rows, bytes };
      await delivery.submit({
        kind: "batch",
        files,
        events: [range],
        endLsn: null,
        firstLsn: null,
        committedAt: null,
      });
      const ranges = this.#rangesOf(oid);
      events.copied({
        oid,
        table: this.#nameOf(oid),
        number,
        ranges,
        rows,
        bytes,
        tookMs: performance.now() - startedAtMs,
      });
      await this.#completeIfDone(oid, firstPoint);
    } catch (error) {
      this.#failure ??= error;
    } finally {
      for (const { file } of files) writer.memory.release(heldBytes(file));
    }
  }

  async #completeIfDone(oid: number, firstPoint: string): Promise<void> {
    const { delivery, events } = this.#parts;
    const copy = delivery.state.tables[oid]?.copy;
    if (copy?.phase !== "copying" || copy.firstPoint !== firstPoint) return;
    if (copy.done.length < rangesOf(copy.storages).length || this.#completed.has(oid)) return;
    this.#completed.add(oid);
    const lastPoint = formatLsn(this.#session.consistentPoint);
    await delivery.record([{ event: "copied", oid, firstPoint, lastPoint }]);
    events.tableCopied({ oid, table: this.#nameOf(oid), rows: copy.rows, bytes: copy.bytes });
  }

  /** A crash between a table's last range and the record that it is complete leaves nothing to copy but that record. */
  async #completeResumed(oids: readonly number[]): Promise<void> {
    for (const oid of oids) {
      const copy = this.#parts.delivery.state.tables[oid]?.copy;
      if (copy?.phase === "copying") await this.#completeIfDone(oid, copy.firstPoint);
    }
  }

  #rangesOf(oid: number): number {
    const copy = this.#parts.delivery.state.tables[oid]?.copy;
    return copy?.phase === "copying" ? rangesOf(copy.storages).length : 0;
  }

  #nameOf(oid: number): string {
    const record = this.#parts.delivery.state.tables[oid];
    return record ? tableName(record.catalog) : `relation ${oid}`;
  }
}
