import { keyText, positionOf, rowsQuery } from "./current.ts";
import type { SnowflakeOptions, SnowflakeTable, Statement, TableShape } from "./input.ts";
import { optionName, quoteIdentifier, quoteText, type TableNames } from "./names.ts";
import { selectList, typedColumns, type TypedColumn } from "./typed.ts";

/**
 * The current rows as a table of its own, kept by a task.
 *
 * A stream says which keys have news; what became of them is computed from all their landed rows, never from the
 * news alone. So a row that arrives late finds the newer ones already there, a late `t` row takes with it what is
 * older, and running it again changes nothing. The stream moves on only if the MERGE commits.
 */
export function mergeStatements(
  table: SnowflakeTable,
  names: TableNames,
  options: SnowflakeOptions,
): Statement[] {
  const { shape } = table;
  const columns = typedColumns(shape, names);
  return [
    {
      id: `target ${names.current}`,
      sql: `CREATE TABLE IF NOT EXISTS ${targetTable(columns, names)}`,
      notes: [],
    },
    ...addedTargetColumns(table, names),
    {
      id: `stream ${names.stream}`,
      sql: streamSql(names, "CREATE STREAM IF NOT EXISTS"),
      notes: [],
    },
    ...taskStatements(shape, names, options),
  ];
}

/**
 * After a column's type or the key has changed, the target cannot be altered into the new one: it is made again,
 * and filled from all landed rows by the first run of its task.
 */
export function rebuildStatements(
  shape: TableShape,
  names: TableNames,
  options: SnowflakeOptions,
): Statement[] {
  const columns = typedColumns(shape, names);
  return [
    {
      id: `target ${names.current}`,
      sql: `CREATE OR REPLACE TABLE ${targetTable(columns, names)}\nCOPY GRANTS`,
      notes: [
        "The columns' types or the key have changed: the table is filled again by the next run of its task.",
      ],
    },
    {
      id: `stream ${names.stream}`,
      sql: streamSql(names, "CREATE OR REPLACE STREAM"),
      notes: [],
    },
    ...taskStatements(shape, names, options),
  ];
}

function targetTable(columns: readonly TypedColumn[], names: TableNames): string {
  const own = [`${names.own("row_key")} VARCHAR(64)`, `${names.own("instance")} NUMBER(38,0)`];
  const all = [...columns.map(({ name, type }) => `${name} ${type}`), ...own];
  return `${names.current} (\n  ${all.join(",\n  ")}\n)`;
}

function streamSql(names: TableNames, create: string): string {
  return `${create} ${names.stream}\n  ON TABLE ${names.landing}\n  APPEND_ONLY = TRUE\n  SHOW_INITIAL_ROWS = TRUE`;
}

function addedTargetColumns({ shape, earlier }: SnowflakeTable, names: TableNames): Statement[] {
  const added = typedColumns(shape, names).filter((_, index) => {
    const column = shape.columns[index];
    return column && !earlier.every((old) => old.columns.some(({ name }) => name === column.name));
  });
  if (added.length === 0) return [];
  const columns = added.map(({ name, type }) => `IF NOT EXISTS ${name} ${type}`);
  return [
    {
      id: `target columns ${names.current}`,
      sql: `ALTER TABLE ${names.current} ADD COLUMN\n  ${columns.join(",\n  ")}`,
      notes: [],
    },
  ];
}

/** Columns that the table no longer has, in any case: a later one of that name may have another type. */
export function droppedTargetColumns(
  previous: TableShape,
  shape: TableShape,
  names: TableNames,
): Statement[] {
  const kept = new Set(shape.columns.map(({ name }) => names.column(name)));
  const dropped = previous.columns.map(({ name }) => names.column(name)).filter((name) => !kept.has(name));
  return dropped.map((name) => ({
    id: `dropped column ${names.current} ${name}`,
    sql: `ALTER TABLE ${names.current} DROP COLUMN IF EXISTS ${name}`,
    notes: [],
  }));
}

function taskStatements(shape: TableShape, names: TableNames, options: SnowflakeOptions): Statement[] {
  return [
    {
      id: `task ${names.task}`,
      sql: `CREATE OR REPLACE TASK ${names.task}
  WAREHOUSE = ${quoteIdentifier(optionName(options.warehouse))}
  SCHEDULE = '1 MINUTE'
WHEN SYSTEM$STREAM_HAS_DATA(${quoteText(names.stream)})
AS
${mergeSql(shape, names)}`,
      notes: [],
    },
    { id: `resume ${names.task}`, sql: `ALTER TASK ${names.task} RESUME`, notes: [] },
  ];
}

function mergeSql(shape: TableShape, names: TableNames): string {
  const key = names.own("row_key");
  const instance = names.own("instance");
  const gone = names.own("is_gone");
  const columns = typedColumns(shape, names);
  const all = [...columns.map(({ name }) => name), key, instance];
  return `MERGE INTO ${names.current} AS target
USING (
${mergeSource(shape, names, columns)}
) AS source
ON target.${key} = source.${key} AND target.${instance} = source.${instance}
WHEN MATCHED AND source.${gone} THEN DELETE
WHEN MATCHED THEN UPDATE SET
  ${columns.map(({ name }) => `${name} = source.${name}`).join(",\n  ")}
WHEN NOT MATCHED AND NOT source.${gone} THEN INSERT (
  ${all.join(", ")}
) VALUES (
  ${all.map((name) => `source.${name}`).join(", ")}
)`;
}

/** Every row, present or gone, of the keys that have news or that a `t` row voids. */
function mergeSource(shape: TableShape, names: TableNames, columns: readonly TypedColumn[]): string {
  const key = names.own("row_key");
  const instance = names.own("instance");
  const rows = rowsQuery(shape, names, { touched: { relation: "touched", key } });
  const touched = `touched AS (
  SELECT ${keyText(shape, names)} AS ${key}
  FROM ${names.stream}
  WHERE ${names.meta.op} <> 't'
  UNION
${voidedKeys(shape, names)}
)`;
  const old = `old_rows AS (
  SELECT o.${key}, o.${instance}
  FROM ${names.current} o
  JOIN touched k ON k.${key} = o.${key}
)`;
  // The final SELECT of the rows becomes one more table expression, typed below.
  const [changes, voided, ...others] = rows.ctes;
  const ctes = [changes, voided, touched, ...others, `new_rows AS (\n${rows.select}\n)`, old];
  return `WITH ${ctes.join(",\n")}
SELECT
${selectList(columns)},
  COALESCE(new_rows.${key}, old_rows.${key}) AS ${key},
  COALESCE(new_rows.${instance}, old_rows.${instance}) AS ${instance},
  new_rows.${key} IS NULL AS ${names.own("is_gone")}
FROM new_rows
FULL OUTER JOIN old_rows ON new_rows.${key} = old_rows.${key} AND new_rows.${instance} = old_rows.${instance}`;
}

/**
 * Keys that a `t` row may concern. A row with a key is gone if it is older. In a bag the rows and deletes with the
 * same values were balanced against each other, old ones and newer ones, so a new `t` row has all of it counted anew.
 */
function voidedKeys(shape: TableShape, names: TableNames): string {
  const key = names.own("row_key");
  if (shape.key.length > 0) {
    return `  SELECT o.${key}
  FROM ${names.current} o
  CROSS JOIN voided v
  WHERE ${positionOf(names, "o")} < v.${names.own("position")}`;
  }
  const isNew = `EXISTS (SELECT 1 FROM ${names.stream} WHERE ${names.meta.op} = 't')`;
  return `  SELECT ${key}
  FROM changes
  WHERE ${names.meta.op} <> 't' AND ${isNew}
  UNION
  SELECT ${key}
  FROM ${names.current}
  WHERE ${isNew}`;
}
