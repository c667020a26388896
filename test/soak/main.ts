import { setTimeout as delay } from "node:timers/promises";
import { parseArgs } from "node:util";
import { killDaemons, type Daemon } from "../support/daemon.ts";
import { startFaultProxy, type FaultProxy } from "../support/fault-proxy.ts";
import { startPostgres } from "../support/postgres.ts";
import { newSeed, Random } from "../support/random.ts";
import { Scene } from "../support/scene.ts";
import { openBucket, type TestStage } from "../support/stage.ts";
import { createTables, Workload } from "../support/workload.ts";
import { HARMS, type Victim } from "./faults.ts";

/**
 * The pipeline under a workload of every kind, with changes of tables, and one fault after the other, for as long as
 * it is told; now and then, and at the end, everything is compared.
 *
 *     npm run soak -- --minutes 30 [--seed N] [--large-rows 5000000]
 *
 * Prints what it does and what came of it; exits with 0 only if all is exact.
 */
const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "30" },
    seed: { type: "string" },
    "large-rows": { type: "string", default: "5000000" },
  },
});

const MINUTE_MS = 60_000;
const COMPARE_EVERY_MS = 5 * MINUTE_MS;
const LIMIT_MIB = 256;
const SETTLE_MS = 10 * MINUTE_MS;

const SETTINGS: readonly Readonly<Record<string, string>>[] = [
  {},
  { PGSTAGE_SNAPSHOT_MAX_AGE: "1s" },
  { PGSTAGE_SNAPSHOT_MAX_BYTES_PER_SECOND: "1MiB", PGSTAGE_SNAPSHOT_WORKERS: "1" },
  { PGSTAGE_FLUSH_INTERVAL: "2s", PGSTAGE_FORMAT_COMPRESSION: "none", PGSTAGE_FILE_MAX_BYTES: "16MiB" },
];

class Soak {
  kills = 0;
  faults = 0;
  peakMib = 0;
  readonly byKind = new Map<string, number>();
  /** The last harms with their times: what failed may be the one before's doing. */
  #trail: string[] = [];
  readonly #scene: Scene;
  readonly #proxy: FaultProxy;
  readonly #random: Random;
  #daemon: Daemon | null = null;

  constructor(scene: Scene, proxy: FaultProxy, random: Random) {
    this.#scene = scene;
    this.#proxy = proxy;
    this.#random = random;
  }

  get daemon(): Daemon {
    if (!this.#daemon) throw new Error("no daemon was started yet");
    return this.#daemon;
  }

  async next(): Promise<Daemon> {
    const url = new URL(this.#scene.url);
    url.port = String(this.#proxy.port);
    this.#proxy.cutAfterBytes(Number.POSITIVE_INFINITY);
    this.#daemon = await this.#scene.daemon(
      { ...this.#random.pick(SETTINGS), PGSTAGE_LOG_LEVEL: "info" },
      url.href,
    );
    return this.#daemon;
  }

  /** One fault, and a look at what must hold at any time. */
  async harm(): Promise<void> {
    const name = this.#random.pick(Object.keys(HARMS));
    await this.measure();
    this.#mustRun();
    // Where the source cannot be reached at the start, a daemon says so and stops: that is not what is tried here.
    if (!name.startsWith("kill")) await this.daemon.line("lag");
    this.#trail = [...this.#trail.slice(-4), `${timeOfDay()} ${name}`];
    try {
      await HARMS[name]?.(this.#victim());
    } catch (error) {
      throw new Error(`a harm failed after ${this.#trail.join(", ")}\n${await this.#slots()}`, {
        cause: error,
      });
    }
    this.faults++;
    this.byKind.set(name, (this.byKind.get(name) ?? 0) + 1);
    this.#mustRun();
    const changed = await this.#scene.stage.changedKeys();
    if (changed.length > 0)
      throw new Error(`published twice or changed after ${this.#trail.join(", ")}: ${changed.join(", ")}`);
  }

  #mustRun(): void {
    if (this.daemon.isRunning) return;
    throw new Error(`the daemon stopped by itself after ${this.#trail.join(", ")}\n${this.daemon.story()}`);
  }

  /** Who has the slot, for a failure's message. */
  async #slots(): Promise<string> {
    const rows = this.#scene.sql(
      `SELECT slot_name, slot.active, slot.active_pid, wal_status, confirmed_flush_lsn, application_name,
              activity.state, wait_event, backend_start, client_port
         FROM pg_replication_slots slot FULL JOIN
              (SELECT * FROM pg_stat_activity WHERE backend_type = 'walsender') activity ON pid = slot.active_pid`,
    );
    return JSON.stringify(await rows.catch(String));
  }

  /** The peak is a process's own, so it is asked for before that ends. */
  async measure(): Promise<void> {
    const peak = await this.daemon.peakBytes().catch(() => 0);
    this.peakMib = Math.max(this.peakMib, Math.round(peak / 2 ** 20));
  }

  #victim(): Victim {
    const { s3 } = this.#scene.stage;
    if (!s3) throw new Error("not on S3");
    const daemonNow = (): Daemon => this.daemon;
    return {
      scene: this.#scene,
      s3,
      proxy: this.#proxy,
      random: this.#random,
      get daemon() {
        return daemonNow();
      },
      next: () => this.next(),
      killed: () => this.kills++,
    };
  }
}

function timeOfDay(): string {
  return new Date().toISOString().slice(11, 19);
}

function say(text: string): void {
  console.log(`${timeOfDay()} ${text}`);
}

/** Drains, compares, and goes on with a new daemon and a new workload. */
async function compare(scene: Scene, soak: Soak, workload: Workload): Promise<string> {
  await workload.stop();
  await scene.settled(soak.daemon, { withinMs: SETTLE_MS });
  await soak.measure();
  await soak.daemon.drain();
  const { tables, stage, tookMs } = await scene.prove();
  return `${tables.length} tables equal, ${stage.files} files and ${stage.rows} rows each once (compared in ${Math.round(tookMs / 1000)} s)`;
}

async function largeTransaction(scene: Scene, soak: Soak, rows: number): Promise<void> {
  if (rows === 0) return;
  await scene.sql("CREATE TABLE large_transaction (id int PRIMARY KEY, v text)");
  await scene.sql(
    `INSERT INTO large_transaction SELECT i, md5(i::text) FROM generate_series(1, ${rows}) AS i`,
  );
  await soak.daemon.until(
    ({ state, lag }) => state === "streaming" && lag.open_rows === 0 && (lag.lag_seconds ?? 1) < 5,
    "through the large transaction",
    SETTLE_MS,
  );
  await soak.measure();
  say(`a transaction of ${rows} rows went through; peak memory so far ${soak.peakMib} MiB`);
}

async function run(stage: TestStage, seed: number): Promise<void> {
  const endsAt = performance.now() + Number(values.minutes) * MINUTE_MS;
  const random = new Random(seed);
  await using server = await startPostgres({ settings: { max_wal_size: "2GB", shared_buffers: "256MB" } });
  await using scene = new Scene(server, await server.createDatabase(), stage);
  await using proxy = await startFaultProxy(server.port);
  const soak = new Soak(scene, proxy, random.fork());
  await createTables(scene.url);
  await soak.next();
  await largeTransaction(scene, soak, Number(values["large-rows"]));
  let [commits, rollbacks, ddl] = [0, 0, 0];
  let verdict = "";
  while (performance.now() < endsAt || verdict === "") {
    const workload = new Workload({ url: scene.url, random: random.fork(), pauseMs: 60, ddlEveryMs: 3_000 });
    const until = Math.min(endsAt, performance.now() + COMPARE_EVERY_MS);
    while (performance.now() < until) {
      await delay(random.below(6_000));
      await soak.harm();
    }
    verdict = await compare(scene, soak, workload);
    [commits, rollbacks, ddl] = [
      commits + workload.commits,
      rollbacks + workload.rollbacks,
      ddl + workload.ddl,
    ];
    say(
      `${soak.kills} kills, ${soak.faults} faults, ${commits} commits, ${rollbacks} rollbacks, ${ddl} changes of tables: ${verdict}`,
    );
    if (performance.now() < endsAt) await soak.next();
  }
  for (const [name, times] of [...soak.byKind].toSorted(([a], [b]) => (a < b ? -1 : 1)))
    say(`  ${times} × ${name}`);
  say(`peak memory of a daemon: ${soak.peakMib} MiB of ${LIMIT_MIB} MiB`);
  if (soak.peakMib > LIMIT_MIB) throw new Error("memory.max was exceeded");
}

const seed = values.seed === undefined ? newSeed() : Number(values.seed);
say(`soak for ${values.minutes} minutes, seed ${seed}`);
try {
  await using stage = await openBucket();
  await run(stage, seed);
  say("EXACT: every table equal, every change once, no published key changed");
} catch (error) {
  say(`FAILED (seed ${seed})`);
  console.error(error);
  process.exitCode = 1;
} finally {
  await killDaemons();
}
process.exit();
