import { ReplacedError, TransientError, UploadLostError } from "../../src/core/errors.ts";
import type { Compression } from "../../src/core/layout.ts";
import { MemoryAccount } from "../../src/core/memory.ts";
import { CopyRun } from "../../src/copy/run.ts";
import { compareCatalog } from "../../src/daemon/discovery.ts";
import { factsOf } from "../../src/daemon/facts.ts";
import { Delivery } from "../../src/delivery/delivery.ts";
import type { Patiently } from "../../src/delivery/file-writer.ts";
import { readLog, type Log, type Reading } from "../../src/delivery/log.ts";
import { ShapeBook } from "../../src/delivery/shapes.ts";
import { copyAgain, takeOver } from "../../src/delivery/take-over.ts";
import type { Lsn } from "../../src/core/lsn.ts";
import type { Store } from "../../src/stores/store.ts";
import { Pump } from "../../src/stream/pump.ts";
import { SILENT } from "../support/copier-events.ts";
import type { FakeStream } from "../support/fake-source.ts";
import { turns } from "../support/faulty-store.ts";
import type { Random } from "../support/random.ts";
import { FakeSession, failureOf } from "./fake-session.ts";
import { impatience, takeSlot } from "./slot.ts";
import type { World } from "./world.ts";

/** How one daemon is set up. */
export interface Setup {
  readonly compression: Compression;
  readonly fileMaxBytes: number;
  readonly memoryBytes: number;
  readonly flushAfterMs: number;
  readonly maxBatchBytes: number;
  readonly workers: number;
  readonly rangeBytes: number;
  /** Share of the ranges during which a copy connection breaks. */
  readonly breaks: number;
  /** Turns of the event loop that a range takes, at most. */
  readonly copyTurns: number;
  /** Every range in a session of its own, as a tiny snapshot.maxAge does. */
  readonly shortSessions: boolean;
  /** Share of the questions for unchanged values that fail. */
  readonly readBackFails: number;
}

export interface DaemonParts {
  readonly store: Store;
  readonly world: World;
  readonly random: Random;
  readonly setup: Setup;
  /** A connection that streams from the slot. Throws if there is none to be had. */
  readonly connect: (random: Random) => FakeStream;
}

const PREFIX = "_";

export function isPassing(error: unknown): boolean {
  return (
    error instanceof TransientError || error instanceof ReplacedError || error instanceof UploadLostError
  );
}

/**
 * One hold on the slot: what src/daemon/slot-lock.ts and attempt.ts put together, with a model in the place of the
 * server. Everything of stream, delivery and copy is the real thing.
 */
export class ModelDaemon {
  readonly pump: Pump;
  readonly stream: FakeStream;
  readonly memory: MemoryAccount;
  readonly #parts: DaemonParts;
  readonly #delivery: Delivery;
  readonly #shapes: ShapeBook;
  readonly #patiently: Patiently;
  readonly #over: AbortController;
  #wake: () => void = () => {};
  #copying = false;

  /** Resolves once the slot is taken and the log taken over. */
  static async start(parts: DaemonParts): Promise<ModelDaemon> {
    const { store } = parts;
    const over = new AbortController();
    const patiently = impatience(over.signal);
    const reading = await patiently("read the log", () => readLog(store));
    const { log, from } = await takeSlot(parts, reading);
    const stream = parts.connect(parts.random.fork());
    try {
      return await ModelDaemon.#hold(parts, { over, patiently, reading, log, from, stream });
    } catch (error) {
      over.abort();
      stream.disconnect();
      throw error;
    }
  }

  static async #hold(parts: DaemonParts, held: Holding): Promise<ModelDaemon> {
    const { store } = parts;
    const { log, patiently, reading, from } = held;
    let daemon: ModelDaemon | null = null;
    const delivery = new Delivery({
      store,
      log,
      patiently,
      events: {
        published: () => {},
        lost: (files) =>
          void delivery.record(copyAgain(delivery.state, files)).then(
            () => daemon?.wake(),
            () => {},
          ),
      },
    });
    const told = { lost: () => {}, notDiscarded: () => {} };
    await takeOver({ store, patiently, delivery, reading, from, ...told });
    const difference = compareCatalog(delivery.state, parts.world.catalog());
    await delivery.record(difference.events);
    daemon = new ModelDaemon(parts, held, delivery);
    return daemon;
  }

  private constructor(parts: DaemonParts, held: Holding, delivery: Delivery) {
    const { store, world, setup, random } = parts;
    const { over, patiently, from, stream } = held;
    this.#parts = parts;
    this.#delivery = delivery;
    this.#over = over;
    this.#patiently = patiently;
    this.stream = stream;
    this.memory = new MemoryAccount(setup.memoryBytes);
    this.#shapes = new ShapeBook({
      store,
      patiently,
      typeNames: async (types) => types.map(() => "text"),
      metadataPrefix: PREFIX,
    });
    this.pump = new Pump({
      source: stream,
      delivery,
      batch: this.#writer,
      facts: factsOf(() => delivery.state, { captures: () => true, largeRow: () => {} }),
      readBack: async (table, keys) => {
        if (random.chance(setup.readBackFails)) throw new TransientError("no answer");
        return world.readBack(table, keys);
      },
      limits: { ...setup, maxHeldBytes: setup.memoryBytes * 0.35 },
      metadataPrefix: PREFIX,
      startLsn: from,
      shapeSeen: () => {},
      recordShapes: (encoders) => this.#shapes.record([...encoders].map((encoder) => encoder.shape)),
    });
    stream.receiver = {
      read: (payload) => this.#guard(() => this.pump.read(payload)),
      keepalive: (walEnd, urgent) => this.#guard(() => this.pump.keepalive(walEnd as Lsn, urgent)),
    };
    void this.#copyAll().catch((error: unknown) => this.pump.fail(error));
    const end = (): void => {
      over.abort();
      stream.disconnect();
      this.wake();
    };
    this.pump.done.then(end, end);
  }

  get #writer(): ConstructorParameters<typeof CopyRun>[0]["writer"] {
    const { store, setup } = this.#parts;
    const { compression, fileMaxBytes } = setup;
    return { store, memory: this.memory, compression, patiently: this.#patiently, fileMaxBytes };
  }

  /** What the connection does with an exception in its callback. */
  #guard(read: () => void): void {
    try {
      read();
    } catch (error) {
      this.pump.fail(error);
    }
  }

  wake(): void {
    this.#wake();
  }

  /** A look at the catalog. */
  async discover(): Promise<void> {
    const difference = compareCatalog(this.#delivery.state, this.#parts.world.catalog());
    await this.#delivery.record(difference.events);
    this.pump.refreshEncoders();
    this.wake();
  }

  /** An operator asks for a table. */
  async resync(table: number): Promise<void> {
    const records = Object.values(this.#delivery.state.tables);
    const record = records[table % Math.max(1, records.length)];
    if (!record) return;
    const copy = { phase: "pending", reason: "asked for" } as const;
    await this.#delivery.record([{ event: "table", table: { ...record, copy } }]);
    this.wake();
  }

  /** Whether every table is copied as it is now. */
  get isCopied(): boolean {
    return !this.#copying && this.#left().length === 0;
  }

  get differs(): boolean {
    return compareCatalog(this.#delivery.state, this.#parts.world.catalog()).events.length > 0;
  }

  describe(): string {
    const tables = Object.values(this.#delivery.state.tables).map(({ catalog, copy }) => [
      catalog.name,
      copy,
    ]);
    const facts = {
      tables,
      position: this.pump.position(),
      isPaused: this.pump.isPaused,
      held: this.memory.heldBytes,
    };
    const text = (_key: string, value: unknown): unknown =>
      typeof value === "bigint" ? String(value) : value;
    return JSON.stringify({ ...facts, limit: this.memory.limitBytes, paused: this.stream.paused }, text);
  }

  #left(): number[] {
    const records = Object.values(this.#delivery.state.tables);
    return records.filter(({ copy }) => copy.phase !== "copied").map(({ catalog }) => catalog.oid);
  }

  async #copyAll(): Promise<void> {
    const { signal } = this.#over;
    while (!signal.aborted) {
      const woken = new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      const oids = this.#left();
      this.#copying = oids.length > 0;
      if (oids.length === 0) {
        await woken;
        continue;
      }
      try {
        await this.#session(oids);
      } catch (error) {
        if (!(error instanceof TransientError)) throw error;
      }
      await turns(1);
    }
  }

  async #session(oids: readonly number[]): Promise<void> {
    const { world, random, setup } = this.#parts;
    const session = new FakeSession(world, random.fork(), setup);
    const run = new CopyRun(
      {
        delivery: this.#delivery,
        shapes: this.#shapes,
        writer: this.#writer,
        rangeBytes: setup.rangeBytes,
        maxAgeMs: setup.shortSessions ? 0 : 3_600_000,
        maxBytesPerSecond: 0,
        metadataPrefix: PREFIX,
        failureOf,
        events: SILENT,
      },
      session,
      this.#over.signal,
    );
    try {
      await run.run(oids);
    } finally {
      await session.close();
    }
  }
}

interface Holding {
  readonly over: AbortController;
  readonly patiently: Patiently;
  readonly reading: Reading | null;
  readonly log: Log;
  readonly from: Lsn;
  readonly stream: FakeStream;
}
