import { csvFormatOf, type CsvFormat } from "./csv.ts";

/** What the generated SQL says about pipes: where each reads, how, and into which table. */

export interface Pipe {
  readonly name: string;
  readonly table: string;
  /** Below the bucket. */
  readonly path: string;
  readonly format: CsvFormat;
  readonly isCaseSensitive: boolean;
  readonly metadata: readonly { readonly column: string; readonly source: string }[];
  readonly truncates: boolean;
  /** By path; a name is remembered whether it could be loaded or not. */
  readonly loadedAtMs: Map<string, number>;
}

/** A landing column with what it takes. */
export interface LandingColumn {
  readonly name: string;
  readonly type: string;
}

/** What a script declares. */
export interface Declared {
  readonly pipes: readonly Pipe[];
  /** Columns of landing tables, by the tables' names. */
  readonly columns: ReadonlyMap<string, readonly LandingColumn[]>;
  /** The stage's path below its bucket. */
  readonly prefix: string;
}

/** Reads the generated statements; those of other kinds are passed over. */
export function readStatements(statements: readonly string[]): Declared {
  const formats = named(statements, /^CREATE (?:OR REPLACE )?FILE FORMAT (?:IF NOT EXISTS )?(\S+)/);
  const stages = named(statements, /^CREATE (?:OR REPLACE )?STAGE (?:IF NOT EXISTS )?(\S+)/);
  const tables = named(statements, /^CREATE (?:OR REPLACE )?TABLE (?:IF NOT EXISTS )?([^(]+?) \(/);
  const pipes = named(statements, /^CREATE (?:OR REPLACE )?PIPE (?:IF NOT EXISTS )?(.+)$/m);
  return {
    pipes: [...pipes].map(([name, sql]) => parsePipe({ name, sql, formats, stages })),
    columns: new Map([...tables].map(([name, sql]) => [name, landingColumns(sql)])),
    prefix: prefixOf([...stages.values()][0] ?? ""),
  };
}

function named(statements: readonly string[], pattern: RegExp): Map<string, string> {
  return new Map(
    statements.flatMap((sql) => (pattern.exec(sql)?.[1] ? [[pattern.exec(sql)?.[1] ?? "", sql]] : [])),
  );
}

/** The path below the bucket of a stage's URL. */
function prefixOf(stage: string): string {
  return /URL = 's3:\/\/[^/]+\/(.*)'/.exec(stage)?.[1] ?? "";
}

function landingColumns(sql: string): LandingColumn[] {
  return [...sql.matchAll(/^ {2}("(?:[^"]|"")+") (.+?),?$/gm)].map(([, name = "", type = ""]) => ({
    name,
    type,
  }));
}

function parsePipe(made: {
  name: string;
  sql: string;
  formats: Map<string, string>;
  stages: Map<string, string>;
}): Pipe {
  const { name, sql, formats, stages } = made;
  const part = (pattern: RegExp): string => {
    const found = pattern.exec(sql)?.[1];
    if (found === undefined) throw new Error(`${name}: nothing matches ${pattern}`);
    return found;
  };
  const from = part(/^FROM (.+)$/m);
  const location = from.startsWith("'") ? from.slice(1, -1).replaceAll("''", "'") : from;
  const stage = [...stages.keys()].find((candidate) => location.startsWith(`@${candidate}/`));
  const format = formats.get(part(/FORMAT_NAME = '((?:[^']|'')+)'/).replaceAll("''", "'"));
  if (stage === undefined || format === undefined) throw new Error(`${name}: unknown stage or file format`);
  return {
    name,
    table: part(/^COPY INTO (.+)$/m),
    path: prefixOf(stages.get(stage) ?? "") + location.slice(stage.length + 2),
    format: csvFormatOf(format),
    isCaseSensitive: part(/MATCH_BY_COLUMN_NAME = (\w+)/) === "CASE_SENSITIVE",
    metadata: [...part(/INCLUDE_METADATA = \((.+)\)/).matchAll(/("(?:[^"]|"")+") = (METADATA\$\w+)/g)].map(
      ([, column = "", source = ""]) => ({ column, source }),
    ),
    truncates: sql.includes("TRUNCATECOLUMNS = TRUE"),
    loadedAtMs: new Map(),
  };
}
