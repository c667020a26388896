import { setTimeout as delay } from "node:timers/promises";
import { relative } from "node:path";
import type { Client } from "pg";
import { OperatorError } from "../core/errors.ts";
import { freePort } from "../embedded/ports.ts";
import { startPostgres, type EmbeddedPostgres } from "../embedded/postgres.ts";
import { countOf, humanSeconds } from "../observe/units.ts";
import { loadSettings } from "../settings/load.ts";
import { openStore } from "../stores/open.ts";
import type { Store } from "../stores/store.ts";
import { StageLog } from "../verify/stage-log.ts";
import { DaemonProcess } from "./daemon.ts";
import { daemonEnvironment, DISCOVERY_MS } from "./environment.ts";
import { makeFolder, type DemoFolder } from "./folder.ts";
import { loadTables } from "./load.ts";
import { copyBars, statusLine, tell } from "./progress.ts";
import { proveStage, proveWarehouse } from "./proof.ts";
import type { Screen } from "./screen.ts";
import { stageTree } from "./tree.ts";
import { Workload } from "./workload.ts";

export interface DemoOptions {
  /** How long the application works; null: until the signal. */
  readonly seconds: number | null;
  /** Where to stage; null: in the folder. */
  readonly stageUrl: string | null;
  readonly dir: string;
  readonly screen: Screen;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly signal: AbortSignal;
}

const DATABASE = "demo";
const LOOK_MS = 500;
/** Where lines cannot be drawn again: how often the status is said. */
const SAY_MS = 5000;
/** How long the daemon may take to stage what is left when the application has stopped. */
const CATCH_UP_MS = 120_000;

/** Runs all of it. Resolves with true if the stage was proven equal, or if it was stopped before it was to be. */
export async function runDemo(options: DemoOptions): Promise<boolean> {
  const cleanups: (() => Promise<unknown>)[] = [];
  try {
    return await new Demo(options, cleanups).run();
  } catch (error) {
    // Ctrl-C is how a demo without an end is ended.
    if (options.signal.aborted && options.seconds === null) return true;
    throw error;
  } finally {
    options.screen.live([]);
    for (const cleanup of cleanups.toReversed()) await cleanup();
  }
}

class Demo {
  readonly #options: DemoOptions;
  readonly #cleanups: (() => Promise<unknown>)[];
  readonly #screen: Screen;
  #stageUrl = "";

  constructor(options: DemoOptions, cleanups: (() => Promise<unknown>)[]) {
    this.#options = options;
    this.#cleanups = cleanups;
    this.#screen = options.screen;
  }

  async run(): Promise<boolean> {
    const { seconds, signal } = this.#options;
    const folder = await makeFolder(this.#options.dir);
    this.#screen.line(`pgstage demo: everything is below ${folder.path}`);
    // Registered first, so done last.
    this.#cleanups.push(async () => {
      const stage = this.#options.stageUrl === null ? "" : `, the stage at ${this.#stageUrl}`;
      this.#screen.line(`Postgres and the daemon are gone. What is left is in ${folder.path}${stage}.`);
    });
    const postgres = await this.#database(folder);
    signal.throwIfAborted();
    const workload = await this.#application(postgres);
    const { daemon, env } = await this.#daemon(folder, postgres);
    const store = await openStore(loadSettings({ env }).stage);
    this.#cleanups.push(async () => store.close());
    await this.#watch({ daemon, workload, store, env, folder });
    await workload.stop();
    if (seconds === null) return true;
    signal.throwIfAborted();
    this.#screen.line(
      `The application has stopped after ${countOf(workload.counts.transactions, "transaction")}. The daemon stages what is left and drains:`,
    );
    await this.#caughtUp(daemon, postgres);
    this.#expectDrained(await daemon.stop(), daemon);
    const { source } = loadSettings({ env });
    const sides = { screen: this.#screen, store, source, signal };
    const equal = await proveStage(sides);
    signal.throwIfAborted();
    return (await proveWarehouse(sides, folder.warehouse)) && equal;
  }

  async #database(folder: DemoFolder): Promise<EmbeddedPostgres> {
    const startedAt = performance.now();
    const postgres = await startPostgres({ dir: folder.path });
    this.#cleanups.push(() => postgres.destroy());
    await postgres.createDatabase(DATABASE);
    const client = await postgres.connect({ database: DATABASE });
    const [version] = (await client.query<{ server_version: string }>("SHOW server_version")).rows;
    this.#screen.line(
      `Postgres ${version?.server_version ?? ""} is up on 127.0.0.1:${postgres.port}. Real data go in:`,
    );
    let total = 0;
    await loadTables(client, folder.path, (table, rows) => {
      this.#options.signal.throwIfAborted();
      total += rows;
      this.#screen.line(`  ${table.name.padEnd(12)} ${countOf(rows, "row").padStart(13)}  ${table.about}`);
    });
    await client.end();
    this.#screen.line(`  ${countOf(total, "row")}, ${humanSeconds((performance.now() - startedAt) / 1000)}`);
    return postgres;
  }

  async #application(postgres: EmbeddedPostgres): Promise<Workload> {
    const { seconds } = this.#options;
    const connect = (): Promise<Client> => postgres.connect({ database: DATABASE });
    const workload = new Workload(connect, (text) => this.#screen.line(`  application: ${text}`));
    this.#cleanups.push(() => workload.stop().catch(() => {}));
    const everyMs = seconds === null ? 10_000 : (seconds * 1000) / 9;
    await workload.start({ firstMs: everyMs * 2, everyMs });
    return workload;
  }

  async #daemon(
    folder: DemoFolder,
    postgres: EmbeddedPostgres,
  ): Promise<{ daemon: DaemonProcess; env: Record<string, string> }> {
    const port = await freePort();
    const { env: given, stageUrl } = this.#options;
    const env = daemonEnvironment(folder, { env: given, stageUrl, sourceUrl: postgres.url(DATABASE), port });
    const daemon = new DaemonProcess({
      env,
      port,
      log: folder.log,
      onLine: (line) => {
        const text = tell(line);
        if (text !== null) this.#screen.line(text);
      },
    });
    this.#cleanups.push(() => daemon.kill());
    this.#stageUrl = env["PGSTAGE_STAGE_URL"] ?? "";
    this.#screen.line("The daemon starts while the application works on these tables:");
    this.#screen.line(`  stage  ${this.#stageUrl}`);
    this.#screen.line(`  page   http://127.0.0.1:${port}/  (metrics: /metrics, JSON: /status)`);
    this.#screen.line(`  log    ${folder.log}`);
    return { daemon, env };
  }

  /** Shows what happens until the time is up, the signal comes, or the daemon ends by itself. */
  async #watch(parts: {
    daemon: DaemonProcess;
    workload: Workload;
    store: Store;
    env: Record<string, string>;
    folder: DemoFolder;
  }): Promise<void> {
    const { daemon, workload } = parts;
    const { seconds, signal } = this.#options;
    const endMs = seconds === null ? Number.POSITIVE_INFINITY : performance.now() + seconds * 1000;
    let saidAtMs = performance.now();
    let toured = false;
    while (performance.now() < endMs && !signal.aborted) {
      if (!daemon.isRunning) throw await ended(daemon);
      const status = await daemon.status();
      if (status) {
        this.#screen.live([...copyBars(status), statusLine(status, workload.counts)]);
        if (!toured && isCopied(status)) {
          toured = true;
          await this.#tour(parts);
        }
        if (!this.#screen.isLive && performance.now() - saidAtMs > SAY_MS) {
          saidAtMs = performance.now();
          this.#screen.line(statusLine(status, workload.counts));
        }
      }
      await delay(Math.min(LOOK_MS, Math.max(0, endMs - performance.now())), undefined, { signal }).catch(
        () => {},
      );
    }
    this.#screen.live([]);
  }

  /** The stage as it is once all tables are copied, and where to look. */
  async #tour({
    store,
    env,
    folder,
  }: {
    store: Store;
    env: Record<string, string>;
    folder: DemoFolder;
  }): Promise<void> {
    const files = [...((await StageLog.open(store))?.files.values() ?? [])];
    this.#screen.line(
      "All tables are copied; from here on every committed change is staged. The stage is now:",
    );
    for (const line of stageTree(store.url, files)) this.#screen.line(`  ${line}`);
    const changes = files.findLast(({ key }) => !key.includes("-snapshot-")) ?? files[0];
    this.#screen.line("Look into it while it grows:");
    if (this.#options.stageUrl === null && changes)
      this.#screen.line(`  ${printing(changes.key)} ${folder.stage}/${changes.key} | head -3`);
    this.#screen.line(
      `  PGSTAGE_SOURCE_URL=${env["PGSTAGE_SOURCE_URL"]} PGSTAGE_STAGE_URL=${store.url} ${ownCommand()} verify`,
    );
    if (this.#options.seconds === null) this.#screen.line("Ctrl-C ends it.");
  }

  /** Until everything is copied and staged, and discovery had the time to see the application's last ALTER. */
  async #caughtUp(daemon: DaemonProcess, postgres: EmbeddedPostgres): Promise<void> {
    const startedAt = performance.now();
    const [row] = await postgres.sql<{ tables: number }>(
      `SELECT count(*)::int AS tables FROM pg_class
       WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition`,
      [],
      { database: DATABASE },
    );
    while (performance.now() - startedAt < CATCH_UP_MS) {
      this.#options.signal.throwIfAborted();
      if (!daemon.isRunning) throw await ended(daemon);
      const status = await daemon.status();
      const settled = performance.now() - startedAt > 2 * DISCOVERY_MS;
      if (
        settled &&
        status &&
        isCopied(status) &&
        status.tables.length === row?.tables &&
        status.lag.open_rows === 0
      )
        return;
      if (status) this.#screen.live(copyBars(status));
      await delay(LOOK_MS);
    }
    this.#screen.line("  the daemon has not caught up in time");
  }

  #expectDrained(code: number | null, daemon: DaemonProcess): void {
    this.#screen.live([]);
    if (code !== 0)
      throw new Error(`the daemon ended with ${String(code)} instead of 0:\n${daemon.lastWords()}`);
  }
}

/** How this program was called. */
function ownCommand(): string {
  const script = process.argv[1] ?? "";
  return script.endsWith(".js") ? `node ${relative(process.cwd(), script) || script}` : "pgstage";
}

/** What prints a file's lines. */
function printing(key: string): string {
  if (key.endsWith(".gz")) return "zcat";
  return key.endsWith(".zst") ? "zstdcat" : "cat";
}

function isCopied({ tables }: { readonly tables: readonly { readonly phase: string }[] }): boolean {
  return tables.length > 0 && tables.every(({ phase }) => phase === "copied");
}

/** A daemon that ended by itself, as an error that says why. */
async function ended(daemon: DaemonProcess): Promise<Error> {
  const code = await daemon.exited;
  const { message, mend } = daemon.lastError() ?? {};
  if (message !== undefined && mend !== undefined)
    return new OperatorError(`the daemon has stopped: ${message}`, mend);
  return new Error(`the daemon has ended with ${String(code)}:\n${daemon.lastWords()}`);
}
