import type { Buffer } from "node:buffer";
import { laterLsn, type Lsn } from "../core/lsn.ts";
import type { DeliveredFile, Delivery } from "../delivery/delivery.ts";
import { heldBytes } from "../delivery/file-writer.ts";
import { Batch, type BatchParts } from "./batch.ts";
import type { ReadBack } from "./deferred.ts";
import { IDLE_TICK_MS, isDue, shouldRecordIdle, TICK_MS, type DueLimits } from "./due.ts";
import { Filling } from "./filling.ts";
import { StreamReader, type ReaderParts } from "./reader.ts";
import type { TableEncoder, TableFacts } from "./table-encoder.ts";

/** Rows that wait for values read back before the socket waits, too. */
const MAX_DEFERRED_ROWS = 5_000;
const MAX_DEFERRED_BYTES = 4 * 1024 * 1024;
/** Shares of the memory limit: where the socket is paused, and where it goes on. */
const PAUSE_AT = 0.85;
const RESUME_BELOW = 0.5;

/** The replication connection, as the pump needs it. */
export interface ChangeSource {
  /** No more payloads after those of the chunk that has arrived already. */
  pause(): void;
  resume(): void;
  /** Everything before here may be forgotten by the server. */
  acknowledge(lsn: Lsn): void;
}

export interface PumpParts {
  readonly source: ChangeSource;
  readonly delivery: Delivery;
  readonly batch: BatchParts;
  readonly facts: TableFacts;
  readonly readBack: ReadBack;
  readonly limits: DueLimits;
  readonly metadataPrefix: string;
  /** Where the log ends. */
  readonly startLsn: Lsn;
  readonly publishedUntilMs?: ReaderParts["publishedUntilMs"];
  readonly shapeSeen: ReaderParts["shapeSeen"];
  /** Writes down the columns of shapes before a log document names them. */
  readonly recordShapes: (encoders: ReadonlySet<TableEncoder>) => Promise<void>;
}

/** Where the stream stands. Rows and CSV bytes. */
export interface PumpPosition {
  /** End of the newest published log document. */
  readonly stagedLsn: Lsn;
  /** How far the server has sent when nothing was open or in flight. */
  readonly quietLsn: Lsn | null;
  /** The oldest transaction that is received and not published. */
  readonly oldestOpen: { readonly lsn: Lsn; readonly commitMs: number } | null;
  readonly openRows: number;
  readonly openBytes: number;
  readonly receivedRows: number;
  readonly receivedBytes: number;
}

/**
 * The way of a change from the socket to the acknowledgement. One batch fills while at most one is delivered; a
 * batch closes between two transactions only. Everything runs on the event loop's thread: payloads are read
 * synchronously, and what must wait (values read back, memory) pauses the socket meanwhile.
 */
export class Pump {
  readonly #parts: PumpParts;
  readonly #reader: StreamReader;
  #filling: Filling;
  #delivering: Filling | null = null;
  /** End of the last whole transaction received, or further if the server says that nothing was in between. */
  #reachedLsn: Lsn;
  #recordedLsn: Lsn;
  #recordedAtMs = performance.now();
  #deliveryMs = 0;
  #publishedRows = 0;
  #publishedBytes = 0;
  #urgent = false;
  #draining = false;
  #sealed = false;
  #pauses = 0;
  #timer: NodeJS.Timeout | null = null;
  #tickMs = 0;
  #settle: { resolve: () => void; reject: (error: unknown) => void } = {
    resolve: () => {},
    reject: () => {},
  };
  #over = false;
  /** Resolves once drained; rejects with whatever ends this attempt. */
  readonly done: Promise<void>;

  constructor(parts: PumpParts) {
    this.#parts = parts;
    this.#reachedLsn = this.#recordedLsn = parts.startLsn;
    this.#filling = new Filling(new Batch(parts.batch));
    this.done = new Promise((resolve, reject) => {
      this.#settle = { resolve, reject };
    });
    this.done.catch(() => {});
    const { facts, metadataPrefix, startLsn, publishedUntilMs = null, shapeSeen } = parts;
    this.#reader = new StreamReader(
      {
        facts,
        metadataPrefix,
        startLsn,
        publishedUntilMs,
        shapeSeen,
        firstChange: ({ commitLsn, committedAtMicros }) => {
          this.#filling.began(commitLsn, committedAtMicros);
          this.#tickEvery(TICK_MS);
        },
        committed: (endLsn) => this.#committed(endLsn),
      },
      this.#filling.batch,
    );
    this.#tickEvery(IDLE_TICK_MS);
  }

  #tickEvery(ms: number): void {
    if (this.#over || ms === this.#tickMs) return;
    if (this.#timer) clearInterval(this.#timer);
    this.#timer = setInterval(() => this.#tick(), ms);
    this.#tickMs = ms;
  }

  position(): PumpPosition {
    const both = [this.#delivering, this.#filling].filter((part) => part !== null);
    const oldest = both.find((part) => part.opened !== null);
    const openRows = both.reduce((sum, part) => sum + part.batch.rows, 0);
    const openBytes = both.reduce((sum, part) => sum + part.batch.csvBytes, 0);
    return {
      stagedLsn: this.#recordedLsn,
      quietLsn: this.#isIdle ? this.#reachedLsn : null,
      oldestOpen: oldest?.opened
        ? { lsn: oldest.opened.lsn, commitMs: Number(oldest.opened.commitMicros / 1000n) }
        : null,
      openRows,
      openBytes,
      receivedRows: this.#publishedRows + openRows,
      receivedBytes: this.#publishedBytes + openBytes,
    };
  }

  get isPaused(): boolean {
    return this.#pauses > 0;
  }

  /** One XLogData payload, a view that dies when this returns. */
  read(payload: Buffer): void {
    if (this.#over || this.#sealed) return;
    this.#reader.read(payload);
    if (this.#isShort && this.#pauses === 0) this.#waitForMemory();
    const { writer } = this.#reader;
    if (writer.deferredRows > MAX_DEFERRED_ROWS || writer.deferredBytes > MAX_DEFERRED_BYTES) this.#fillNow();
  }

  /** The server has sent everything before `walEnd`. `urgent`: it waits for our answer. */
  keepalive(walEnd: Lsn, urgent: boolean): void {
    if (this.#over || this.#sealed) return;
    if (urgent) this.#urgent = true;
    // Between transactions everything before walEnd that concerns us has arrived; rows of it may still be open.
    if (!this.#reader.insideTransaction) this.#reachedLsn = laterLsn(this.#reachedLsn, walEnd);
    if (urgent) this.#tick();
  }

  /** What identifies rows may have changed in the catalog without the stream saying so. */
  refreshEncoders(): void {
    this.#reader.refreshEncoders();
  }

  /** Publishes what is whole and resolves `done`. A transaction in the middle is waited for. */
  drain(): void {
    this.#draining = true;
    this.#urgent = true;
    this.#sealIfDraining();
    this.#tick();
  }

  /** What comes after the last whole transaction is not taken any more: it will be sent again. */
  #sealIfDraining(): void {
    if (!this.#draining || this.#sealed || this.#reader.insideTransaction) return;
    this.#sealed = true;
    this.#parts.source.pause();
  }

  /** Ends the attempt: nothing of what is open survives, Postgres will send it again. */
  fail(error: unknown): void {
    if (this.#over) return;
    this.#stop();
    this.#filling.batch.discard();
    this.#delivering?.batch.discard();
    this.#settle.reject(error);
  }

  #stop(): void {
    this.#over = true;
    if (this.#timer) clearInterval(this.#timer);
    this.#timer = null;
  }

  get #isIdle(): boolean {
    return this.#filling.opened === null && this.#delivering === null && !this.#reader.insideTransaction;
  }

  #committed(endLsn: Lsn): void {
    this.#reachedLsn = laterLsn(this.#reachedLsn, endLsn);
    this.#sealIfDraining();
    this.#closeIfDue();
  }

  #tick(): void {
    if (this.#over) return;
    this.#closeIfDue();
    if (!this.#isIdle) return;
    this.#tickEvery(IDLE_TICK_MS);
    if (this.#draining && this.#recordedLsn >= this.#reachedLsn) {
      this.#stop();
      this.#settle.resolve();
      return;
    }
    this.#recordIdle();
  }

  #recordIdle(): void {
    const position = {
      recordedLsn: this.#recordedLsn,
      reachedLsn: this.#reachedLsn,
      recordedAtMs: this.#draining ? Number.NEGATIVE_INFINITY : this.#recordedAtMs,
      urgent: this.#urgent,
    };
    if (!shouldRecordIdle(position, performance.now())) return;
    this.#urgent = this.#draining;
    const filling = new Filling(new Batch(this.#parts.batch));
    void this.#deliver(filling, this.#reachedLsn, "idle");
  }

  #closeIfDue(): void {
    if (this.#delivering || this.#reader.insideTransaction) return;
    const { limits, batch } = this.#parts;
    const filling = this.#filling;
    const open = {
      openedAtMs: filling.opened?.atMs ?? null,
      csvBytes: filling.batch.csvBytes,
      heldBytes: batch.memory.heldBytes,
      deliveryMs: this.#deliveryMs,
      urgent: this.#urgent,
    };
    if (!isDue(open, performance.now(), limits)) return;
    this.#urgent = this.#draining;
    void this.#fillInto(filling);
    this.#filling = new Filling(new Batch(batch));
    this.#reader.writer.changeBatch(this.#filling.batch);
    void this.#deliver(filling, this.#reachedLsn, "batch");
  }

  async #deliver(filling: Filling, endLsn: Lsn, kind: "batch" | "idle"): Promise<void> {
    const startedAtMs = performance.now();
    this.#delivering = filling;
    let files: DeliveredFile[] = [];
    try {
      await filling.filled();
      files = await filling.batch.finish();
      await this.#parts.recordShapes(filling.batch.encoders);
      await this.#parts.delivery.submit({ kind, files, events: [], endLsn, ...filling.span() });
    } catch (error) {
      this.fail(error);
      return;
    } finally {
      for (const { file } of files) this.#parts.batch.memory.release(heldBytes(file));
    }
    this.#delivered(endLsn, performance.now() - startedAtMs, kind);
  }

  #delivered(endLsn: Lsn, tookMs: number, kind: "batch" | "idle"): void {
    this.#publishedRows += this.#delivering?.batch.rows ?? 0;
    this.#publishedBytes += this.#delivering?.batch.csvBytes ?? 0;
    this.#delivering = null;
    this.#recordedLsn = endLsn;
    this.#recordedAtMs = performance.now();
    if (kind === "batch")
      this.#deliveryMs = this.#deliveryMs === 0 ? tookMs : 0.7 * this.#deliveryMs + 0.3 * tookMs;
    this.#parts.source.acknowledge(endLsn);
    this.#tick();
  }

  /** The socket waits until enough memory is free; what is open leaves for the store meanwhile. */
  #waitForMemory(): void {
    void this.#whilePaused(async () => {
      this.#closeIfDue();
      // The rest of the chunk is read before this goes on: it may begin or end a transaction, or a fill.
      await Promise.resolve();
      await this.#filling.filled();
      if (this.#reader.insideTransaction) await this.#relieve(this.#filling.batch);
      await this.#parts.batch.memory.below(this.#enoughBytes);
    });
  }

  get #enoughBytes(): number {
    return this.#parts.batch.memory.limitBytes * RESUME_BELOW;
  }

  get #isShort(): boolean {
    const { memory } = this.#parts.batch;
    return memory.heldBytes > memory.limitBytes * PAUSE_AT;
  }

  async #relieve(batch: Batch): Promise<void> {
    await batch.relieve(() => this.#parts.batch.memory.heldBytes < this.#enoughBytes);
  }

  #fillNow(): void {
    const filling = this.#filling;
    void this.#whilePaused(() => this.#fillInto(filling));
  }

  /** Reads values back for the rows that wait, and writes them into the batch that they belong to. */
  #fillInto(filling: Filling): Promise<void> {
    const { writer } = this.#reader;
    return filling.fill(writer.takeDeferred(), {
      readBack: this.#parts.readBack,
      wrote: (row, bytes) => writer.tellIfLarge(row.encoder, row.values, bytes),
      relieve: async () => {
        if (this.#isShort) await this.#relieve(filling.batch);
      },
    });
  }

  async #whilePaused(wait: () => Promise<void>): Promise<void> {
    if (this.#pauses++ === 0) this.#parts.source.pause();
    try {
      await wait();
    } catch (error) {
      this.fail(error);
      return;
    }
    if (--this.#pauses === 0 && !this.#over && !this.#sealed) this.#parts.source.resume();
  }
}
