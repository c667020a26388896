import { setTimeout as delay } from "node:timers/promises";
import {
  BusyError,
  messageOf,
  OperatorError,
  ReplacedError,
  TransientError,
  UploadLostError,
} from "../core/errors.ts";
import { tableFilter } from "../core/globs.ts";
import { MemoryAccount } from "../core/memory.ts";
import { Delivery, type Published } from "../delivery/delivery.ts";
import { ShapeBook } from "../delivery/shapes.ts";
import { copyAgain, takeOver } from "../delivery/take-over.ts";
import type { LogFile } from "../core/document.ts";
import { asBusy, isConnectionLoss } from "../postgres/sql-connection.ts";
import { typeNames } from "../postgres/type-names.ts";
import { Pump, type PumpParts } from "../stream/pump.ts";
import { Copying, type CopyingParts } from "./copying.ts";
import { CatalogWatch } from "./catalog-watch.ts";
import { factsOf } from "./facts.ts";
import { feed } from "./feed.ts";
import { onLargeRow, onLost, onPublished } from "./reports.ts";
import { patientReadBack } from "./patient-read-back.ts";
import { listenForResync } from "./resync-listener.ts";
import { type Held, type LockParts } from "./slot-lock.ts";

/** What a process needs before it holds any row: Node, the SDK, pg. The rest of memory.max is for rows. */
const BASE_BYTES = 150 * 1024 * 1024;
const LEAST_ROW_BYTES = 40 * 1024 * 1024;
/** What is kept of every table: its columns, its place in the log, its encoder; measured with 10 columns. */
const TABLE_BYTES = 8 * 1024;
/** The stream's share of it; the rest is the copy's, so that neither waits for the other. */
const STREAM_SHARE = 0.6;
/** Share of the stream's memory that may be held before the open batch closes at the next commit. */
const BATCH_SHARE = 0.5;
/** Part of shutdown.timeout that is left for saying goodbye; whatever is on its way to the stage ends within it, or in vain. */
const FAREWELL_MS = 2_000;

export interface Attempt {
  readonly held: Held;
  /** Rejects when the slot is lost. */
  readonly watching: Promise<void>;
  /** Ends everything that the attempt waits for. */
  readonly over: AbortController;
  readonly stop: AbortSignal;
  /** Told when there is something to drain. */
  readonly begun: () => void;
}

/**
 * One hold on the slot, from taking over to the loss of whatever it depends on. Everything that it does not publish is
 * thrown away at the end: starting and recovering are the same. Resolves when drained, rejects with the reason.
 */
export async function runAttempt(parts: LockParts, attempt: Attempt): Promise<void> {
  const { store, patiently } = parts;
  const { held } = attempt;
  let copying: Copying | null = null;
  const lost = (files: readonly LogFile[]): void => {
    onLost(parts, files);
    void delivery.record(copyAgain(delivery.state, files)).then(
      () => copying?.wake(),
      () => {}, // told to whoever submits next
    );
  };
  const events = { published: (published: Published) => onPublished(parts, published), lost };
  const delivery = new Delivery({ store, log: held.log, patiently, events });
  try {
    await begin(parts, held, delivery);
    const captures = tableFilter(parts.settings.source);
    const catalog = new CatalogWatch(parts, { delivery, captures });
    await catalog.firstLook();
    const shapes = shapeBook(parts);
    const tables = Object.keys(delivery.state.tables).length;
    const rowBytes = rowBytesOf(parts.settings.memory.maxBytes, tables);
    const writer = writerParts(parts, rowBytes * STREAM_SHARE);
    const pump = new Pump({
      ...pumpParts(parts, { delivery, shapes, writer, captures, held, signal: attempt.over.signal }),
      shapeSeen: (seen) => catalog.shapeSeen(seen),
    });
    const copyWriter = writerParts(parts, rowBytes * (1 - STREAM_SHARE));
    copying = new Copying(parts, { delivery, shapes, writer: copyWriter, captures });
    catalog.onCopies = () => {
      pump.refreshEncoders();
      copying?.wake();
    };
    await live(parts, { ...attempt, pump, copying, catalog });
  } finally {
    attempt.over.abort();
    await held.stream.stop();
  }
}

function shapeBook({ store, patiently, settings, sql }: LockParts): ShapeBook {
  const { metadataPrefix } = settings.format;
  return new ShapeBook({
    store,
    patiently,
    metadataPrefix,
    typeNames: (types) => sql.use((client) => typeNames(client, types)),
  });
}

type Writer = CopyingParts["writer"];

/** What memory.max leaves for rows beside the process and what it knows of tables. */
export function rowBytesOf(maxBytes: number, tables: number): number {
  return Math.max(LEAST_ROW_BYTES, maxBytes - BASE_BYTES - tables * TABLE_BYTES);
}

function writerParts({ store, patiently, settings }: LockParts, rowBytes: number): Writer {
  return {
    store,
    memory: new MemoryAccount(rowBytes),
    compression: settings.format.compression,
    patiently,
    fileMaxBytes: settings.file.maxBytes,
  };
}

function pumpParts(
  parts: LockParts,
  own: CopyingParts & { held: Held; signal: AbortSignal },
): Omit<PumpParts, "shapeSeen"> {
  const { settings } = parts;
  const { delivery, shapes, writer, captures, held, signal } = own;
  return {
    source: held.stream,
    delivery,
    batch: writer,
    facts: factsOf(() => delivery.state, {
      captures,
      largeRow: (row) => onLargeRow(parts, row),
    }),
    readBack: patientReadBack(parts, { delivery, signal }),
    limits: {
      flushAfterMs: settings.flush.intervalMs,
      maxBatchBytes: settings.flush.maxBytes,
      maxHeldBytes: writer.memory.limitBytes * BATCH_SHARE,
    },
    metadataPrefix: settings.format.metadataPrefix,
    startLsn: held.from,
    publishedUntilMs: held.reading?.streamedUntilMs ?? null,
    recordShapes: (encoders) => shapes.record([...encoders].map((encoder) => encoder.shape)),
  };
}

/** Takes over what the daemon before us left, and says what that was. */
async function begin(parts: LockParts, held: Held, delivery: Delivery): Promise<void> {
  const { store, log, patiently } = parts;
  const { reading, from } = held;
  if (reading?.damage) {
    log.error({ damage: reading.damage }, "log documents are gone: all tables are copied afresh");
  }
  const discarded = await takeOver({
    store,
    patiently,
    delivery,
    reading,
    from,
    lost: (files) => onLost(parts, files),
    notDiscarded: (error) => log.warn({ err: error }, "uploads of an earlier run could not be discarded"),
  });
  const recovered = reading?.last.files.length ?? 0;
  const facts = { from_lsn: from, sequence: delivery.state.sequence };
  log.info({ ...facts, recovered_files: recovered, discarded_uploads: discarded }, "started");
}

interface Living extends Attempt {
  readonly pump: Pump;
  readonly copying: Copying;
  readonly catalog: CatalogWatch;
}

/** Everything at once, until the first of it fails or the drain is done. */
async function live(parts: LockParts, living: Living): Promise<void> {
  const { held, pump, copying, catalog, over, stop, begun } = living;
  const { observations, settings } = parts;
  observations.watch(() => pump.position());
  const failing = [
    feed(held, pump, parts.unsendable),
    copying.run(over.signal),
    catalog.run(over.signal),
    living.watching,
    listenForResync(parts, { catalog, signal: over.signal }),
  ];
  for (const part of failing) part.catch((error: unknown) => pump.fail(error));
  const drain = (): void => {
    observations.stateChanged("draining");
    copying.stop();
    pump.drain();
    setTimeout(
      () => pump.fail(new NotDrainedError("shutdown.timeout is over")),
      Math.max(0, settings.shutdown.timeoutMs - FAREWELL_MS),
    ).unref();
  };
  begun();
  if (stop.aborted) drain();
  stop.addEventListener("abort", drain, { once: true });
  try {
    await pump.done;
    if (!stop.aborted) throw new BusyError("everything before what cannot be sent is published");
  } catch (error) {
    const reason = explain(error);
    const isCut = reason instanceof Error && isPassing(reason) && pump.position().openRows > 0;
    throw stop.aborted && isCut ? new NotDrainedError(reason.message) : reason;
  } finally {
    stop.removeEventListener("abort", drain);
    over.abort();
    copying.stop();
    // What still waits for an answer may wait on a connection that is only half there.
    parts.sql.close();
    await Promise.race([Promise.allSettled(failing.slice(1)), delay(FAREWELL_MS, undefined, { ref: false })]);
  }
}

/** What was received could not all be published before the end, and why. Nothing is lost: it is sent again at the next start. */
export class NotDrainedError extends Error {
  override readonly name = "NotDrainedError";
}

/** Worth another attempt from the log on. */
export function isPassing(error: unknown): boolean {
  return (
    error instanceof TransientError || error instanceof ReplacedError || error instanceof UploadLostError
  );
}

function explain(error: unknown): unknown {
  if (error instanceof OperatorError || error instanceof TransientError || error instanceof ReplacedError)
    return error;
  return isConnectionLoss(error)
    ? new TransientError(`the replication connection was lost: ${messageOf(error)}`, { cause: error })
    : asBusy(error);
}
