import { SettingsError } from "../core/errors.ts";
import { encodeName } from "../core/layout.ts";
import type {
  IdentifierMode,
  SnowflakeInput,
  SnowflakeOptions,
  SnowflakeTable,
  TableShape,
} from "./input.ts";

/**
 * Names in Snowflake. Every name is printed in double quotes, so no word is reserved and no character special;
 * under `upper` the quoted text is upper case, which is what an unquoted name means in Snowflake.
 */

export function quoteIdentifier(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

/** A string literal. Snowflake reads backslashes in it as escapes, so they are doubled. */
export function quoteText(text: string): string {
  return `'${text.replaceAll("\\", "\\\\").replaceAll("'", "''")}'`;
}

export function spell(name: string, mode: IdentifierMode): string {
  return mode === "upper" ? name.toUpperCase() : name;
}

/** A name given as an option: folded to upper case as Snowflake does, exact in double quotes. */
export function optionName(given: string): string {
  const exact = /^"((?:[^"]|"")+)"$/.exec(given)?.[1];
  return exact === undefined ? given.toUpperCase() : exact.replaceAll('""', '"');
}

export function schemaPath(options: SnowflakeOptions, schema: string): string {
  return `${quoteIdentifier(optionName(options.database))}.${quoteIdentifier(optionName(schema))}`;
}

export function landingPath(options: SnowflakeOptions, name: string): string {
  return `${schemaPath(options, options.landingSchema)}.${quoteIdentifier(name)}`;
}

function currentPath(options: SnowflakeOptions, name: string): string {
  return `${schemaPath(options, options.schema)}.${quoteIdentifier(name)}`;
}

/** Tables of the schema public keep their name, others get `schema__table`. */
function baseName(shape: TableShape): string {
  return shape.schemaName === "public" ? shape.tableName : `${shape.schemaName}__${shape.tableName}`;
}

/** Everything that the SQL of one table needs to be called. All strings are ready to print. */
export interface TableNames {
  /** `public.orders`, for people. */
  readonly source: string;
  readonly landing: string;
  readonly pipe: string;
  readonly stream: string;
  readonly task: string;
  /** The current rows as Postgres's own text. */
  readonly textView: string;
  /** The current rows, typed: view, dynamic table or table. */
  readonly current: string;
  readonly asOf: string;
  readonly asOfLsn: string;
  readonly meta: MetadataNames;
  readonly column: (name: string) => string;
  /** A name that no column of the table has, for the query's own use. */
  readonly own: (name: string) => string;
}

interface MetadataNames {
  readonly op: string;
  readonly lsn: string;
  readonly seq: string;
  readonly committedAt: string;
  readonly unchanged: string;
  /** File and row in it that a landed row came from: filled in by the pipe. */
  readonly file: string;
  readonly row: string;
}

export function tableNames(table: SnowflakeTable, options: SnowflakeOptions): TableNames {
  const { shape } = table;
  const mode = options.identifiers;
  const base = baseName(shape);
  const named = (suffix: string): string => spell(base + suffix, mode);
  const column = (name: string): string => quoteIdentifier(spell(name, mode));
  const own = freeName(table, mode);
  const prefix = shape.metadataPrefix;
  const meta = {
    op: column(`${prefix}op`),
    lsn: column(`${prefix}lsn`),
    seq: column(`${prefix}seq`),
    committedAt: column(`${prefix}committed_at`),
    unchanged: column(`${prefix}unchanged`),
    file: own(`${prefix}file`),
    row: own(`${prefix}row`),
  };
  return {
    source: `${shape.schemaName}.${shape.tableName}`,
    landing: landingPath(options, named("")),
    pipe: landingPath(options, named("")),
    stream: landingPath(options, named("__new")),
    task: landingPath(options, named("__merge")),
    textView: landingPath(options, named("__text")),
    current: currentPath(options, named("")),
    asOf: currentPath(options, named("_as_of")),
    asOfLsn: currentPath(options, named("_as_of_lsn")),
    meta,
    column,
    own,
  };
}

/** Underscores are appended until no column, of the newest shape or an earlier one, has the name in any case. */
function freeName(table: SnowflakeTable, mode: IdentifierMode): (name: string) => string {
  const taken = new Set(
    [table.shape, ...table.earlier].flatMap((shape) => shape.columns.map(({ name }) => name.toUpperCase())),
  );
  return (name) => {
    let free = name;
    while (taken.has(free.toUpperCase())) free += "_";
    return quoteIdentifier(spell(free, mode));
  };
}

/**
 * Finds names that are one name in Snowflake. Throws a SettingsError that names them all: under `upper`, `"Id"`
 * and `id` would land in one column, and a pipe that matches headers in any case could not tell them apart.
 */
export function checkNames(input: SnowflakeInput): void {
  const problems = input.tables.flatMap((table) => columnClashes(table, input.options.identifiers));
  problems.push(...tableClashes(input));
  if (problems.length > 0) throw new SettingsError(problems);
}

function columnClashes({ shape }: SnowflakeTable, mode: IdentifierMode): string[] {
  const metadata = ["op", "lsn", "seq", "committed_at", "unchanged"].map(
    (name) => shape.metadataPrefix + name,
  );
  const names = [...metadata, ...shape.columns.map(({ name }) => name)];
  const table = `${shape.schemaName}.${shape.tableName}`;
  return clashes(names, (name) => spell(name, mode)).map((same) => {
    const columns = same.map(quoteIdentifier).join(" and ");
    const mend = same.some((name) => metadata.includes(name))
      ? "one of them is pgstage's own: set format.metadataPrefix, or print this table by itself"
      : "print this table by itself";
    return `table ${table}: the columns ${columns} are one name in upper case; ${mend} with --identifiers quoted --table '${table}'`;
  });
}

function tableClashes({ tables, options }: SnowflakeInput): string[] {
  const objects = tables.flatMap((table) => {
    const names = tableNames(table, options);
    return [names.landing, names.stream, names.textView].map((object) => ({ object, source: names.source }));
  });
  return clashes(objects, ({ object }) => object).map(
    (group) =>
      `the tables ${group.map(({ source }) => source).join(" and ")} would share the name ${group[0]?.object ?? ""} ` +
      `in Snowflake; print one of them apart, with --table and another --schema`,
  );
}

function clashes<T>(items: readonly T[], nameOf: (item: T) => string): T[][] {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const name = nameOf(item);
    groups.set(name, [...(groups.get(name) ?? []), item]);
  }
  return [...groups.values()].filter((group) => group.length > 1);
}

/** The folder of a table below the stage, as the pipe names it, with the closing slash. */
export function stagePath(stage: string, shape: TableShape): string {
  const folder = `${encodeName(shape.schemaName)}/${encodeName(shape.tableName)}/`;
  return /^[A-Za-z0-9._/-]+$/.test(folder) && !folder.includes("--")
    ? `@${stage}/${folder}`
    : quoteText(`@${stage}/${folder}`);
}
