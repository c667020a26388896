import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import PQueue from "p-queue";
import { OperatorError } from "../core/errors.ts";
import { formatLsn, NO_LSN, parseLsn, type Lsn } from "../core/lsn.ts";
import { tableName, type TableRecord } from "../core/table.ts";
import type { Store } from "../stores/store.ts";
import { Duck } from "./duck.ts";
import { openFence, type Connect, type Fence } from "./fence.ts";
import { CREATE_CHANGES, repeatedChanges, tornTransactions } from "./file-checks.ts";
import type { StageProblem, TableResult, Verdict } from "./result.ts";
import { isActive, listTables, type SourceTable } from "./source.ts";
import { listDataFiles, StageLog, type StagedFile } from "./stage-log.ts";
import { compareTable, fetchFiles, NO_COUNTS, stage, type Bench, type Workshop } from "./table.ts";

export interface VerifyOptions {
  readonly store: Store;
  readonly connect: Connect;
  readonly schemas: readonly string[];
  /** Which of the tables in these schemas are captured; all if not given. */
  readonly captured?: (table: { readonly schema: string; readonly name: string }) => boolean;
  /** Which of the captured tables to compare; all if not given. Only then are other tables' files looked at, too. */
  readonly wanted?: (table: { readonly schema: string; readonly name: string }) => boolean;
  /** Fraction of the keys to compare; 1 if not given. */
  readonly sample?: number;
  /** How long the stage may take to reach the moment of the comparison, and copies to end. */
  readonly timeoutMs: number;
  /** Memory of the engine that compares; more goes to files. */
  readonly memoryBytes?: number;
  /** Folder for downloads and what does not fit in memory; the system's if not given. */
  readonly scratch?: string;
  readonly signal?: AbortSignal;
  /** Called with every table's final result as it is known. */
  readonly onTable?: (result: TableResult) => void;
}

const MEMORY_BYTES = 1024 ** 3;
const WORKERS = 3;
/** Before tables are compared although the stage is behind: on an idle database it may be behind for minutes. */
const SETTLE_MS = 3000;
const LOOK_AGAIN_MS = 250;

/**
 * Rebuilds every captured table from the stage in DuckDB and compares it with the source, row by row, at one moment,
 * while the daemon goes on; and checks the stage itself. Reads only.
 * Throws an OperatorError if there is nothing to compare.
 */
export async function verifyTables(options: VerifyOptions): Promise<Verdict> {
  const startedAt = Date.now();
  const scratch = await mkdtemp(join(options.scratch ?? tmpdir(), "pgstage-verify-"));
  const duck = await Duck.open({
    memoryBytes: options.memoryBytes ?? MEMORY_BYTES,
    scratch: join(scratch, "spill"),
  });
  try {
    return await new Verification(options, { duck, scratch, startedAt }).run();
  } finally {
    duck.close();
    await rm(scratch, { recursive: true, force: true });
  }
}

class Verification {
  readonly #options: VerifyOptions;
  readonly #duck: Duck;
  readonly #scratch: string;
  readonly #startedAt: number;
  readonly #problems = new Map<string, StageProblem>();
  readonly #results = new Map<string, TableResult>();
  readonly #recorded = new Set<string>();
  readonly #expired = new Set<string>();
  #log: StageLog | null = null;
  #lsn: Lsn = NO_LSN;
  /** Without a daemon there is nothing to wait for. */
  #daemonRuns = true;

  constructor(options: VerifyOptions, parts: { duck: Duck; scratch: string; startedAt: number }) {
    this.#options = options;
    this.#duck = parts.duck;
    this.#scratch = parts.scratch;
    this.#startedAt = parts.startedAt;
  }

  async run(): Promise<Verdict> {
    const { store } = this.#options;
    this.#log = await StageLog.open(store);
    if (!this.#log)
      throw new OperatorError(`there is no log at ${store.url}`, "start the daemon first: pgstage run");
    // Listed before the rest of the log is read: whatever is there now is in a document that was written before.
    const listed = await listDataFiles(store, this.#log.schemas);
    await this.#log.refresh();
    const shared = await this.#duck.session();
    await shared.run(CREATE_CHANGES);
    await this.#compareAll();
    await this.#checkOtherFiles();
    this.#checkListing(listed);
    for (const problem of [...this.#log.problems, ...(await repeatedChanges(shared))]) this.#report(problem);
    const complete = !this.#options.wanted && this.#log.firstSequence === 1 && this.#expired.size === 0;
    if (complete) for (const problem of await tornTransactions(shared)) this.#report(problem);
    return this.#verdict();
  }

  #verdict(): Verdict {
    const log = this.#openLog;
    const files = [...log.files.values()];
    const sum = (of: (file: StagedFile) => number): number =>
      files.reduce((total, file) => total + of(file), 0);
    const tables = [...this.#results.values()].toSorted((a, b) => (a.table < b.table ? -1 : 1));
    const problems = [...this.#problems.values()];
    return {
      ok: problems.length === 0 && tables.every(({ outcome }) => outcome === "equal"),
      lsn: formatLsn(this.#lsn),
      tables,
      stage: {
        documents: log.documents,
        files: files.length,
        rows: sum(({ rows }) => rows),
        bytes: sum(({ bytes }) => bytes),
        problems,
      },
      sample: this.#options.sample ?? 1,
      tookMs: Date.now() - this.#startedAt,
    };
  }

  get #openLog(): StageLog {
    if (!this.#log) throw new Error("the log is not open");
    return this.#log;
  }

  get #remainingMs(): number {
    return this.#daemonRuns ? Math.max(0, this.#startedAt + this.#options.timeoutMs - Date.now()) : 0;
  }

  #report(problem: StageProblem): void {
    this.#problems.set(`${problem.key}\n${problem.problem}`, problem);
  }

  /** Round after round, each at a later moment, until every table is compared or the time is up. */
  async #compareAll(): Promise<void> {
    for (;;) {
      await this.#round();
      const waiting = [...this.#results.values()].filter(isWaiting);
      if (waiting.length === 0 || this.#remainingMs === 0) return;
      await this.#pause();
      await this.#openLog.refresh();
    }
  }

  async #round(): Promise<void> {
    const fence = await openFence({
      connect: this.#options.connect,
      clients: WORKERS,
      waitMs: Math.max(this.#remainingMs, SETTLE_MS),
      pipeline: this.#openLog.state.pipeline,
    });
    try {
      const first = fence.clients[0];
      if (!first) throw new Error("a fence without connections");
      this.#lsn = fence.lsn;
      this.#daemonRuns = await isActive(first, this.#openLog.state.pipeline.slot);
      const tables = await this.#tables(await listTables(first, this.#options.schemas));
      await this.#untilReached(fence.lsn, Math.min(SETTLE_MS, this.#remainingMs));
      let behind = await this.#compareAt(fence, tables);
      while (
        behind.length > 0 &&
        this.#remainingMs > 0 &&
        (await this.#untilReached(fence.lsn, this.#remainingMs))
      ) {
        behind = await this.#compareAt(fence, behind);
      }
    } finally {
      await fence.close();
    }
  }

  /** Those of the source that are to be compared and have not been; forgets those that are gone. */
  async #tables(all: readonly SourceTable[]): Promise<SourceTable[]> {
    const { captured = () => true, wanted = () => true } = this.#options;
    const chosen = all.filter((table) => captured(table) && wanted(table));
    const names = new Set(chosen.map(tableName));
    for (const name of this.#results.keys()) if (!names.has(name)) this.#results.delete(name);
    return chosen.filter((table) => {
      const result = this.#results.get(tableName(table));
      return !result || isWaiting(result);
    });
  }

  /** True if the log got there in time. */
  async #untilReached(lsn: Lsn, patienceMs: number): Promise<boolean> {
    const deadline = Date.now() + patienceMs;
    while (!this.#reached(lsn)) {
      if (Date.now() >= deadline) return false;
      await this.#pause();
      await this.#openLog.refresh();
    }
    return true;
  }

  #reached(lsn: Lsn): boolean {
    const { endLsn } = this.#openLog.state;
    return endLsn !== null && parseLsn(endLsn) >= lsn;
  }

  /** Compares these tables, as the log stands. Returns those that differ while the stage is behind. */
  async #compareAt(fence: Fence, tables: readonly SourceTable[]): Promise<SourceTable[]> {
    const reached = this.#reached(fence.lsn);
    const files = this.#filesByTable();
    const behind: SourceTable[] = [];
    const free = await Promise.all(fence.clients.map((client, number) => this.#bench(client, number)));
    const queue = new PQueue({ concurrency: free.length });
    const compareOne = async (table: SourceTable): Promise<void> => {
      this.#options.signal?.throwIfAborted();
      const bench = free.pop() as Bench;
      try {
        const result = await this.#compareOne(bench, fence, {
          table,
          files: files.get(tableName(table)) ?? [],
        });
        const early = result.outcome === "different" && !reached;
        if (early) behind.push(table);
        this.#conclude(early ? this.#tooEarly(result, fence.lsn) : result);
      } finally {
        free.push(bench);
      }
    };
    try {
      await queue.addAll(tables.map((table) => () => compareOne(table)));
    } finally {
      await queue.onIdle();
      for (const { session } of free) session.close();
    }
    return behind;
  }

  #conclude(result: TableResult): void {
    this.#results.set(result.table, result);
    if (!isWaiting(result) || this.#remainingMs === 0) this.#options.onTable?.(result);
  }

  #tooEarly(result: TableResult, lsn: Lsn): TableResult {
    const end = this.#openLog.state.endLsn ?? "nowhere";
    const note = `compared at ${formatLsn(lsn)}, but the stage is complete only up to ${end}${this.#daemonRuns ? "" : ": the daemon is not running"}`;
    return { ...result, outcome: "behind", note: [note, result.note].filter(Boolean).join("; ") };
  }

  async #bench(client: Bench["client"], number: number): Promise<Bench> {
    const folder = join(this.#scratch, `worker-${number}`);
    await mkdir(folder, { recursive: true });
    return { client, session: await this.#duck.session(), folder };
  }

  async #compareOne(
    bench: Bench,
    fence: Fence,
    { table, files }: { table: SourceTable; files: readonly StagedFile[] },
  ): Promise<TableResult> {
    const record = this.#openLog.state.tables[table.oid];
    const notYet = whyNotYet(record, fence.lsn);
    if (!record || notYet) {
      const outcome = record ? "copying" : "pending";
      const note = notYet ?? "not on the stage yet";
      return { table: tableName(table), outcome, note, files: files.length, stagedRows: 0, ...NO_COUNTS };
    }
    return compareTable(this.#workshop(), bench, { table, record, files, before: fence.lsn });
  }

  #workshop(): Workshop {
    return {
      store: this.#options.store,
      scratch: this.#scratch,
      sample: this.#options.sample ?? 1,
      newestSequence: () => this.#openLog.state.sequence,
      report: (problem) => this.#report(problem),
      recorded: this.#recorded,
      expired: this.#expired,
    };
  }

  #filesByTable(): Map<string, StagedFile[]> {
    const byTable = new Map<string, StagedFile[]>();
    for (const file of this.#openLog.files.values()) {
      const name = tableName({ schema: file.schemaName, name: file.tableName });
      const files = byTable.get(name);
      if (files) files.push(file);
      else byTable.set(name, [file]);
    }
    return byTable;
  }

  /** Files of tables that were not compared: dropped, renamed, no longer captured. */
  async #checkOtherFiles(): Promise<void> {
    if (this.#options.wanted) return;
    const shop = this.#workshop();
    const session = await this.#duck.session();
    const folder = join(this.#scratch, "others");
    await mkdir(folder, { recursive: true });
    for (const all of this.#filesByTable().values()) {
      this.#options.signal?.throwIfAborted();
      const files = all.filter(({ key }) => !this.#recorded.has(key));
      const [file] = files;
      if (!file) continue;
      const record = Object.values(this.#openLog.state.tables).find(
        ({ catalog }) => catalog.schema === file.schemaName && catalog.name === file.tableName,
      );
      const local = await fetchFiles(shop, folder, { files, ...(record && { record }) });
      const table = { schema: file.schemaName, name: file.tableName };
      await stage(shop, { session }, { task: { table }, local, columns: [], key: [] });
    }
    session.close();
  }

  /** Everything that was there must be in the log; older than the log's first document it cannot be. */
  #checkListing(listed: ReadonlySet<string>): void {
    const log = this.#openLog;
    if (log.firstSequence > 1) return;
    for (const key of listed) {
      if (!log.files.has(key))
        this.#report({ key, problem: "is not in the log: it is not ours, or was published twice" });
    }
  }

  async #pause(): Promise<void> {
    this.#options.signal?.throwIfAborted();
    await new Promise((resolve) => setTimeout(resolve, LOOK_AGAIN_MS));
  }
}

function isWaiting({ outcome }: TableResult): boolean {
  return outcome === "behind" || outcome === "copying" || outcome === "pending";
}

/** A table can be compared once all of its copy is there, and at a moment that is not before it. */
function whyNotYet(record: TableRecord | undefined, lsn: Lsn): string | null {
  if (!record) return "not on the stage yet";
  const { copy } = record;
  switch (copy.phase) {
    case "pending":
      return `waits to be copied: ${copy.reason}`;
    case "copying":
      return `being copied: ${copy.done.length} range(s) done`;
    case "copied":
      return parseLsn(copy.lastPoint) > lsn ? "its copy has just ended" : null;
    default:
      return copy satisfies never;
  }
}
