import { landingPath, quoteText, spell, stagePath, type TableNames } from "./names.ts";
import type { SnowflakeOptions, SnowflakeTable, Statement } from "./input.ts";
import { LONGEST_VARCHAR } from "./types.ts";

/** Where a table's changes land, as they are in the files, and the pipe that loads them. */

export function fileFormatName(options: SnowflakeOptions): string {
  return landingPath(options, spell("pgstage_csv", options.identifiers));
}

export function stageName(options: SnowflakeOptions): string {
  return landingPath(options, spell("pgstage", options.identifiers));
}

export function landingStatements(
  table: SnowflakeTable,
  names: TableNames,
  options: SnowflakeOptions,
): Statement[] {
  return [landingTable(table, names), ...addedColumns(table, names), pipe(table, names, options)];
}

/** Metadata is text, too, but for the number that a computation needs: any integer fits it. */
function landingTable({ shape }: SnowflakeTable, names: TableNames): Statement {
  const { meta } = names;
  const lines = [
    `${meta.op} ${LONGEST_VARCHAR}`,
    `${meta.lsn} ${LONGEST_VARCHAR}`,
    `${meta.seq} NUMBER(38,0)`,
    `${meta.committedAt} ${LONGEST_VARCHAR}`,
    `${meta.unchanged} ${LONGEST_VARCHAR}`,
    `${meta.file} ${LONGEST_VARCHAR}`,
    `${meta.row} NUMBER(38,0)`,
    ...shape.columns.map(({ name }) => `${names.column(name)} ${LONGEST_VARCHAR}`),
  ];
  return {
    id: `table ${names.landing}`,
    sql: `CREATE TABLE IF NOT EXISTS ${names.landing} (\n  ${lines.join(",\n  ")}\n)\nENABLE_SCHEMA_EVOLUTION = TRUE`,
    notes: [],
  };
}

/** Columns that a landing table made from an earlier shape may lack. */
export function addedColumns({ shape, earlier }: SnowflakeTable, names: TableNames): Statement[] {
  const added = shape.columns.filter(
    ({ name }) => !earlier.every((old) => old.columns.some((column) => column.name === name)),
  );
  if (added.length === 0) return [];
  const columns = added.map(({ name }) => `IF NOT EXISTS ${names.column(name)} ${LONGEST_VARCHAR}`);
  return [
    {
      id: `columns ${names.landing}`,
      sql: `ALTER TABLE ${names.landing} ADD COLUMN\n  ${columns.join(",\n  ")}`,
      notes: [
        "Run this before files with the new columns arrive, if you can: schema evolution would guess their types",
        "from the first file. A type other than VARCHAR(134217728) shows in the last section of a full script.",
      ],
    },
  ];
}

/**
 * The columns that the pipe fills in step aside for new ones of the table's: what is in them moves with them, and the
 * pipe has to say so.
 */
export function movedMetadata(
  { shape }: SnowflakeTable,
  { from, to }: { readonly from: TableNames; readonly to: TableNames },
  options: SnowflakeOptions,
): Statement[] {
  const moved = (["file", "row"] as const).filter((column) => from.meta[column] !== to.meta[column]);
  if (moved.length === 0) return [];
  return [
    {
      id: `pause ${to.pipe}`,
      sql: `ALTER PIPE ${to.pipe} SET PIPE_EXECUTION_PAUSED = TRUE`,
      notes: [
        "A new column has the name of one that the pipe fills in, which gets another. To be run once only.",
      ],
    },
    ...moved.map((column) => ({
      id: `rename ${to.landing} ${column}`,
      sql: `ALTER TABLE ${to.landing} RENAME COLUMN ${from.meta[column]} TO ${to.meta[column]}`,
      notes: [],
    })),
    {
      id: `pipe ${to.pipe}`,
      sql: pipeSql("CREATE OR REPLACE PIPE", { shape, names: to }, options),
      notes: ["It forgets which files it has loaded; one that is loaded twice counts once."],
    },
  ];
}

/**
 * IF NOT EXISTS, because a pipe made anew forgets which files it has loaded. Of the columns only those that it fills
 * in matter to it: see movedMetadata().
 */
function pipe({ shape }: SnowflakeTable, names: TableNames, options: SnowflakeOptions): Statement {
  return {
    id: `pipe ${names.pipe}`,
    sql: pipeSql("CREATE PIPE IF NOT EXISTS", { shape, names }, options),
    notes: [],
  };
}

function pipeSql(
  create: string,
  { shape, names }: { readonly shape: SnowflakeTable["shape"]; readonly names: TableNames },
  options: SnowflakeOptions,
): string {
  return `${create} ${names.pipe}\n  AUTO_INGEST = TRUE\nAS\n${copyStatement(shape, names, options)}`;
}

/** The closing slash keeps a neighbour's files out: `orders` would match `orders_archive`, too. */
function copyStatement(
  shape: SnowflakeTable["shape"],
  { landing, meta }: TableNames,
  options: SnowflakeOptions,
): string {
  const match = options.identifiers === "upper" ? "CASE_INSENSITIVE" : "CASE_SENSITIVE";
  return `COPY INTO ${landing}
FROM ${stagePath(stageName(options), shape)}
FILE_FORMAT = (FORMAT_NAME = ${quoteText(fileFormatName(options))})
MATCH_BY_COLUMN_NAME = ${match}
INCLUDE_METADATA = (${meta.file} = METADATA$FILENAME, ${meta.row} = METADATA$FILE_ROW_NUMBER)
TRUNCATECOLUMNS = TRUE
ON_ERROR = SKIP_FILE`;
}
