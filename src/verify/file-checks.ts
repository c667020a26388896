import { lsnDigits, parseLsn } from "../core/lsn.ts";
import { tableFolder } from "../core/layout.ts";
import type { DuckSession } from "./duck.ts";
import type { LocalFile } from "./fetch.ts";
import { ROWS_PER_LSN } from "./load.ts";
import type { StageProblem } from "./result.ts";
import { isCopyFile, type StagedFile } from "./stage-log.ts";

/** What the rows of one file add up to. Counts are of rows that break a rule. */
export interface FileFacts {
  readonly rows: number;
  readonly firstLsn: string | null;
  readonly lastLsn: string | null;
  /** First and last hour of `_committed_at`: `2026-11-22 07`. */
  readonly firstHour: string | null;
  readonly lastHour: string | null;
  readonly badPosition: number;
  readonly badOperation: number;
  readonly badSequence: number;
}

const NO_ROWS: FileFacts = {
  rows: 0,
  firstLsn: null,
  lastLsn: null,
  firstHour: null,
  lastHour: null,
  badPosition: 0,
  badOperation: 0,
  badSequence: 0,
};

/** Facts by number of the file, from the table `staged`. Files without rows are not in it. */
async function readFacts(session: DuckSession): Promise<Map<number, FileFacts>> {
  const rows = await session.rows<Record<string, string | number | null>>(`
    SELECT file, count(*)::DOUBLE AS rows, min(lsn) AS first_lsn, max(lsn) AS last_lsn,
      min(substr(committed, 1, 13)) AS first_hour, max(substr(committed, 1, 13)) AS last_hour,
      (count(*) FILTER (position IS NULL))::DOUBLE AS bad_position,
      (count(*) FILTER (op IS NULL OR op NOT IN ('r', 'c', 'u', 'd', 't')))::DOUBLE AS bad_operation,
      (count(*) FILTER ((op = 'r' AND seq <> '0') OR (op IN ('c', 'u', 'd') AND seq = '0')))::DOUBLE AS bad_sequence
    FROM staged GROUP BY file`);
  return new Map(
    rows.map((row) => [
      Number(row["file"]),
      {
        rows: Number(row["rows"]),
        firstLsn: row["first_lsn"] as string | null,
        lastLsn: row["last_lsn"] as string | null,
        firstHour: row["first_hour"] as string | null,
        lastHour: row["last_hour"] as string | null,
        badPosition: Number(row["bad_position"]),
        badOperation: Number(row["bad_operation"]),
        badSequence: Number(row["bad_sequence"]),
      },
    ]),
  );
}

/** Compares the rows in `staged` with what the log and the names say about their files. */
export async function checkFiles(session: DuckSession, files: readonly LocalFile[]): Promise<StageProblem[]> {
  const facts = await readFacts(session);
  return files.flatMap(({ file, number }) =>
    fileProblems(file, facts.get(number) ?? NO_ROWS).map((problem) => ({ key: file.key, problem })),
  );
}

/** Pure. */
export function fileProblems(file: StagedFile, facts: FileFacts): string[] {
  const problems: string[] = [];
  const expect = (what: string, found: string | number | null, said: string | number): void => {
    if (found !== said) problems.push(`has ${String(found)} ${what}; the log says ${said}`);
  };
  expect("rows", facts.rows, file.rows);
  // A range of pages without rows is a file with a header only.
  if (facts.rows > 0 || file.rows > 0) {
    expect("as its first _lsn", facts.firstLsn, file.firstLsn);
    expect("as its last _lsn", facts.lastLsn, file.lastLsn);
  }
  if (facts.badPosition > 0) problems.push(`has ${facts.badPosition} row(s) without a valid _lsn and _seq`);
  if (facts.badOperation > 0) problems.push(`has ${facts.badOperation} row(s) without a valid _op`);
  if (facts.badSequence > 0)
    problems.push(`has ${facts.badSequence} row(s) whose _seq does not fit their _op`);
  return [...problems, ...nameProblems(file, facts)];
}

function nameProblems(file: StagedFile, facts: FileFacts): string[] {
  const folder = tableFolder(file.schemaName, file.tableName);
  const name = file.key.slice(folder.length);
  const match = /^(\d{4})\/(\d\d)\/(\d\d)\/(\d\d)\/([0-9A-F]{16})-(snapshot|[0-9A-F]{16})-[^/]+$/.exec(name);
  if (!file.key.startsWith(folder) || !match) return ["is not where a file of its table belongs"];
  const [, year, month, day, hour, first, last] = match;
  const problems: string[] = [];
  const isCopy = isCopyFile(file.key);
  // The `t` row that begins a copy may be older than the point at which the first range was read at last.
  const named = isCopy && file.rows > 1 ? file.lastLsn : file.firstLsn;
  const isLoneRow = isCopy && file.rows <= 1;
  if (first !== digits(named) && !(isLoneRow && (first ?? "") > digits(named))) {
    problems.push(`is not named after its first _lsn, ${named}`);
  }
  if (!isCopy && last !== digits(file.lastLsn)) {
    problems.push(`is not named after its last _lsn, ${file.lastLsn}`);
  }
  const folderHour = `${year}-${month}-${day} ${hour}`;
  for (const found of new Set([facts.firstHour, facts.lastHour])) {
    if (found !== null && found !== folderHour) problems.push(`holds rows of the hour ${found}`);
  }
  return problems;
}

function digits(lsn: string): string {
  return lsnDigits(parseLsn(lsn));
}

/** Shared by all sessions: every change's place in the order, to find one that is there twice. */
export const CREATE_CHANGES = "CREATE TABLE changes (position HUGEINT, name VARCHAR)";

/** Adds the changes of these files of `staged` to `changes`. Copied rows have no place of their own. */
export function recordChanges(session: DuckSession, table: string, files: readonly number[]): Promise<void> {
  if (files.length === 0) return Promise.resolve();
  return session.run(`INSERT INTO changes SELECT position, '${table.replaceAll("'", "''")}' FROM staged
    WHERE seq <> '0' AND file IN (${files.join(", ")})`);
}

/** Changes that are there more than once, over all tables. */
export async function repeatedChanges(session: DuckSession): Promise<StageProblem[]> {
  const rows = await session.rows<{ lsn: string; seq: string; times: number; tables: string[] }>(`
    SELECT ${LSN_TEXT} AS lsn, CAST(position % ${ROWS_PER_LSN} AS VARCHAR) AS seq, count(*)::INTEGER AS times,
      list(DISTINCT name) AS tables
    FROM changes WHERE position IS NOT NULL GROUP BY position HAVING count(*) > 1 ORDER BY position LIMIT ${SHOWN}`);
  return rows.map(({ lsn, seq, times, tables }) => ({
    key: "",
    problem: `(_lsn, _seq) = (${slashed(lsn)}, ${seq}) is there ${times} times, in ${tables.join(", ")}`,
  }));
}

/**
 * Transactions of which some rows are not there, over all tables: `_seq` counts from 1, so a gap is a lost row. Only
 * with every table's changes in `changes` does that tell anything.
 */
export async function tornTransactions(session: DuckSession): Promise<StageProblem[]> {
  const rows = await session.rows<{ lsn: string; last: string; there: string; tables: string[] }>(`
    SELECT ${LSN_TEXT} AS lsn, CAST(max(position % ${ROWS_PER_LSN}) AS VARCHAR) AS last,
      CAST(count(DISTINCT position) AS VARCHAR) AS there, list(DISTINCT name) AS tables
    FROM changes WHERE position IS NOT NULL GROUP BY position // ${ROWS_PER_LSN}
    HAVING count(DISTINCT position) < max(position % ${ROWS_PER_LSN}) ORDER BY 1 LIMIT ${SHOWN}`);
  return rows.map(({ lsn, last, there, tables }) => ({
    key: "",
    problem: `of transaction ${slashed(lsn)} only ${there} of ${last} rows are there, in ${tables.join(", ")}`,
  }));
}

const SHOWN = 20;
const LSN_TEXT = `format('{:016X}', CAST(any_value(position) // ${ROWS_PER_LSN} AS UBIGINT))`;

function slashed(digits: string): string {
  return `${digits.slice(0, 8)}/${digits.slice(8)}`;
}
