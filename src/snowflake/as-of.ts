import { rowsQuery } from "./current.ts";
import type { SnowflakeOptions, Statement, TableShape } from "./input.ts";
import { landingPath, quoteText, spell, type TableNames } from "./names.ts";
import { typedColumns } from "./typed.ts";

/** Snowflake's limit for a table function's columns. */
const MOST_FUNCTION_COLUMNS = 500;

/** All commits that have landed, of all tables: what turns a time into one LSN. */
export function commitsView(tables: readonly TableNames[], options: SnowflakeOptions): Statement {
  const parts = tables.map(
    ({ landing, meta }) => `SELECT ${meta.lsn} AS LSN, ${meta.committedAt} AS COMMITTED_AT FROM ${landing}`,
  );
  const name = commitsName(options);
  const create = options.partial ? "CREATE VIEW IF NOT EXISTS" : "CREATE OR REPLACE VIEW";
  return {
    id: `commits ${name}`,
    sql: `${create} ${name}${options.partial ? "" : " COPY GRANTS"} AS\n${parts.join("\nUNION ALL\n")}`,
    notes: options.partial
      ? [
          "Of these tables only, if it is not there yet: run the SQL of all tables for times that are consistent across all.",
        ]
      : [],
  };
}

function commitsName(options: SnowflakeOptions): string {
  return landingPath(options, spell("pgstage_commits", options.identifiers));
}

/**
 * The table as of an LSN, and as of a time. A time becomes the LSN of the last commit, of any table, that is not
 * later; then everything up to that LSN counts. Comparing the times of the rows themselves would tear a
 * transaction apart between tables when the server's clock was set back.
 */
export function asOfFunctions(shape: TableShape, names: TableNames, options: SnowflakeOptions): Statement[] {
  if (typedColumns(shape, names).length > MOST_FUNCTION_COLUMNS) return [];
  const lsn = names.own("as_of_lsn");
  const time = names.own("as_of_time");
  const { meta } = names;
  const upTo = `(
    SELECT MAX(LSN)
    FROM ${commitsName(options)}
    WHERE TRY_TO_TIMESTAMP_TZ(COMMITTED_AT, 'YYYY-MM-DD HH24:MI:SS.FF6TZH') <= ${time}
  )`;
  return [
    tableFunction(shape, names, {
      name: names.asOfLsn,
      argument: `${lsn} VARCHAR`,
      until: `${meta.lsn} <= ${lsn}`,
    }),
    tableFunction(shape, names, {
      name: names.asOf,
      argument: `${time} TIMESTAMP_TZ`,
      until: `${meta.lsn} <= ${upTo}`,
    }),
  ];
}

function tableFunction(
  shape: TableShape,
  names: TableNames,
  made: { name: string; argument: string; until: string },
): Statement {
  const columns = typedColumns(shape, names);
  const rows = rowsQuery(shape, names, { until: made.until });
  // What is declared and what is returned must be the same type to its length, hence the casts.
  const body = `WITH ${[...rows.ctes, `rows_then AS (\n${rows.select}\n)`].join(",\n")}
SELECT
${columns.map(({ name, type, value }) => `  CAST(${value} AS ${type}) AS ${name}`).join(",\n")}
FROM rows_then`;
  const delimited = body.includes("$$") ? quoteText(body) : `$$\n${body}\n$$`;
  return {
    id: `function ${made.name}`,
    sql: `CREATE OR REPLACE FUNCTION ${made.name}(${made.argument})
COPY GRANTS
RETURNS TABLE (
  ${columns.map(({ name, type }) => `${name} ${type}`).join(",\n  ")}
)
AS
${delimited}`,
    notes: [],
  };
}
