import type { TableNames } from "./names.ts";
import { quoteText } from "./names.ts";
import type { TableShape } from "./input.ts";
import { mayBeUnchanged } from "./types.ts";

/**
 * The rows of a table as of its landed changes, as Postgres's own text.
 *
 * Everything follows from `(_lsn, _seq)`, so it does not matter in which order files are loaded, nor whether all of
 * a file is there: more rows can only bring the result nearer. What a `t` row voids has a smaller position. Of a
 * key, the row with the greatest position counts, unless it is a delete. A value that a change did not send is that
 * of the newest row of the key that has it: not the newest that is not NULL, because NULL may be the value.
 */
export interface RowsQuery {
  /** Ends the history: a condition on the landed rows. */
  readonly until?: string;
  /** Only the rows whose key text is in this relation's column of that name. Needs `keyed` for the name. */
  readonly touched?: { readonly relation: string; readonly key: string };
}

/** The common table expressions and the final SELECT, apart, so that others can go between or after. */
export interface RowsParts {
  readonly ctes: readonly string[];
  readonly select: string;
}

export function rowsQuery(shape: TableShape, names: TableNames, query: RowsQuery = {}): RowsParts {
  const { meta } = names;
  const isKeyless = shape.key.length === 0;
  const position = names.own("position");
  const columns = shape.columns.map(({ name }) => names.column(name));
  const carried = [...columns, meta.op, meta.lsn, meta.seq, meta.committedAt, meta.file, meta.row];
  const landed = [
    ...carried,
    `${positionOf(names)} AS ${position}`,
    `TRY_PARSE_JSON(${meta.unchanged})::ARRAY AS ${names.own("unchanged_columns")}`,
    ...(query.touched ? [`${keyText(shape, names)} AS ${query.touched.key}`] : []),
  ];
  const changes = `changes AS (
  SELECT
    ${landed.join(",\n    ")}
  FROM ${names.landing}${query.until ? `\n  WHERE ${query.until}` : ""}
)`;
  const touched = query.touched
    ? `\n  JOIN ${query.touched.relation} k ON k.${query.touched.key} = c.${query.touched.key}`
    : "";
  // The same file loaded twice (a pipe made anew forgets its names) would double the rows of a table without key.
  const once = `\n  QUALIFY ROW_NUMBER() OVER (PARTITION BY c.${meta.file}, c.${meta.row} ORDER BY c.${position}) = 1`;
  const live = `live AS (
  SELECT c.*
  FROM changes c
  CROSS JOIN voided v${touched}
  WHERE c.${meta.op} <> 't' AND c.${position} >= v.${position}${isKeyless ? once : ""}
)`;
  const select = isKeyless ? keylessRows(columns, names, query) : keyedRows(shape, names, query);
  return { ctes: [changes, voidedBy(names), live, ...select.ctes], select: select.select };
}

/** The position of the last `t` row; everything before it is gone. Needs `changes`. */
function voidedBy(names: TableNames): string {
  const position = names.own("position");
  return `voided AS (
  SELECT COALESCE(MAX(${position}), '') AS ${position}
  FROM changes
  WHERE ${names.meta.op} = 't'
)`;
}

/** `(_lsn, _seq)` as one text whose order is theirs: the LSN has a fixed width, the number is padded to one. */
export function positionOf(names: TableNames, alias = ""): string {
  const at = alias === "" ? "" : `${alias}.`;
  return `${at}${names.meta.lsn} || '.' || LPAD(TO_VARCHAR(${at}${names.meta.seq}), 20, '0')`;
}

/** The text that says which row of the table a landed row is about. For tables without key, the whole row. */
export function keyText(shape: TableShape, names: TableNames): string {
  const identity = shape.key.length > 0 ? shape.key : shape.columns.map(({ name }) => name);
  return `SHA2(TO_JSON(ARRAY_CONSTRUCT(${identity.map((name) => names.column(name)).join(", ")})), 256)`;
}

function metadataOf({ meta }: TableNames): string[] {
  return [meta.lsn, meta.seq, meta.committedAt];
}

function keyedRows(shape: TableShape, names: TableNames, query: RowsQuery): RowsParts {
  const position = names.own("position");
  const key = shape.key.map((name) => names.column(name)).join(", ");
  const values = shape.columns.map((column) => {
    const name = names.column(column.name);
    if (shape.key.includes(column.name) || !mayBeUnchanged(column)) return name;
    const isMissing = `ARRAY_CONTAINS(${quoteText(column.name)}::VARIANT, ${names.own("unchanged_columns")})`;
    return `FIRST_VALUE(${name}) OVER (PARTITION BY ${key} ORDER BY IFF(${isMissing}, 1, 0), ${position} DESC) AS ${name}`;
  });
  const extra = query.touched ? [query.touched.key, `1 AS ${names.own("instance")}`] : [];
  return {
    ctes: [],
    select: `SELECT
  ${[...values, ...metadataOf(names), ...extra].join(",\n  ")}
FROM live
QUALIFY ROW_NUMBER() OVER (PARTITION BY ${key} ORDER BY ${position} DESC) = 1 AND ${names.meta.op} <> 'd'`,
  };
}

/**
 * Without a key rows are a bag: each delete takes one row with the same values away, and it does not matter which.
 * An update is a delete and a new row.
 */
function keylessRows(columns: readonly string[], names: TableNames, query: RowsQuery): RowsParts {
  const { meta } = names;
  const same = query.touched ? query.touched.key : columns.length > 0 ? columns.join(", ") : "1";
  const deletes = names.own("deletes");
  const number = names.own("number");
  const extra = query.touched
    ? [query.touched.key, `${number} - ${deletes} AS ${names.own("instance")}`]
    : [];
  return {
    ctes: [
      `counted AS (
  SELECT
    live.*,
    COUNT(IFF(${meta.op} = 'd', 1, NULL)) OVER (PARTITION BY ${same}) AS ${deletes},
    ROW_NUMBER() OVER (PARTITION BY ${same}, IFF(${meta.op} = 'd', 1, 0) ORDER BY ${names.own("position")}, ${meta.file}, ${meta.row}) AS ${number}
  FROM live
)`,
    ],
    select: `SELECT
  ${[...columns, ...metadataOf(names), ...extra].join(",\n  ")}
FROM counted
WHERE ${meta.op} <> 'd' AND ${number} > ${deletes}`,
  };
}

export function withQuery({ ctes, select }: RowsParts): string {
  return `WITH ${ctes.join(",\n")}\n${select}`;
}
