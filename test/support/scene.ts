import { parseLsn } from "../../src/core/lsn.ts";
import type { StatusJson } from "../../src/observe/status-json.ts";
import { Daemon, killDaemons } from "./daemon.ts";
import type { EmbeddedPostgres } from "./postgres.ts";
import { compareStageWithSource, differences, type Verdict } from "./rebuild.ts";
import type { TestStage } from "./stage.ts";

/** A database, a stage, and the daemons between them. */
export class Scene implements AsyncDisposable {
  readonly server: EmbeddedPostgres;
  readonly database: string;
  readonly stage: TestStage;
  #markers = 0;

  constructor(server: EmbeddedPostgres, database: string, stage: TestStage) {
    this.server = server;
    this.database = database;
    this.stage = stage;
  }

  get url(): string {
    return this.server.url(this.database);
  }

  sql<Row extends object = Record<string, unknown>>(text: string, params?: unknown[]): Promise<Row[]> {
    return this.server.sql<Row>(text, params, { database: this.database });
  }

  /** Starts a daemon; `source` in place of the database's own address, such as a proxy's. */
  daemon(settings: Readonly<Record<string, string>> = {}, source = this.url): Promise<Daemon> {
    return Daemon.start({ source, stage: this.stage.env, settings });
  }

  /** Runs another command to its end; rejects unless it ends well. */
  async command(...command: string[]): Promise<void> {
    const process = await Daemon.start({ source: this.url, stage: this.stage.env, command });
    const { code } = await process.exited;
    if (code !== 0) throw new Error(`${command.join(" ")} ended with ${code}: ${process.said()}`);
  }

  /**
   * Resolves when the daemon has copied everything and looked at the catalog since: it has copied a table that is
   * made now, and found it in the same look as all changes before it. And, unless its batches stay open for long, when
   * it has staged a change that is made after that.
   */
  async settled(daemon: Daemon, options: { withinMs?: number; isFlushing?: boolean } = {}): Promise<void> {
    const { withinMs = 90_000, isFlushing = true } = options;
    const marker = `marker_${process.pid}_${++this.#markers}`;
    await this.sql(`CREATE TABLE ${marker} (id int PRIMARY KEY)`);
    const isCopied = ({ state, tables, table_counts: counts }: StatusJson): boolean =>
      state === "streaming" &&
      counts.pending + counts.copying === 0 &&
      tables.some(({ table, phase }) => table === `public.${marker}` && phase === "copied");
    await daemon.until(isCopied, "settled", withinMs);
    if (!isFlushing) return;
    const [now] = await this.sql<{ lsn: string }>(
      `INSERT INTO ${marker} VALUES (1); SELECT pg_current_wal_insert_lsn()::text AS lsn`,
    );
    const end = parseLsn(now?.lsn ?? "0/0");
    await daemon.until(
      (status) => isCopied(status) && parseLsn(status.lag.staged_lsn ?? "0/0") >= end,
      "up to date",
      withinMs,
    );
  }

  /** Waits until all is copied, drains, and holds the stage to everything that was promised. */
  async drainAndProve(daemon: Daemon): Promise<Verdict> {
    await this.settled(daemon);
    await daemon.drain();
    return this.prove();
  }

  /** The stage says what the source says, each change once, and no key ever changed. The daemon is drained. */
  async prove(): Promise<Verdict> {
    const verdict = await compareStageWithSource(this.stage.store, this.url);
    const changed = (await this.stage.changedKeys()).map(
      (key) => `${key} was published twice, changed or removed`,
    );
    const problems = [...differences(verdict), ...changed];
    if (problems.length > 0) throw new Error(`stage and source differ:\n${problems.join("\n")}`);
    return verdict;
  }

  async slot(): Promise<{ confirmed: string; restart: string; active: boolean } | undefined> {
    const [slot] = await this.sql<{ confirmed: string; restart: string; active: boolean }>(
      "SELECT confirmed_flush_lsn::text AS confirmed, restart_lsn::text AS restart, active FROM pg_replication_slots WHERE slot_name = 'pgstage'",
    );
    return slot;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await killDaemons();
    await this.stage[Symbol.asyncDispose]();
  }
}
