import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { runDaemon } from "../../src/daemon/daemon.ts";
import { openParts } from "../../src/daemon/open.ts";
import { statusOf } from "../../src/daemon/reports.ts";
import { readLog } from "../../src/delivery/log.ts";
import { createLogger } from "../../src/observe/log.ts";
import { loadSettings } from "../../src/settings/load.ts";
import { DirectoryStore } from "../../src/stores/directory.ts";
import type { EmbeddedPostgres } from "../support/postgres.ts";
import { compareStageWithSource, differences, type Verdict } from "../support/rebuild.ts";

/** One line of the daemon's log. */
export interface LogLine {
  readonly msg: string;
  readonly level: string;
  readonly table?: string;
  readonly reason?: string;
  readonly [field: string]: unknown;
}

export interface PipelineOptions {
  readonly server: EmbeddedPostgres;
  readonly database: string;
  readonly user?: string;
  /** Settings beyond those that a test needs, as environment variables without their prefix. */
  readonly settings?: Readonly<Record<string, string>>;
  /** A stage that is there already. */
  readonly directory?: string;
}

/** How long anything that the daemon does may take on a busy machine. */
const PATIENCE_MS = 60_000;
const LOOK_AGAIN_MS = 30;
/** A table of the pipeline's own, in which something always happens. */
const TICKS = "public.zz_ticks";
const TICK_MS = 200;

/** The daemon in this process, with a stage in a folder and all of its log at hand. */
export class Pipeline {
  readonly directory: string;
  readonly lines: LogLine[] = [];
  readonly #options: PipelineOptions;
  #stop = new AbortController();
  #running: Promise<void> = Promise.resolve();
  #failure: unknown = null;

  static async start(options: PipelineOptions): Promise<Pipeline> {
    const directory = options.directory ?? (await mkdtemp(join(tmpdir(), "pgstage-tables-")));
    const pipeline = new Pipeline(options, directory);
    await pipeline.sql(`CREATE TABLE IF NOT EXISTS ${TICKS} (n int PRIMARY KEY)`);
    await pipeline.sql(`INSERT INTO ${TICKS} VALUES (0) ON CONFLICT DO NOTHING`);
    await pipeline.start();
    return pipeline;
  }

  private constructor(options: PipelineOptions, directory: string) {
    this.#options = options;
    this.directory = directory;
  }

  get url(): string {
    return this.#options.server.url(this.#options.database);
  }

  /** Runs statements as the superuser, on one connection of their own. */
  async sql<Row extends object = Record<string, unknown>>(text: string, params?: unknown[]): Promise<Row[]> {
    return this.#options.server.sql<Row>(text, params, { database: this.#options.database });
  }

  /** Starts the daemon (again). `settings` are put over those of the last start. */
  async start(settings: Readonly<Record<string, string>> = {}): Promise<void> {
    const { server, database, user } = this.#options;
    const given = { ...this.#options.settings, ...settings };
    const env: Record<string, string> = {
      PGSTAGE_SOURCE_URL: server.url(database, user),
      PGSTAGE_SOURCE_SLOT: `slot_${database}`.toLowerCase().replaceAll(/[^a-z0-9_]/g, "_"),
      PGSTAGE_STAGE_URL: pathToFileURL(this.directory).href,
      PGSTAGE_FORMAT_COMPRESSION: "none",
      PGSTAGE_FLUSH_INTERVAL: "200ms",
      PGSTAGE_DISCOVERY_INTERVAL: "300ms",
      PGSTAGE_HTTP_PORT: "0",
      ...Object.fromEntries(Object.entries(given).map(([name, value]) => [`PGSTAGE_${name}`, value])),
    };
    const log = createLogger({
      level: "debug",
      format: "json",
      version: "test",
      to: { write: (text) => this.#take(text) },
    });
    const parts = await openParts(loadSettings({ env }), log, "test");
    this.#stop = new AbortController();
    this.#failure = null;
    this.#running = runDaemon(parts, this.#stop.signal)
      .then(
        () => {},
        (error: unknown) => {
          this.#failure = error;
        },
      )
      .finally(() => parts.store.close());
  }

  #take(text: string): void {
    for (const line of text.split("\n")) if (line !== "") this.lines.push(JSON.parse(line) as LogLine);
  }

  /** Drains the daemon. Throws what ended it, if it had ended by itself. */
  async drain(): Promise<void> {
    this.#stop.abort();
    await this.#running;
    if (this.#failure !== null) throw this.#failure;
  }

  /** Drains, and removes the stage. */
  async destroy(): Promise<void> {
    this.#stop.abort();
    await this.#running;
    await rm(this.directory, { recursive: true, force: true });
  }

  /** Resolves with what `look` finds as soon as it finds something; fails if the daemon ends. */
  async until<T>(
    what: string | (() => string),
    look: () => T | undefined | false | null | Promise<T | undefined | false | null>,
  ): Promise<T> {
    const deadline = performance.now() + PATIENCE_MS;
    for (;;) {
      const found = await look();
      if (found !== undefined && found !== false && found !== null) return found;
      if (this.#failure !== null) throw this.#failure;
      if (performance.now() > deadline)
        throw new Error(`waited in vain for: ${typeof what === "string" ? what : what()}\n${this.tail()}`);
      await new Promise((resolve) => setTimeout(resolve, LOOK_AGAIN_MS));
    }
  }

  /** Lines with this message and, if given, this table (`schema.table`), from line `since` on. */
  linesOf(msg: string, table?: string, since = 0): LogLine[] {
    return this.lines
      .slice(since)
      .filter((line) => line.msg === msg && (table === undefined || line.table === table));
  }

  async untilCopied(table: string, since = 0): Promise<LogLine> {
    return this.until(`the copy of ${table}`, () => this.linesOf("table copied", table, since)[0]);
  }

  /** Why tables were copied afresh since line `since`: `table: reason`. */
  reasonsSince(since: number): string[] {
    // A notice for people has the same words, and no table of its own.
    const lines = this.linesOf("table copied afresh", undefined, since).filter(
      ({ table }) => table !== undefined,
    );
    return lines.map((line) => `${line.table}: ${line.reason}`);
  }

  /** A look at the catalog that began after now is over: the first that ends may have begun before. */
  async discovered(): Promise<void> {
    const since = this.lines.length;
    await this.until(
      "two looks at the catalog",
      () => this.linesOf("catalog read", undefined, since).length >= 2,
    );
  }

  /** Every table that the stage's log knows is copied. */
  async copiesDone(): Promise<void> {
    const store = new DirectoryStore(this.directory);
    let open: string[] = [];
    const look = async (): Promise<boolean> => {
      const log = await readLog(store);
      const tables = Object.values(log?.state.tables ?? {}).map(statusOf);
      open = tables.filter(({ phase }) => phase !== "copied").map(({ table }) => table);
      return log !== null && open.length === 0;
    };
    await this.until(() => `copies of ${open.join(", ")}`, look);
  }

  /** Everything that is done is discovered, copied, streamed, and compared with the source. */
  async settled(choice: Parameters<typeof compareStageWithSource>[2] = {}): Promise<Verdict> {
    await this.discovered();
    return this.compared(choice);
  }

  async compared(choice: Parameters<typeof compareStageWithSource>[2] = {}): Promise<Verdict> {
    // On an idle database the stage's end moves once in minutes only: what commits now moves it past the comparison.
    const ticks = setInterval(() => void this.sql(`UPDATE ${TICKS} SET n = n + 1`).catch(() => {}), TICK_MS);
    try {
      const verdict = await compareStageWithSource(this.directory, this.url, {
        timeoutMs: PATIENCE_MS,
        ...choice,
      });
      if (this.#failure !== null) throw this.#failure;
      return verdict;
    } finally {
      clearInterval(ticks);
    }
  }

  /** Differences between stage and source, once everything is settled; empty if there are none. */
  async differences(...tables: string[]): Promise<string[]> {
    const wanted =
      tables.length === 0
        ? {}
        : {
            wanted: ({ schema, name }: { schema: string; name: string }) =>
              tables.includes(`${schema}.${name}`),
          };
    return differences(await this.settled(wanted));
  }

  /** The end of the log, for messages. */
  tail(lines = 40): string {
    return this.lines
      .filter(({ msg }) => msg !== "lag" && msg !== "catalog read" && msg !== "recorded")
      .slice(-lines)
      .map((line) => JSON.stringify(line))
      .join("\n");
  }
}
