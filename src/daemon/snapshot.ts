import { setTimeout as delay } from "node:timers/promises";
import { OperatorError, ReplacedError, TransientError, UploadLostError } from "../core/errors.ts";
import { tableFilter } from "../core/globs.ts";
import { formatLsn } from "../core/lsn.ts";
import { MemoryAccount } from "../core/memory.ts";
import { tableName } from "../core/table.ts";
import { CopyRun, type CopierEvents } from "../copy/run.ts";
import { namesOf } from "../copy/reasons.ts";
import type { Session } from "../copy/session.ts";
import { Delivery, type Published } from "../delivery/delivery.ts";
import { Gathering } from "../delivery/gathering.ts";
import type { Log } from "../delivery/log.ts";
import { patience, unlessStopped } from "../delivery/patience.ts";
import { tellLockWait, type Locked } from "./lock-waits.ts";
import { storeHealth } from "./store-health.ts";
import { ShapeBook } from "../delivery/shapes.ts";
import type { State, TableEvent } from "../delivery/state.ts";
import { connectSource } from "../postgres/connect.ts";
import { CopySession } from "../postgres/copy-session.ts";
import { blockersOf } from "../postgres/slot.ts";
import { isConnectionLoss, SqlConnection } from "../postgres/sql-connection.ts";
import { typeNames } from "../postgres/type-names.ts";
import { rowBytesOf } from "./attempt.ts";
import { rangeFailure, sessionOf } from "./copying.ts";
import { giveWay } from "./give-way.ts";
import type { DaemonParts } from "./parts.ts";
import { copierEvents, onLargeRow } from "./reports.ts";
import type { LockParts } from "./slot-lock.ts";
import { discardLeftovers, findLeftovers, isReplaced, openLog, replaced } from "./snapshot-log.ts";

/** How long a consistent point may wait for running transactions before it says for whom. */
const POINT_WAIT_MS = 30_000;
/** Tables that are rewritten meanwhile, and lost connections, are answered with a new consistent point. */
const ATTEMPTS = 3;
const PAUSE_MS = 2_000;
/** snapshot.maxAge is for copies that can be continued in another session. Ten days is for ever here. */
const NO_MAX_AGE_MS = 10 * 86_400_000;

/**
 * Copies every table at one consistent point and publishes all of it at once; leaves no slot behind. Rejects with an
 * OperatorError, a TransientError, or the reason of `stop`; then nothing is published, or what was recorded in full
 * will be by the next run.
 */
export async function runSnapshot(parts: DaemonParts, stop: AbortSignal): Promise<void> {
  const over = new AbortController();
  const { observations, settings, log } = parts;
  const patiently = patience(over.signal, storeHealth(observations));
  const end = (): void => over.abort(stop.reason);
  stop.addEventListener("abort", end, { once: true });
  if (stop.aborted) end();
  const serverVersion = await versionOf(parts);
  const sql = new SqlConnection(settings.source, serverVersion);
  try {
    const snapshot = new Snapshot(
      { ...parts, sql, serverVersion, patiently, unsendable: null },
      over.signal,
      () => {
        // From here on everything is recorded, and better published than left to the next run.
        stop.removeEventListener("abort", end);
        stop.addEventListener("abort", () => setTimeout(end, settings.shutdown.timeoutMs).unref(), {
          once: true,
        });
      },
    );
    const { document, tookMs } = await snapshot.run();
    const rows = document.files.reduce((sum, file) => sum + file.rows, 0);
    const bytes = document.files.reduce((sum, file) => sum + file.bytes, 0);
    const tables = new Set(document.files.map((file) => file.table)).size;
    log.info(
      { tables, rows, bytes, files: document.files.length, publish_ms: Math.round(tookMs) },
      "snapshot published",
    );
  } catch (error) {
    if (stop.aborted) throw stop.reason;
    throw error;
  } finally {
    stop.removeEventListener("abort", end);
    over.abort();
    sql.close();
  }
}

async function versionOf({ settings }: DaemonParts): Promise<number> {
  const client = await connectSource(settings.source, "sql");
  try {
    const { rows } = await client.query<{ version: number }>(
      "SELECT pg_catalog.current_setting('server_version_num')::int4 / 10000 AS version",
    );
    return rows[0]?.version ?? 0;
  } finally {
    await client.end().catch(() => {});
  }
}

/** What a session could not copy. */
interface Incomplete {
  /** Tables with the reason. */
  readonly tables: ReadonlyMap<string, string>;
  readonly isRefused: boolean;
}

class Snapshot {
  readonly #parts: LockParts;
  readonly #signal: AbortSignal;
  readonly #recording: () => void;

  constructor(parts: LockParts, signal: AbortSignal, recording: () => void) {
    this.#parts = parts;
    this.#signal = signal;
    this.#recording = recording;
  }

  async run(): Promise<Published> {
    const { log } = this.#parts;
    const own = await openLog(this.#parts);
    const leftovers = await findLeftovers(this.#parts);
    for (let attempt = 1; ; attempt++) {
      this.#signal.throwIfAborted();
      const gathering = this.#gather(own.state);
      try {
        const incomplete = await this.#copy(gathering);
        if (incomplete === null) {
          const published = await this.#publish(own, gathering);
          await discardLeftovers(this.#parts, leftovers);
          return published;
        }
        await this.#discard(gathering);
        const what = [...incomplete.tables].map(([table, why]) => `${table} (${why})`).join(", ");
        if (incomplete.isRefused || attempt === ATTEMPTS) throw notCopied(what, incomplete.isRefused);
        log.warn(
          { tables: [...incomplete.tables.keys()], reasons: what },
          "tables changed while they were copied; all are copied again at a later point",
        );
      } catch (error) {
        if (error instanceof RecordedError) throw error.cause;
        await this.#discard(gathering);
        this.#signal.throwIfAborted();
        if (await isReplaced(this.#parts, error, own)) throw replaced(error);
        if (!isPassing(error) || attempt === ATTEMPTS) throw error;
        log.warn({ err: error }, "the copy was interrupted; all tables are copied again at a later point");
      }
      await delay(PAUSE_MS, undefined, { signal: this.#signal }).catch(() => {});
    }
  }

  #gather(state: State): Gathering {
    const { settings, store, patiently } = this.#parts;
    const tables = Object.keys(state.tables).length;
    const memory = new MemoryAccount(rowBytesOf(settings.memory.maxBytes, tables));
    return new Gathering({ store, memory, patiently, state: { ...state, tables: {} } });
  }

  /** What a store that does not answer keeps meanwhile is found by the next run. */
  async #discard(gathering: Gathering): Promise<void> {
    await unlessStopped(gathering.discard(), this.#signal).catch(() => {});
  }

  /** Null if every table is there. */
  async #copy(gathering: Gathering): Promise<Incomplete | null> {
    const session = await this.#openSession();
    const close = (): void => void session.close();
    const watching = new AbortController();
    this.#signal.addEventListener("abort", close, { once: true });
    giveWay(this.#parts, { pids: session.pids, end: null, signal: watching.signal }).catch(() => {});
    try {
      await gathering.record(
        session.tables.map((table): TableEvent => {
          const copy = { phase: "pending", reason: "a snapshot" } as const;
          return { event: "table", table: { catalog: table, names: namesOf(table), copy } };
        }),
      );
      const reasons = new Map<string, string>();
      let isRefused = false;
      const run = this.#copyRun(gathering, session, (table, error) => {
        isRefused = true;
        reasons.set(table, (error as Error).message);
      });
      await run.run(session.tables.map(({ oid }) => oid));
      await gathering.finish();
      this.#signal.throwIfAborted();
      for (const { catalog, copy } of Object.values(gathering.state.tables)) {
        const name = tableName(catalog);
        if (copy.phase !== "copied" && !reasons.has(name))
          reasons.set(name, "it was locked, rewritten or truncated");
      }
      this.#parts.log.info(
        { lsn: formatLsn(session.consistentPoint), tables: session.tables.length },
        "all tables are read",
      );
      return reasons.size === 0 ? null : { tables: reasons, isRefused };
    } finally {
      watching.abort();
      this.#signal.removeEventListener("abort", close);
      await session.close();
    }
  }

  async #openSession(): Promise<Session & { readonly pids: readonly number[] }> {
    const { settings, serverVersion, sql, observations } = this.#parts;
    const { source, snapshot } = settings;
    const captures = tableFilter(source);
    for (;;) {
      this.#signal.throwIfAborted();
      try {
        const about = { source, schemas: source.schemas, serverVersion, workers: snapshot.workers };
        const session = await CopySession.open({ ...about, waitMs: POINT_WAIT_MS });
        observations.clear("slot-creation-waits");
        return sessionOf(
          session,
          session.catalog.tables.filter((table) => captures(table.schema, table.name)),
        );
      } catch (error) {
        if (!(error instanceof TransientError)) throw error;
        const [holder] = await sql.use(blockersOf);
        if (!holder) throw error;
        observations.hold("slot-creation-waits", { holder });
      }
    }
  }

  #copyRun(
    gathering: Gathering,
    session: Session,
    refused: (table: string, error: unknown) => void,
  ): CopyRun {
    const { settings, store, patiently, sql } = this.#parts;
    const { metadataPrefix, compression } = settings.format;
    const { rangeBytes, maxBytesPerSecond } = settings.snapshot;
    const types = (all: Parameters<typeof typeNames>[1]): ReturnType<typeof typeNames> =>
      sql.use((client) => typeNames(client, all));
    const shapes = new ShapeBook({ store, patiently, metadataPrefix, typeNames: types });
    const writer = {
      store: gathering.store,
      memory: gathering.memory,
      compression,
      patiently,
      fileMaxBytes: settings.file.maxBytes,
    };
    const events = {
      ...copierEvents(this.#parts, () => gathering.state),
      tableCopied: ({ table, rows, bytes }: Parameters<CopierEvents["tableCopied"]>[0]) =>
        this.#parts.log.info({ table, rows, bytes }, "table copied"),
      refused,
      busy: (locked: Locked) => void tellLockWait(this.#parts, locked, () => !this.#signal.aborted),
      largeRow: (row: Parameters<typeof onLargeRow>[1]) => onLargeRow(this.#parts, row),
    };
    const limits = { rangeBytes, maxBytesPerSecond, maxAgeMs: NO_MAX_AGE_MS };
    return new CopyRun(
      { delivery: gathering, shapes, writer, ...limits, metadataPrefix, failureOf: rangeFailure, events },
      session,
      this.#signal,
    );
  }

  /** One document for all; what happens after it is written must not throw away what it names. */
  async #publish(log: Log, gathering: Gathering): Promise<Published> {
    const { store, patiently } = this.#parts;
    const known = Object.values(gathering.state.tables);
    const gone = Object.keys(log.state.tables).filter((oid) => gathering.state.tables[oid] === undefined);
    const events: TableEvent[] = [
      ...known.map((table): TableEvent => ({ event: "table", table })),
      ...gone.map((oid): TableEvent => ({ event: "forget", oid: Number(oid) })),
    ];
    const { sequence } = log.state;
    this.#recording();
    const lostKeys: string[] = [];
    const lost = (files: readonly { key: string }[]): void =>
      void lostKeys.push(...files.map(({ key }) => key));
    const delivery = new Delivery({ store, log, patiently, events: { published: () => {}, lost } });
    const about = { endLsn: null, firstLsn: null, committedAt: null };
    try {
      const published = await delivery.submit({ kind: "batch", files: gathering.files, events, ...about });
      if (lostKeys.length === 0) return published;
    } catch (error) {
      if (error instanceof ReplacedError) throw error;
      // It cannot be told whether the document was written, but for a log that has gone on without it.
      throw log.state.sequence > sequence || this.#signal.aborted || isPassing(error)
        ? new RecordedError("recorded", { cause: error })
        : error;
    }
    // Passing: another copy replaces this one, which has holes.
    throw new TransientError(
      `${lostKeys.length} staged file(s) were gone before they could be published, such as ${lostKeys[0]}`,
    );
  }
}

/** The document is written, or may be: its files belong to the next run's recovery. */
class RecordedError extends Error {
  override readonly name = "RecordedError";
}

function isPassing(error: unknown): boolean {
  return error instanceof UploadLostError || isConnectionLoss(error);
}

function notCopied(what: string, isRefused: boolean): Error {
  if (!isRefused) return new TransientError(`not copied: ${what}; nothing was published`);
  return new OperatorError(
    `the server refuses to copy ${what}; nothing was published`,
    "give the user of source.url SELECT on the table, and BYPASSRLS if it has row-level security; or name it in source.exclude",
  );
}
