import type { SnowflakeOptions, Statement, TableShape } from "./input.ts";
import { quoteIdentifier, optionName, type TableNames } from "./names.ts";
import { LONGEST_VARCHAR, mapType } from "./types.ts";

/** The typed current rows, over the view of texts: as a view, or as a dynamic table. */

export interface TypedColumn {
  /** Ready to print. */
  readonly name: string;
  readonly type: string;
  readonly value: string;
  readonly comment: string;
}

/** The table's columns, then where each row comes from: enough to follow it back to its landed change. */
export function typedColumns(shape: TableShape, names: TableNames): TypedColumn[] {
  const columns = shape.columns.map((column) => {
    const name = names.column(column.name);
    const { type, cast, reason } = mapType(column);
    return { name, type, value: cast(name), comment: `${printable(column.type)}: ${reason}` };
  });
  const { lsn, seq, committedAt } = names.meta;
  return [
    ...columns,
    { name: lsn, type: LONGEST_VARCHAR, value: lsn, comment: "commit LSN of the change that made the row" },
    { name: seq, type: "NUMBER(38,0)", value: seq, comment: "its place in the transaction" },
    {
      name: committedAt,
      type: "TIMESTAMP_TZ",
      value: `TRY_TO_TIMESTAMP_TZ(${committedAt}, 'YYYY-MM-DD HH24:MI:SS.FF6TZH')`,
      comment: "its commit time",
    },
  ];
}

/** Type names come from the source and may hold anything; a comment ends with its line. */
function printable(text: string): string {
  return text.replace(/\s+/g, " ");
}

/** One line a column. A value that is the column itself needs no alias. */
export function selectList(columns: readonly TypedColumn[]): string {
  return columns.map((column) => `  ${aliased(column)}`).join(",\n");
}

/** The same, each line with why the type was chosen, for people who read the object's definition. */
function commentedSelectList(columns: readonly TypedColumn[]): string {
  return columns
    .map(
      (column, index) => `  ${aliased(column)}${index < columns.length - 1 ? "," : ""} -- ${column.comment}`,
    )
    .join("\n");
}

function aliased({ name, value }: TypedColumn): string {
  return value === name ? name : `${value} AS ${name}`;
}

export function typedView(shape: TableShape, names: TableNames): Statement {
  return {
    id: `view ${names.current}`,
    sql: `CREATE OR REPLACE VIEW ${names.current} COPY GRANTS AS\n${typedSelect(shape, names)}`,
    notes: [],
  };
}

export function dynamicTable(shape: TableShape, names: TableNames, options: SnowflakeOptions): Statement {
  return {
    id: `dynamic table ${names.current}`,
    sql: `CREATE OR REPLACE DYNAMIC TABLE ${names.current}
  TARGET_LAG = '1 minute'
  WAREHOUSE = ${quoteIdentifier(optionName(options.warehouse))}
  REFRESH_MODE = AUTO
  COPY GRANTS
AS
${typedSelect(shape, names)}`,
    notes: [],
  };
}

function typedSelect(shape: TableShape, names: TableNames): string {
  return `SELECT\n${commentedSelectList(typedColumns(shape, names))}\nFROM ${names.textView}`;
}
