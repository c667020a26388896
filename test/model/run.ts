import type { LogDocument } from "../../src/core/document.ts";
import { parseLsn, type Lsn } from "../../src/core/lsn.ts";
import { TransientError } from "../../src/core/errors.ts";
import { FaultyCalls, FaultyStore, turns, type Ambush, type Fault } from "../support/faulty-store.ts";
import { MemoryStage, MemoryStore } from "../support/memory-store.ts";
import { Random } from "../support/random.ts";
import { checkStage } from "./checks.ts";
import { isPassing, ModelDaemon, type Setup } from "./daemon.ts";
import type { Kind } from "./tables.ts";
import { World, type Transaction } from "./world.ts";

/** One process: how it is set up, what goes wrong, and how it ends. */
export interface Life extends Setup {
  readonly faults: readonly Fault[];
  readonly ambush: Ambush | null;
  /** Transactions that are committed while it lives. */
  readonly commits: number;
  /** Messages in one chunk of the socket, at most. */
  readonly chunk: number;
  /** Share of the turns in which a chunk comes: the stream may be far behind the copies. */
  readonly speed: number;
  /** Positions that the server forgets before it starts. */
  readonly slotBack: number;
  /** Kilobytes of WAL that nobody needs are written meanwhile. */
  readonly idleKilobytes: number;
  /** A table that is copied afresh on request meanwhile; null: none. */
  readonly resync: number | null;
  /** Whether it is asked to drain, or killed where it stands. */
  readonly ends: "drains" | "is killed";
}

export interface Scenario {
  readonly seed: number;
  readonly kinds: readonly Kind[];
  /** Rows of each table before everything else. */
  readonly rows: number;
  /** How many of the transactions are older than the slot. */
  readonly before: number;
  readonly transactions: readonly Transaction[];
  readonly lives: readonly Life[];
}

/** Longer than the slowest history takes on a busy machine; what is still not done then never will be. */
const STUCK_AFTER_MS = 20_000;

/** The last one has nothing to fear. */
const LAST_LIFE: Life = {
  compression: "none",
  fileMaxBytes: 1_000_000,
  memoryBytes: 64_000_000,
  flushAfterMs: 10,
  maxBatchBytes: 1_000_000,
  workers: 2,
  rangeBytes: 16_384,
  breaks: 0,
  copyTurns: 3,
  shortSessions: false,
  readBackFails: 0,
  faults: [],
  ambush: null,
  commits: Number.POSITIVE_INFINITY,
  chunk: 20,
  speed: 1,
  slotBack: 0,
  idleKilobytes: 10,
  resync: null,
  ends: "drains",
};

/** Plays a scenario to its end and throws what is wrong then. */
export async function play(scenario: Scenario): Promise<Played> {
  const played = new Played(scenario);
  for (const life of scenario.lives) await played.live(life);
  await played.live(LAST_LIFE);
  await played.end();
  return played;
}

/** A database, a stage, and the daemons between them, one after the other. */
export class Played {
  readonly world: World;
  readonly stage = new MemoryStage();
  /** Calls to the store and lives that ended in an error that starts over, over all. */
  calls = 0;
  restarts = 0;
  readonly #random: Random;
  readonly #left: Transaction[];
  #replaced: ModelDaemon[] = [];
  /** A promise that was broken in a callback. */
  #broken: Error | null = null;

  constructor({ seed, kinds, rows, before, transactions }: Scenario) {
    this.world = new World(kinds);
    this.world.fill(rows);
    this.#random = new Random(seed);
    this.#left = [...transactions];
    for (const transaction of this.#left.splice(0, before)) this.world.commit(transaction);
  }

  async live(life: Life): Promise<void> {
    this.world.server.forget(life.slotBack);
    const process = new Process(life, this.stage);
    const deadline = performance.now() + STUCK_AFTER_MS;
    const commits = Math.min(life.commits, this.#left.length);
    const goal = this.#left.length - commits;
    while (!process.isOver) {
      const daemon = await this.#start(life, process, deadline);
      if (!daemon) break;
      if (await this.#run(daemon, { life, process, goal, deadline })) break;
      if (!process.isOver) this.restarts++;
    }
    this.calls += process.calls.count;
    while (this.#left.length > goal) this.#commit();
  }

  /** Everything that a daemon that does not know that it was replaced still does has happened. */
  async end(): Promise<void> {
    for (const daemon of this.#replaced) {
      for (let turn = 0; turn < 50; turn++) {
        daemon.stream.step(10);
        await turns(1);
      }
      daemon.pump.fail(new Error("the end"));
    }
    await turns(60);
    if (this.#broken) throw this.#broken;
    checkStage(this.stage, this.world);
  }

  #commit(): void {
    const transaction = this.#left.shift();
    if (transaction) this.world.commit(transaction);
  }

  /** Tries until it holds the slot; null if the process is over before. */
  async #start(life: Life, process: Process, deadline: number): Promise<ModelDaemon | null> {
    while (!process.isOver) {
      if (performance.now() > deadline) throw new Error("stuck while starting");
      const { world } = this;
      const starting = ModelDaemon.start({
        store: process.store,
        world,
        random: this.#random.fork(),
        setup: life,
        connect: (own) => {
          if (process.isOver) throw new TransientError("another daemon has the slot");
          return world.server.connect(own, { confirming: (lsn) => this.#confirming(lsn) });
        },
      });
      try {
        const daemon = await Promise.race([starting, process.over]);
        if (daemon) return daemon;
        starting.then(
          (late) => this.#leave(late, process),
          () => {},
        );
        this.world.server.stream?.disconnect();
      } catch (error) {
        if (!isPassing(error)) throw error;
        this.restarts++;
      }
      await turns(1);
    }
    return null;
  }

  /** True if it has drained, or the process is over. */
  async #run(daemon: ModelDaemon, about: About): Promise<boolean> {
    const { process } = about;
    let ended: "drained" | "failed" | null = null;
    let failure: unknown = null;
    daemon.pump.done.then(
      () => (ended = "drained"),
      (error: unknown) => {
        ended = "failed";
        failure = error;
      },
    );
    const steps = this.#steps(daemon, about);
    while (ended === null && !process.isOver) {
      for (const one of this.#replaced) one.stream.step(3);
      steps();
      await turns(1);
    }
    if (process.isOver) {
      this.#leave(daemon, process);
      return true;
    }
    if (ended === "failed" && !isPassing(failure)) throw failure;
    if (ended === "drained" && daemon.isCopied && daemon.memory.heldBytes !== 0)
      throw new Error(`${daemon.memory.heldBytes} bytes are still held after the drain`);
    return ended === "drained";
  }

  /** What happens in one turn: commits, chunks, keepalives, looks at the catalog, and in the end the drain. */
  #steps(daemon: ModelDaemon, { life, process, goal, deadline }: About): () => void {
    const random = this.#random.fork();
    let { resync } = life;
    let looking = false;
    let quiet = 0;
    let draining = false;
    const look = (what: Promise<void>): void => {
      looking = true;
      what.catch((error: unknown) => daemon.pump.fail(error)).finally(() => (looking = false));
    };
    return () => {
      if (performance.now() > deadline) throw new Error(`stuck: ${daemon.describe()}`);
      if (this.#left.length > goal && random.chance(0.5)) this.#commit();
      if (random.chance(0.1)) this.world.server.skip(random.below(life.idleKilobytes * 100 + 1));
      if (random.chance(life.speed) || draining) daemon.stream.step(1 + random.below(life.chunk));
      if (random.chance(0.03)) daemon.stream.keepalive(true);
      if (!looking && resync !== null && random.chance(0.05)) {
        look(daemon.resync(resync));
        resync = null;
      } else if (!looking && !draining && random.chance(0.03)) {
        look(daemon.discover());
      }
      const done = this.#left.length <= goal && daemon.stream.isCaughtUp && !looking && resync === null;
      quiet = done && daemon.isCopied && !daemon.differs ? quiet + 1 : 0;
      // Copies need not be complete where a life ends early.
      const enough = life === LAST_LIFE ? quiet > 5 : done && random.chance(0.05);
      if (!enough || draining) return;
      draining = true;
      if (life.ends === "drains") daemon.pump.drain();
      else process.kill();
    };
  }

  /** A dead process does nothing more; a replaced one goes on with what it knows. */
  #leave(daemon: ModelDaemon, process: Process): void {
    daemon.stream.disconnect();
    if (process.calls.isDead) daemon.pump.fail(new Error("killed"));
    else this.#replaced.push(daemon);
  }

  /** Postgres may only forget what is recorded and published. */
  #confirming(lsn: Lsn): void {
    const [newest] = this.stage.keys("_pgstage/log/").slice(-1);
    const document = JSON.parse(String(this.stage.objects.get(newest ?? ""))) as LogDocument;
    if (document.endLsn === null || parseLsn(document.endLsn) < lsn)
      this.#broken ??= new Error("a position is confirmed that is not recorded");
    const missing = document.files.find((file) => !this.stage.objects.has(file.key));
    if (missing && !this.stage.hasExpired)
      this.#broken ??= new Error(`${missing.key} is confirmed and not published`);
  }
}

interface About {
  readonly life: Life;
  readonly process: Process;
  /** Transactions that are left for later lives. */
  readonly goal: number;
  readonly deadline: number;
}

/** What a crash takes away, all at once. */
class Process {
  readonly calls: FaultyCalls;
  readonly store: FaultyStore;
  readonly over: Promise<null>;
  isOver = false;
  #end: () => void = () => {};

  constructor({ faults, ambush }: Life, stage: MemoryStage) {
    this.over = new Promise((resolve) => {
      this.#end = () => {
        this.isOver = true;
        resolve(null);
      };
    });
    const events = { over: () => this.#end(), expire: () => stage.expireUploads() };
    this.calls = new FaultyCalls(faults, events, ambush);
    this.store = new FaultyStore(new MemoryStore(stage), this.calls);
  }

  kill(): void {
    this.calls.die();
    this.#end();
  }
}
