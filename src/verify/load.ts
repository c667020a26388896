import type { Compression } from "../core/layout.ts";
import { literal, type DuckSession } from "./duck.ts";
import type { LocalFile } from "./fetch.ts";

/** Our own columns, in their order in every file: `_op`, `_lsn`, `_seq`, `_committed_at`, `_unchanged`. */
const METADATA = ["op", "lsn", "seq", "committed", "unchanged"] as const;

/** DuckDB keeps buffers for every file of one query until its end. */
const FILES_PER_QUERY = 100;
/** Longest line that is tried first; what is longer costs a second reading with larger buffers. */
const LINE_BYTES = [2 * 2 ** 20, 64 * 2 ** 20, 1024 * 2 ** 20] as const;
/** 2^40 rows of one transaction: more than it can have commands. */
export const ROWS_PER_LSN = 2n ** 40n;

/**
 * Position of a row as one number, so that it can be compared and aggregated: `(_lsn, _seq)` in SQL. NULL if one
 * of them is not what the contract says.
 */
const POSITION = `CASE WHEN regexp_full_match(lsn, '[0-9A-F]{8}/[0-9A-F]{8}') AND regexp_full_match(seq, '[0-9]{1,12}')
  THEN CAST('0x' || replace(lsn, '/', '') AS UBIGINT)::HUGEINT * ${ROWS_PER_LSN} + CAST(seq AS HUGEINT) END`;

/**
 * Reads staged files into the temporary table `staged`: `file` (number of the file), our columns, `position`, and
 * the table's columns as c0, c1, … in the order of `columns`. A column that a file does not have is NULL there.
 * Everything is text. `filter` is a condition on that row.
 */
export async function loadStaged(
  session: DuckSession,
  files: readonly LocalFile[],
  columns: readonly string[],
  filter = "TRUE",
): Promise<void> {
  const values = columns.map((_, index) => `c${index} VARCHAR`);
  await session.run(
    `CREATE OR REPLACE TEMP TABLE staged (${[
      "file INTEGER, op VARCHAR, lsn VARCHAR, seq VARCHAR, committed VARCHAR, unchanged VARCHAR, position HUGEINT",
      ...values,
    ].join(", ")})`,
  );
  for (const group of groups(files)) {
    const select = `SELECT CAST(parse_filename(file) AS INTEGER) AS file, op, lsn, seq, committed, unchanged, position
      ${columns.map((name, index) => `, ${columnIn(group.header, name)} AS c${index}`).join("")}
      FROM (SELECT *, ${POSITION} AS position FROM ${csvSource(group)})`;
    await withLineLengths(group.longestLine, (lineBytes) =>
      session.run(
        `INSERT INTO staged SELECT * FROM (${select.replace("/*lines*/", lineOptions(lineBytes))}) WHERE ${filter}`,
      ),
    );
  }
}

interface Group {
  readonly header: readonly string[];
  readonly compression: Compression;
  readonly paths: string[];
  longestLine: number;
}

/** Files that one query can read: same header, same compression, not too many. */
function groups(files: readonly LocalFile[]): Group[] {
  const open = new Map<string, Group>();
  const all: Group[] = [];
  for (const { header, file, path } of files) {
    const compression = compressionOf(file.key);
    const id = JSON.stringify([compression, header]);
    let group = open.get(id);
    if (!group || group.paths.length === FILES_PER_QUERY) {
      group = { header, compression, paths: [], longestLine: 0 };
      open.set(id, group);
      all.push(group);
    }
    group.paths.push(path);
    group.longestLine = Math.max(group.longestLine, file.csvBytes);
  }
  return all;
}

function compressionOf(key: string): Compression {
  if (key.endsWith(".gz")) return "gzip";
  return key.endsWith(".zst") ? "zstd" : "none";
}

/**
 * The options keep NULL (nothing between the delimiters) and the empty string (`""`) apart, and take everything
 * else as it is. `parallel`: a scan that begins in the middle of a file has to guess what is quoted.
 */
function csvSource({ header, compression, paths }: Group): string {
  return csvScan({
    paths,
    names: header.map((_, index) => METADATA[index] ?? `v${index}`),
    compression,
    header: true,
  });
}

export function csvScan(about: {
  paths: readonly string[];
  names: readonly string[];
  compression: Compression;
  header: boolean;
}): string {
  const options = [
    "auto_detect=false",
    `header=${about.header}`,
    `columns={${about.names.map((name) => `${name}: 'VARCHAR'`).join(", ")}}`,
    `delim=',', quote='"', escape='"', new_line='\\n', nullstr='', allow_quoted_nulls=false`,
    `compression='${about.compression}', parallel=false, filename='file'`,
    "/*lines*/",
  ];
  return `read_csv([${about.paths.map(literal).join(", ")}], ${options.join(", ")})`;
}

export function lineOptions(lineBytes: number): string {
  return `max_line_size=${lineBytes}, buffer_size=${lineBytes * 2}`;
}

/** Tries with larger and larger buffers; `longest` is as long as a line can be. */
export async function withLineLengths(
  longest: number,
  read: (lineBytes: number) => Promise<void>,
): Promise<void> {
  for (const [index, lineBytes] of LINE_BYTES.entries()) {
    try {
      await read(lineBytes);
      return;
    } catch (error) {
      const enough = longest <= lineBytes || index === LINE_BYTES.length - 1;
      // Of a line that spans several buffers DuckDB may say that it has too many columns.
      if (enough || !/line[\s_]*size|CSV Error/i.test(String(error))) throw error;
    }
  }
}

function columnIn(header: readonly string[], name: string): string {
  const index = header.indexOf(name, METADATA.length);
  return index < 0 ? "NULL::VARCHAR" : `v${index}`;
}

/** The position of `(lsn, 0)`, as `position` in `staged`. */
export function positionOf(lsn: bigint): bigint {
  return lsn * ROWS_PER_LSN;
}
