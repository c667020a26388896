import { rm } from "node:fs/promises";
import { join } from "node:path";
import PQueue from "p-queue";
import type { Client } from "pg";
import { messageOf } from "../core/errors.ts";
import { parseLsn, type Lsn } from "../core/lsn.ts";
import { tableName, type TableRecord } from "../core/table.ts";
import type { Store } from "../stores/store.ts";
import { compare, type Comparison } from "./compare.ts";
import { literal, type DuckSession } from "./duck.ts";
import { fetchFile, StageFileError, type LocalFile } from "./fetch.ts";
import { checkFiles, recordChanges } from "./file-checks.ts";
import { csvScan, lineOptions, loadStaged, withLineLengths } from "./load.ts";
import { rebuild } from "./rebuild.ts";
import type { StageProblem, TableResult } from "./result.ts";
import { copyTable, TableChangedError, type SourceTable } from "./source.ts";
import type { StagedFile } from "./stage-log.ts";

const DOWNLOADS_AT_ONCE = 8;
/** How long a file that the newest log document names may still be on its way to its final key. */
const PUBLISHING_MS = 30_000;
const LOOK_AGAIN_MS = 250;
const LONGEST_NOTE = 400;

/** What the comparison of tables shares. */
export interface Workshop {
  readonly store: Store;
  readonly scratch: string;
  /** Fraction of keys; 1 for all. */
  readonly sample: number;
  /** Sequence of the newest log document that was read: its files may not be published yet. */
  readonly newestSequence: () => number;
  readonly report: (problem: StageProblem) => void;
  /** Keys of files whose changes are in `changes` already, for tables that are compared again. */
  readonly recorded: Set<string>;
  /** Keys of files that are gone and not missed: a newer copy of their table has made them worthless. */
  readonly expired: Set<string>;
}

export interface Task {
  readonly table: SourceTable;
  readonly record: TableRecord;
  readonly files: readonly StagedFile[];
  readonly before: Lsn;
}

/** One worker's connections: to the source at the fence, and to DuckDB. */
export interface Bench {
  readonly client: Client;
  readonly session: DuckSession;
  /** A folder of its own. */
  readonly folder: string;
}

export const NO_COUNTS = { rows: 0, equal: 0, missing: 0, extra: 0, different: 0, examples: [] } as const;

/** Rebuilds one table from its files and compares it with the source at the fence. */
export async function compareTable(shop: Workshop, bench: Bench, task: Task): Promise<TableResult> {
  const { columns, key } = shapeOf(task);
  const base = { table: tableName(task.table), files: task.files.length, stagedRows: 0, ...NO_COUNTS };
  if (task.record.catalog.key.length !== key.length) {
    return { ...base, outcome: "pending", note: "its key changed, and it waits to be copied afresh" };
  }
  const sourcePath = join(bench.folder, "source.csv");
  try {
    const where = sampleOnSource(shop.sample, columns, key);
    await copyTable(bench.client, { table: task.table, columns, where }, sourcePath);
    const local = await fetchFiles(shop, bench.folder, task);
    const stagedRows = await stage(shop, bench, { task, local, columns, key });
    const rebuilt = await rebuild(bench.session, { columns, key, before: task.before });
    await loadSource(bench.session, sourcePath, columns.length);
    const comparison = await compare(bench.session, { columns, key });
    return { ...base, ...comparison, stagedRows, ...verdict(task, comparison, rebuilt.problems) };
  } catch (error) {
    if (error instanceof TableChangedError) return { ...base, outcome: "pending", note: error.message };
    if (!isUnreadable(error)) throw error;
    return { ...base, outcome: "unreadable", note: shortened(messageOf(error)) };
  } finally {
    await rm(sourcePath, { force: true });
  }
}

/** Our own columns are in neither; generated ones only where the daemon captures them (from Postgres 18 on). */
function shapeOf({ table, record }: Task): { columns: string[]; key: number[] } {
  const captured = new Set(record.catalog.columns.map(({ name }) => name));
  const columns = table.columns
    .filter(({ name, generated }) => !generated || captured.has(name))
    .map(({ name }) => name);
  const key = record.catalog.key.map((name) => columns.indexOf(name)).filter((index) => index >= 0);
  return { columns, key };
}

function verdict(
  { table, record }: Task,
  found: Comparison,
  problems: readonly string[],
): Pick<TableResult, "outcome" | "note"> {
  const notes = [...problems];
  const same = found.missing + found.extra + found.different === 0;
  if (!same && record.catalog.insertOnly) {
    notes.push(
      "nothing identifies its rows, so its updates and deletes are not captured: see `pgstage check`",
    );
  }
  if (same && problems.length === 0) return { outcome: "equal", note: notes.join("; ") };
  const unseen = unseenChange(table, record);
  return unseen === null
    ? { outcome: "different", note: notes.join("; ") }
    : { outcome: "pending", note: [unseen, ...notes].join("; ") };
}

/** What the daemon learns at its next look at the catalog, and mends by a copy if it has to. */
function unseenChange(table: SourceTable, { catalog }: TableRecord): string | null {
  if (tableName(table) !== tableName(catalog)) {
    return `it was renamed from ${tableName(catalog)}, and waits to be copied under its new name`;
  }
  const known = new Set(catalog.columns.map(({ name }) => name));
  const names = table.columns.filter(({ generated }) => !generated).map(({ name }) => name);
  const added = names.filter((name) => !known.has(name));
  return added.length === 0 ? null : `the daemon has not seen its column ${added.join(", ")} yet`;
}

/** DuckDB quotes the line that it could not read, however long. */
function shortened(message: string): string {
  const text = message.replaceAll(/\s+/g, " ");
  return text.length > LONGEST_NOTE ? `${text.slice(0, LONGEST_NOTE)}…` : text;
}

/** DuckDB's own errors: it could not read a file as the contract's CSV. */
function isUnreadable(error: unknown): boolean {
  return (
    error instanceof Error && /^(Invalid Input|Conversion|Invalid|IO|Out of Memory) Error/.test(error.message)
  );
}

/** Downloads the files; what is wrong with one is reported, and the table is rebuilt without it. */
export async function fetchFiles(
  shop: Workshop,
  folder: string,
  { files, record }: { files: readonly StagedFile[]; record?: TableRecord },
): Promise<LocalFile[]> {
  const queue = new PQueue({ concurrency: DOWNLOADS_AT_ONCE });
  const fetched = await queue.addAll(
    files.map((file, number) => async () => {
      try {
        return await patiently(shop, file, () => fetchFile(shop.store, file, { folder, number }));
      } catch (error) {
        if (!(error instanceof StageFileError)) throw error;
        if (isExpired(error, file, record)) shop.expired.add(file.key);
        else shop.report({ key: error.key, problem: error.message });
        return null;
      }
    }),
  );
  return fetched.filter((file) => file !== null);
}

async function patiently<T>(shop: Workshop, file: StagedFile, attempt: () => Promise<T>): Promise<T> {
  const deadline = Date.now() + PUBLISHING_MS;
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      const underWay = file.sequence === shop.newestSequence() && Date.now() < deadline;
      if (!underWay || !(error instanceof StageFileError)) throw error;
      await new Promise((resolve) => setTimeout(resolve, LOOK_AGAIN_MS));
    }
  }
}

/** A bucket rule may remove files that a newer copy of their table has made worthless. */
function isExpired(error: StageFileError, file: StagedFile, record: TableRecord | undefined): boolean {
  if (error.message !== "is missing" || record?.copy.phase !== "copied") return false;
  return parseLsn(file.lastLsn) < parseLsn(record.copy.firstPoint);
}

interface Loading {
  readonly task: { readonly table: { readonly schema: string; readonly name: string } };
  readonly local: readonly LocalFile[];
  readonly columns: readonly string[];
  readonly key: readonly number[];
}

/** Fills `staged`, and checks the files on the way. Resolves with the number of staged rows. */
export async function stage(
  shop: Workshop,
  { session }: Pick<Bench, "session">,
  loading: Loading,
): Promise<number> {
  const { local, columns, key } = loading;
  const sampled = shop.sample < 1;
  await loadStaged(session, local, sampled ? [] : columns);
  for (const problem of await checkFiles(session, local)) shop.report(problem);
  const unrecorded = local.flatMap(({ file, number }) => (shop.recorded.has(file.key) ? [] : [number]));
  await recordChanges(session, tableName(loading.task.table), unrecorded);
  for (const { file } of local) shop.recorded.add(file.key);
  const { rows } = await session.row<{ rows: number }>("SELECT count(*)::DOUBLE AS rows FROM staged");
  if (sampled && columns.length > 0)
    await loadStaged(session, local, columns, sampleOnStage(shop.sample, columns, key));
  await Promise.all(local.map(({ path }) => rm(path, { force: true })));
  return rows;
}

/** As `staged` in load.ts: `source` with c0, c1, …, all text. */
async function loadSource(session: DuckSession, path: string, columns: number): Promise<void> {
  const names = Array.from({ length: columns }, (_, index) => `c${index}`);
  const scan = csvScan({ paths: [path], names: ["one", ...names], compression: "none", header: false });
  await withLineLengths(Number.POSITIVE_INFINITY, (lineBytes) =>
    session.run(`CREATE OR REPLACE TEMP TABLE source AS
      SELECT ${["1 AS one", ...names].join(", ")} FROM ${scan.replace("/*lines*/", lineOptions(lineBytes))}`),
  );
}

/** First hex digits of a digest that a sampled key stays below. */
function limit(sample: number): string {
  return Math.floor(sample * 0xffff_ffff)
    .toString(16)
    .padStart(8, "0");
}

/**
 * Both sides take the MD5 of the same text in UTF-8, whatever the database's encoding; format() prints a value as COPY
 * does, a cast to text may not. An array, because a function takes at most 100 arguments.
 */
function sampleOnSource(sample: number, columns: readonly string[], key: readonly number[]): string {
  if (sample >= 1 || columns.length === 0) return "TRUE";
  const parts = sampled(columns, key).map((index) => `format('%s', ${identifier(columns[index] ?? "")})`);
  const text = `array_to_string(ARRAY[${parts.join(", ")}], '|')`;
  return `left(md5(convert_to(${text}, 'UTF8')), 8) COLLATE "C" < '${limit(sample)}'`;
}

function sampleOnStage(sample: number, columns: readonly string[], key: readonly number[]): string {
  const parts = sampled(columns, key).map((index) => `c${index}`);
  return `op = 't' OR left(md5(concat(${parts.join(", '|', ")})), 8) < ${literal(limit(sample))}`;
}

function sampled(columns: readonly string[], key: readonly number[]): readonly number[] {
  return key.length > 0 ? key : columns.map((_, index) => index);
}

function identifier(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}
