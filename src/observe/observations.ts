import { laterLsn, type Lsn } from "../core/lsn.ts";
import type { Lag, Notice, PipelineState, Status, TableStatus } from "../core/status.ts";
import { BatchBook, type PublishedBatch } from "./batch-book.ts";
import {
  addSample,
  clearLsn,
  computeLag,
  NO_POSITION,
  type SourceSample,
  type StreamPosition,
} from "./lag.ts";
import { NoticeBoard } from "./notice-board.ts";
import { holderWords, identityFacts, walFacts } from "./notice-facts.ts";
import { NOTICES, type NoticeFacts, type NoticeId } from "./notices.ts";
import { Rates } from "./rates.ts";
import { countTables, summarize } from "./status.ts";
import { TableBook } from "./table-book.ts";
import { humanBytes, humanSeconds } from "./units.ts";
import { addSlotSample, heldByTransaction, walBudget, WAL_THRESHOLDS, walLevel } from "./wal-budget.ts";
import type { SlotSample, WalLevel } from "./wal-budget.ts";

export interface ObservationOptions {
  readonly version: string;
  /** `s3://bucket/prefix` or `file:///directory`, without secrets. */
  readonly stage: string;
  /** `host:port/database`, without user and password. */
  readonly source: string;
  readonly slot: string;
  readonly publication: string;
  readonly flushIntervalMs: number;
  /** Milliseconds since 1970; for tests. */
  readonly clock?: () => number;
  /** Where notices are logged: when they are new, and sparsely when they repeat. */
  readonly onNotice?: (notice: LoggedNotice) => void;
  /** A condition is over. `lastedSeconds` since it was raised. */
  readonly onCleared?: (id: NoticeId, title: string, lastedSeconds: number) => void;
}

/** A notice with its constant title and the facts that its message is made of, such as the table. */
export type LoggedNotice = Notice & {
  readonly title: string;
  readonly facts: Readonly<Record<string, string>>;
};

export interface SourceReading {
  /** pg_current_wal_flush_lsn(), or the WAL end that IDENTIFY_SYSTEM tells. */
  readonly sourceLsn: Lsn;
  /** The source's clock at the reading, in ms since 1970, if it was asked for. */
  readonly sourceClockMs?: number;
  /** Our slot's row, if there is a slot; see SlotSample. */
  readonly slot?: Omit<SlotSample, "atMs" | "sourceLsn">;
}

const QUIET_MS = 3_600_000;
/** WAL kept by a slot without a limit, from which on it is worth a warning. */
const MUCH_WAL_BYTES = 8 * 1024 ** 3;

/**
 * What the daemon tells about itself, and the one `Status` that is made of it. Everything is bounded but for the
 * list of tables. Nothing here does I/O; a timer of one second keeps rates and history.
 */
export class Observations {
  readonly #options: ObservationOptions;
  readonly #clock: () => number;
  readonly #startedMs: number;
  readonly #notices = new NoticeBoard();
  readonly #rates = new Rates();
  readonly #batches: BatchBook;
  #state: PipelineState = "starting";
  #position: () => StreamPosition = () => NO_POSITION;
  readonly #tables = new TableBook();
  #notCaptured: Status["notCaptured"] = [];
  #copied = { rows: 0, bytes: 0 };
  #samples: SourceSample[] = [];
  #slotSamples: SlotSample[] = [];
  #sourceLsn: Lsn | null = null;
  /** What was clear once stays so, whatever the stream is busy with now; unless the source itself went back. */
  #clearLsn: Lsn | null = null;
  #clockSkewMs = 0;
  #contactMs: number | null = null;
  #walLevel: WalLevel = 0;
  #storeFailedMs = Number.NEGATIVE_INFINITY;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: ObservationOptions) {
    this.#options = options;
    this.#clock = options.clock ?? Date.now;
    this.#startedMs = this.#clock();
    this.#batches = new BatchBook(this.#startedMs);
  }

  start(): void {
    this.#timer ??= setInterval(() => this.tick(), 1_000).unref();
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  /** Where the stream's position is read from whenever a status is made. */
  watch(position: () => StreamPosition): void {
    this.#position = position;
  }

  stateChanged(state: Exclude<PipelineState, "blocked">): void {
    this.#state = state;
    this.clear("blocked");
    if (state === "standby") this.hold("standby", { slot: this.#options.slot });
    else this.clear("standby");
  }

  /** An operator must act: what is wrong, and what mends it. */
  blocked(problem: string, todo: string): void {
    this.#state = "blocked";
    this.hold("blocked", { problem, todo });
  }

  /** The source answered: where its WAL ends, and how our slot stands. */
  sourceSampled(reading: SourceReading): void {
    const atMs = this.#clock();
    const { sourceLsn, sourceClockMs, slot } = reading;
    // At a start more than this answer is needed: a server may take no more replication connections.
    if (this.#state === "starting") this.#contactMs = atMs;
    else this.sourceUp();
    this.#sourceLsn = sourceLsn;
    if (sourceClockMs !== undefined) this.#clockSkewMs = sourceClockMs - atMs;
    if (this.#clearLsn !== null && sourceLsn < this.#clearLsn) this.#clearLsn = null;
    this.#samples = addSample(this.#samples, { atMs, lsn: sourceLsn }, clearLsn(this.#where()));
    if (slot === undefined) return;
    const sample = { ...slot, atMs, sourceLsn };
    this.#slotSamples = addSlotSample(this.#slotSamples, sample);
    this.#watchWal(sample);
  }

  /** The source does not answer. Say so at each failed attempt. */
  sourceDown(problem: string): void {
    this.raise("source-unreachable", { problem });
  }

  /** The source is there, without a reading: a connection was made, a keepalive came. */
  sourceUp(): void {
    this.#contactMs = this.#clock();
    this.clear("source-unreachable");
  }

  /** The stage cannot be used. Say so at each failed attempt. */
  storeFailing(problem: string): void {
    this.#storeFailedMs = this.#clock();
    this.raise("store-failing", { problem });
  }

  storeWorks(): void {
    this.clear("store-failing");
  }

  batchPublished(batch: PublishedBatch): void {
    this.#batches.published(batch, this.#clock());
    for (const file of batch.files) this.#tables.published(file);
    this.storeWorks();
    this.#watchDelivery(batch.tookMs);
  }

  /** All captured tables with the sizes of their copies, and those of the captured schemas that are not captured. */
  tablesChanged(tables: readonly TableStatus[], notCaptured: Status["notCaptured"]): void {
    this.#tables.replace(tables);
    this.#notCaptured = notCaptured;
    const without = tables.filter(({ insertOnly }) => insertOnly);
    this.#holdExactly(
      "table-without-identity",
      new Map(without.map(({ table }) => [table, identityFacts(table)])),
    );
    this.#holdExactly("table-not-captured", new Map(notCaptured.map((one) => [one.table, one])));
  }

  /** What changed of one table, such as its phase. */
  tableChanged(table: string, change: Partial<Omit<TableStatus, "table">>): void {
    this.#tables.change(table, change);
    if (change.insertOnly === true) this.hold("table-without-identity", identityFacts(table), table);
    if (change.insertOnly === false) this.clear("table-without-identity", table);
  }

  /** One more range of the table's plan is copied. Its rows count as published when a batch names its files. */
  rangeCopied(range: { readonly table: string; readonly rows: number; readonly bytes: number }): void {
    this.#copied.rows += range.rows;
    this.#copied.bytes += range.bytes;
    this.#tables.rangeCopied(range.table);
  }

  /** Something happened (again). `subject` tells notices of one kind apart, such as the table. */
  raise<Id extends NoticeId>(id: Id, facts: NoticeFacts<Id>, subject?: string): void {
    this.#log(this.#notices.raise(id, facts, this.#moment(subject)), facts);
  }

  /** Something is so, until `clear`. */
  hold<Id extends NoticeId>(id: Id, facts: NoticeFacts<Id>, subject?: string): void {
    this.#log(this.#notices.hold(id, facts, this.#moment(subject)), facts);
  }

  clear(id: NoticeId, subject?: string): void {
    const sinceMs = this.#notices.clear(id, subject);
    if (sinceMs !== null) this.#options.onCleared?.(id, NOTICES[id].title, (this.#clock() - sinceMs) / 1000);
  }

  /** Keeps rates, history and the conditions that only time brings about. */
  tick(): void {
    const nowMs = this.#clock();
    const { receivedRows, receivedBytes } = this.#position();
    this.#rates.count(nowMs, receivedRows + this.#copied.rows, receivedBytes + this.#copied.bytes);
    const lag = this.lag();
    this.#rates.remember(nowMs, lag);
    // The last batch was slow, and there is none to come.
    if (lag.lagSeconds === 0) this.clear("store-slow");
    const quietMs = nowMs - this.#batches.lastCommitMs;
    if (this.#state !== "streaming" || quietMs < QUIET_MS) this.clear("quiet");
    else this.hold("quiet", { quiet: humanSeconds(quietMs / 1000) });
  }

  lag(): Lag {
    const position = this.#where();
    const budget = this.#state === "standby" ? null : walBudget(this.#slotSamples);
    const numbers = computeLag({
      nowMs: this.#clock(),
      state: this.#state,
      position,
      samples: this.#samples,
      clockSkewMs: this.#clockSkewMs,
      silentSinceMs: this.#hearsSource() ? null : (this.#contactMs ?? this.#startedMs),
    });
    return {
      state: this.#state,
      ...numbers,
      stagedLsn: position.stagedLsn,
      // The newest sample is a moment old: what is published since was there, too.
      sourceLsn: this.#sourceLsn === null ? null : laterOf(this.#sourceLsn, position.stagedLsn),
      openRows: position.openRows,
      openBytes: position.openBytes,
      slotRetainedBytes: budget?.retainedBytes ?? null,
      walBudgetBytes: budget?.budgetBytes ?? null,
      walGrowthBytesPerHour: budget?.growthBytesPerHour ?? null,
      walExhaustedInSeconds: budget?.exhaustedInSeconds ?? null,
    };
  }

  status(): Status {
    const { version, stage, source, slot, publication } = this.#options;
    const tables = this.#tables.list();
    const status = {
      version,
      startedAt: new Date(this.#startedMs).toISOString(),
      now: new Date(this.#clock()).toISOString(),
      state: this.#state,
      stage,
      source,
      slot,
      publication,
      flushIntervalSeconds: this.#options.flushIntervalMs / 1000,
      lag: this.lag(),
      throughput: this.#rates.throughput(),
      totals: this.#batches.totals(),
      tables,
      tableCounts: countTables(tables),
      notCaptured: this.#notCaptured,
      batches: this.#batches.list(),
      notices: this.#notices.list(this.#clock()),
      history: this.#rates.history(),
    };
    return { ...status, summary: summarize(status) };
  }

  #where(): StreamPosition {
    const position = this.#position();
    this.#clearLsn = clearLsn({ ...position, quietLsn: laterOf(position.quietLsn, this.#clearLsn) });
    return { ...position, quietLsn: this.#clearLsn };
  }

  /** A blocked daemon listens to nobody. */
  #hearsSource(): boolean {
    return this.#state !== "blocked" && !this.#notices.has("source-unreachable");
  }

  #watchWal(sample: SlotSample): void {
    const budget = walBudget(this.#slotSamples);
    if (budget === null) return;
    this.#walLevel = walLevel(this.#walLevel, budget.used);
    for (const threshold of WAL_THRESHOLDS) {
      if (threshold === this.#walLevel) this.hold(`wal-${threshold}`, walFacts(budget));
      // What has become worse is not over.
      else if (threshold < this.#walLevel) this.#notices.clear(`wal-${threshold}`);
      else this.clear(`wal-${threshold}`);
    }
    const held = heldByTransaction(sample);
    const retained = humanBytes(budget.retainedBytes);
    if (held) this.hold("wal-held-by-transaction", { retained, holder: holderWords(sample) });
    else this.clear("wal-held-by-transaction");
    if (budget.budgetBytes === null && budget.retainedBytes > MUCH_WAL_BYTES)
      this.hold("wal-unlimited", { retained });
    else this.clear("wal-unlimited");
  }

  #watchDelivery(tookMs: number): void {
    const { flushIntervalMs } = this.#options;
    // A store that was away has been told, and that is over. An interval of a few milliseconds is no measure.
    const wasAway = this.#storeFailedMs >= this.#clock() - tookMs;
    if (wasAway || tookMs <= Math.max(flushIntervalMs, 1_000)) this.clear("store-slow");
    else
      this.hold("store-slow", {
        took: humanSeconds(tookMs / 1000),
        interval: humanSeconds(flushIntervalMs / 1000),
      });
  }

  #holdExactly<Id extends NoticeId>(id: Id, facts: ReadonlyMap<string, NoticeFacts<Id>>): void {
    for (const [subject, notice] of this.#notices.holdExactly(id, facts, this.#clock()))
      this.#log(notice, facts.get(subject));
  }

  #moment(subject: string | undefined): { nowMs: number; subject?: string } {
    return { nowMs: this.#clock(), ...(subject === undefined ? {} : { subject }) };
  }

  #log(notice: Notice | null, facts: Readonly<Record<string, string>> = {}): void {
    if (notice === null) return;
    this.#options.onNotice?.({ ...notice, title: NOTICES[notice.id as NoticeId].title, facts });
  }
}

function laterOf(a: Lsn | null, b: Lsn | null): Lsn | null {
  return a === null || b === null ? (a ?? b) : laterLsn(a, b);
}
