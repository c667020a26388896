import { setTimeout as delay } from "node:timers/promises";
import { BusyError, OperatorError, ReplacedError, TransientError } from "../core/errors.ts";
import { tableName } from "../core/table.ts";
import { CopyRun, type CopierParts } from "../copy/run.ts";
import type { RangeFailure, Session } from "../copy/session.ts";
import type { Delivery } from "../delivery/delivery.ts";
import type { ShapeBook } from "../delivery/shapes.ts";
import { CopySession, TableBusyError, TableChangedError } from "../postgres/copy-session.ts";
import { sqlState } from "../postgres/quote.ts";
import { blockersOf, SlotWaitError } from "../postgres/slot.ts";
import { isConnectionLoss, isLocked } from "../postgres/sql-connection.ts";
import { giveWay } from "./give-way.ts";
import { tellLockWait } from "./lock-waits.ts";
import { pause } from "./pause.ts";
import { copierEvents, onLargeRow } from "./reports.ts";
import type { LockParts } from "./slot-lock.ts";

/** How long a consistent point may wait for running transactions before it is given up, and tried again later. */
const POINT_WAIT_MS = 30_000;
/** … and after how long it is told. */
const POINT_TOLD_MS = 5_000;
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 30_000;
/** A table that the server refuses is tried again after this. */
const REFUSED_PAUSE_MS = 60_000;
/** One session copies; a second one serves tables that came while it runs. */
const MAX_SESSIONS = 2;

export interface CopyingParts {
  readonly delivery: Delivery;
  readonly shapes: ShapeBook;
  readonly writer: CopierParts["writer"];
  readonly captures: (schema: string, table: string) => boolean;
}

/** Copies whatever the log says is not copied yet, in one session after the other. */
export class Copying {
  readonly #parts: LockParts;
  readonly #own: CopyingParts;
  readonly #stopping = new AbortController();
  readonly #inSession = new Set<number>();
  readonly #refusedUntilMs = new Map<number, number>();
  readonly #sessions = new Set<Session>();
  readonly #running = new Set<Promise<void>>();
  #wake: () => void = () => {};
  #woken: Promise<void>;

  constructor(parts: LockParts, own: CopyingParts) {
    this.#parts = parts;
    this.#own = own;
    this.#woken = this.#nextWake();
  }

  wake(): void {
    this.#wake();
  }

  /** Ends the sessions; what is not published of them is thrown away. */
  stop(): void {
    this.#stopping.abort();
    this.#wake();
    for (const session of this.#sessions) void session.close();
  }

  /** Until stopped and every session has ended. Rejects as soon as one fails for good; the others end with the attempt. */
  async run(signal: AbortSignal): Promise<void> {
    const ended = AbortSignal.any([signal, this.#stopping.signal]);
    let failure: unknown = null;
    while (!ended.aborted && failure === null) {
      const oids = this.#waiting();
      this.#showState(oids);
      if (oids.length > 0 && this.#running.size < MAX_SESSIONS) {
        this.#begin(oids, ended, (error) => {
          failure ??= error;
          this.#wake();
        });
        continue;
      }
      await pause(REFUSED_PAUSE_MS / 4, this.#woken, ended);
      this.#woken = this.#nextWake();
    }
    this.#forgetWaits();
    if (failure !== null && !ended.aborted) throw failure;
    await Promise.all(this.#running);
  }

  #nextWake(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }

  #waiting(): number[] {
    const now = performance.now();
    return Object.values(this.#own.delivery.state.tables)
      .filter(
        ({ catalog, copy }) =>
          copy.phase !== "copied" &&
          !this.#inSession.has(catalog.oid) &&
          (this.#refusedUntilMs.get(catalog.oid) ?? 0) < now,
      )
      .map((record) => record.catalog.oid);
  }

  #showState(waiting: readonly number[]): void {
    if (this.#stopping.signal.aborted) return;
    const refused = [...this.#refusedUntilMs.values()].some((until) => until > performance.now());
    const copying = waiting.length > 0 || this.#inSession.size > 0 || refused;
    this.#parts.observations.stateChanged(copying ? "copying" : "streaming");
    if (!copying) this.#forgetWaits();
  }

  #forgetWaits(): void {
    for (const id of ["lock-waits", "slot-creation-waits", "copies-wait"] as const)
      this.#parts.observations.clear(id);
  }

  #begin(oids: readonly number[], ended: AbortSignal, failed: (error: unknown) => void): void {
    for (const oid of oids) this.#inSession.add(oid);
    const running = this.#session(oids, ended)
      .catch(failed)
      .then(() => {
        this.#running.delete(running);
        for (const oid of oids) this.#inSession.delete(oid);
        this.#wake();
      });
    this.#running.add(running);
  }

  /** Sessions for these tables, until they are copied or given up; a lost connection is followed by the next session. */
  async #session(oids: readonly number[], ended: AbortSignal): Promise<void> {
    let pauseMs = FIRST_PAUSE_MS;
    while (!ended.aborted) {
      const left = oids.filter((oid) => this.#isLeft(oid));
      if (left.length === 0) return;
      try {
        if (await this.#oneSession(left, ended)) pauseMs = FIRST_PAUSE_MS;
      } catch (error) {
        if (ended.aborted) return;
        if (!isTransient(error)) throw error;
        // A notice of its own says what a consistent point waits for.
        const level = error instanceof BusyError ? "debug" : "warn";
        this.#parts.log[level](
          { err: error, tables: left.length },
          "a copy session was lost; the next one goes on with what is missing",
        );
      }
      if (!oids.some((oid) => this.#isLeft(oid))) return;
      await delay(pauseMs, undefined, { signal: ended }).catch(() => {});
      pauseMs = Math.min(LONGEST_PAUSE_MS, pauseMs * 2);
    }
  }

  #isLeft(oid: number): boolean {
    const copy = this.#own.delivery.state.tables[oid]?.copy;
    return (
      copy !== undefined &&
      copy.phase !== "copied" &&
      (this.#refusedUntilMs.get(oid) ?? 0) < performance.now()
    );
  }

  /** True if it got as far as reading. */
  async #oneSession(oids: readonly number[], ended: AbortSignal): Promise<boolean> {
    const session = await this.#open();
    if (!session) return false;
    this.#sessions.add(session);
    const watching = new AbortController();
    const watched = { pids: session.pids, end: () => session.close(), signal: watching.signal };
    const watch = giveWay(this.#parts, watched);
    watch.catch((error: unknown) => this.#parts.log.warn({ err: error }, "waiting locks are not watched"));
    try {
      const { settings } = this.#parts;
      const run = new CopyRun(
        {
          delivery: this.#own.delivery,
          shapes: this.#own.shapes,
          writer: this.#own.writer,
          rangeBytes: settings.snapshot.rangeBytes,
          maxAgeMs: settings.snapshot.maxAgeMs,
          maxBytesPerSecond: settings.snapshot.maxBytesPerSecond,
          metadataPrefix: settings.format.metadataPrefix,
          failureOf: rangeFailure,
          events: {
            ...copierEvents(this.#parts, () => this.#own.delivery.state),
            refused: (table, error) => this.#refused(table, error),
            busy: (locked) => {
              const isLeft = (): boolean => this.#inSession.has(locked.oid) && !ended.aborted;
              void tellLockWait(this.#parts, locked, isLeft);
            },
            largeRow: (row) => onLargeRow(this.#parts, row),
          },
        },
        session,
        ended,
      );
      await run.run(oids);
      return true;
    } finally {
      watching.abort();
      this.#sessions.delete(session);
      await session.close();
    }
  }

  #refused(table: string, error: unknown): void {
    const { log, observations } = this.#parts;
    log.debug({ err: error, table }, "the server refuses to copy a table");
    observations.raise("copy-refused", { table, problem: (error as Error).message }, table);
    for (const { catalog } of Object.values(this.#own.delivery.state.tables)) {
      if (tableName(catalog) === table)
        this.#refusedUntilMs.set(catalog.oid, performance.now() + REFUSED_PAUSE_MS);
    }
  }

  async #open(): Promise<(Session & { readonly pids: readonly number[] }) | null> {
    const { settings, serverVersion, observations } = this.#parts;
    const { source, snapshot } = settings;
    const workers = this.#sessions.size > 0 ? 1 : snapshot.workers;
    let isOpening = true;
    const tell = (): Promise<void> => this.#tellPointWait(() => isOpening);
    const telling = setTimeout(() => void tell(), POINT_TOLD_MS);
    try {
      const session = await CopySession.open({
        source,
        schemas: source.schemas,
        serverVersion,
        workers,
        waitMs: POINT_WAIT_MS,
      });
      isOpening = false;
      observations.clear("slot-creation-waits");
      observations.clear("copies-wait");
      const tables = session.catalog.tables.filter((table) => this.#own.captures(table.schema, table.name));
      return sessionOf(session, tables);
    } catch (error) {
      if (error instanceof SlotWaitError) await tell();
      if (!(error instanceof OperatorError)) throw error;
      // All slots are taken, perhaps: no reason to end the stream, whose connection is there.
      observations.hold("copies-wait", { problem: error.message, todo: error.mend });
      throw new BusyError(error.message, { cause: error });
    } finally {
      isOpening = false;
      clearTimeout(telling);
    }
  }

  async #tellPointWait(isWaiting: () => boolean): Promise<void> {
    const { sql, observations } = this.#parts;
    const [holder] = await sql.use(blockersOf).catch((): string[] => []);
    if (holder !== undefined && isWaiting() && !this.#stopping.signal.aborted)
      observations.hold("slot-creation-waits", { holder });
  }
}

export function sessionOf(
  session: CopySession,
  tables: Session["tables"],
): Session & { readonly pids: readonly number[] } {
  return {
    pids: session.pids,
    consistentPoint: session.consistentPoint,
    pointMicros: session.pointMicros,
    tables,
    workers: session.workers,
    sizes: (oids) => session.sizes(oids),
    copy: (worker, range, columns, onRow) => session.copy(worker, range, { columns, onRow }),
    close: () => session.close(),
  };
}

/** What a failed range means for the session. */
export function rangeFailure(error: unknown): RangeFailure {
  if (error instanceof TableBusyError) return "busy";
  if (error instanceof TableChangedError) return "changed";
  if (error instanceof OperatorError || error instanceof ReplacedError || isConnectionLoss(error))
    return "lost";
  return sqlState(error) === "" ? "lost" : "refused";
}

function isTransient(error: unknown): boolean {
  return error instanceof TransientError || isConnectionLoss(error) || isLocked(error);
}
