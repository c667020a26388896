import { writeFileSync } from "node:fs";
import type { Command } from "commander";
import { OperatorError, SettingsError } from "../core/errors.ts";
import { changedSections } from "../snowflake/diff.ts";
import type { CurrentState, IdentifierMode, SnowflakeInput, SnowflakeOptions } from "../snowflake/input.ts";
import { optionName } from "../snowflake/names.ts";
import { renderScript, snowflakeSections } from "../snowflake/script.ts";
import { openStore } from "../stores/open.ts";
import type { CommandContext } from "./context.ts";
import { readStageTables, withPreviousShapes, type StageTable, type StageTables } from "./sql-tables.ts";

export function configure(command: Command): void {
  const collect = (value: string, all: readonly string[] = []): readonly string[] => [...all, value];
  command
    .option("--database <name>", "Snowflake database", "PGSTAGE")
    .option("--schema <name>", "schema of the current-state tables", "PUBLIC")
    .option(
      "--landing-schema <name>",
      "schema of stage, pipes and landing tables (default: <schema>_LANDING)",
    )
    .option("--warehouse <name>", "warehouse of dynamic tables and tasks", "COMPUTE_WH")
    .option("--integration <name>", "storage integration", "PGSTAGE_S3")
    .option("--role-arn <arn>", "AWS role that Snowflake assumes to read the bucket")
    .option("--identifiers <how>", "upper: ORDERS; quoted: exactly as in Postgres", "upper")
    .option("--current-state <kind>", "view, dynamic-table or task (a MERGE every minute)", "view")
    .option("--table <schema.table>", "only this table; can be given more than once", collect)
    .option("--diff", "only what has changed since a table's previous shape")
    .option("--out <file>", "write to this file instead of stdout");
}

export async function run(context: CommandContext): Promise<number> {
  const given = sqlOptions(context.options);
  const settings = context.settings();
  const store = await openStore(settings.stage);
  try {
    const stage = await readStageTables(store, settings.format.metadataPrefix);
    const chosen = chooseTables(stage.tables, given.tables);
    const tables = given.diff ? await withPreviousShapes(store, chosen) : chosen;
    const input: SnowflakeInput = {
      pipeline: { stageUrl: store.url, compression: settings.format.compression, slot: stage.slot },
      tables,
      options: given.options,
    };
    const script = given.diff ? renderDiff(input, chosen) : renderAll(input, context.version);
    output(script, given.out, context);
    return 0;
  } finally {
    store.close();
  }
}

interface SqlOptions {
  readonly options: SnowflakeOptions;
  /** Empty: all. */
  readonly tables: readonly string[];
  readonly diff: boolean;
  readonly out: string | null;
}

/** Checks the command's options. Throws a SettingsError with all that is wrong. */
export function sqlOptions(options: Readonly<Record<string, unknown>>): SqlOptions {
  const problems: string[] = [];
  const text = (name: string, otherwise: string): string => {
    const value = options[name];
    return typeof value === "string" && value !== "" ? value : otherwise;
  };
  const oneOf = <T extends string>(name: string, flag: string, allowed: readonly T[]): T => {
    const value = text(name, allowed[0] as string);
    if (!allowed.includes(value as T))
      problems.push(`${flag}: ${JSON.stringify(value)} is not ${allowed.join(", ")}`);
    return value as T;
  };
  const schema = text("schema", "PUBLIC");
  const tables = (options["table"] ?? []) as readonly string[];
  const result: SqlOptions = {
    options: {
      database: text("database", "PGSTAGE"),
      schema,
      landingSchema: text("landingSchema", suffixed(schema, "_LANDING")),
      warehouse: text("warehouse", "COMPUTE_WH"),
      integration: text("integration", "PGSTAGE_S3"),
      roleArn: options["roleArn"] === undefined ? null : text("roleArn", ""),
      identifiers: oneOf<IdentifierMode>("identifiers", "--identifiers", ["upper", "quoted"]),
      currentState: oneOf<CurrentState>("currentState", "--current-state", ["view", "dynamic-table", "task"]),
      partial: tables.length > 0,
    },
    tables,
    diff: options["diff"] === true,
    out: options["out"] === undefined ? null : text("out", ""),
  };
  const { roleArn } = result.options;
  if (roleArn !== null && !/^arn:[a-z-]+:iam::\d{12}:role\/.+$/.test(roleArn)) {
    problems.push(`--role-arn: ${JSON.stringify(roleArn)} is not like arn:aws:iam::123456789012:role/name`);
  }
  if (optionName(result.options.landingSchema) === optionName(schema)) {
    problems.push(
      "--landing-schema: must not be --schema: a table's landing table and its view have one name",
    );
  }
  if (result.out === "") problems.push("--out: the name of a file is missing");
  if (problems.length > 0) throw new SettingsError(problems);
  return result;
}

/** `"Mine"` → `"Mine_LANDING"`: the suffix goes inside the quotes. */
function suffixed(name: string, suffix: string): string {
  return name.endsWith('"') ? `${name.slice(0, -1)}${suffix}"` : name + suffix;
}

function chooseTables(tables: StageTables["tables"], names: readonly string[]): readonly StageTable[] {
  if (names.length === 0) return tables;
  const wanted = names.map((name) => (tables.some((table) => table.name === name) ? name : `public.${name}`));
  const missing = names.filter((_, i) => !tables.some(({ name }) => name === wanted[i]));
  if (missing.length > 0) {
    throw new SettingsError(
      missing.map((name) => `--table: the pipeline has no table ${name}; pgstage status lists those it has`),
    );
  }
  return tables.filter(({ name }) => wanted.includes(name));
}

function renderAll(input: SnowflakeInput, version: string): string {
  const { pipeline, tables, options } = input;
  const head = [
    `Snowflake for the pipeline ${pipeline.slot}, stage ${pipeline.stageUrl}: ${tables.length} table(s). pgstage ${version}`,
    "Run it in order. It can be run again at any time: what is there stays, views and functions are replaced.",
    "After a change of a table's columns, `pgstage sql --diff` prints what to run.",
  ];
  if (options.currentState !== "view") {
    head.push("A current-state object of another kind has to be dropped by hand before.");
  }
  return renderScript(head, snowflakeSections(input));
}

/** Tables with one shape so far are named: the difference cannot tell whether Snowflake has them yet. */
function renderDiff(input: SnowflakeInput, chosen: readonly StageTable[]): string {
  const sections = changedSections(input);
  const single = chosen.filter(({ shapeIds }) => shapeIds.length <= 1).map(({ name }) => name);
  const head = [
    sections.length === 0
      ? "No table has changed since its previous shape."
      : `What has changed since the previous shapes of ${input.tables.length} table(s), by the stage ${input.pipeline.stageUrl}.`,
    ...(single.length > 0
      ? [
          `With one shape so far, and so not compared: ${single.length} table(s). A new one: pgstage sql --table NAME`,
        ]
      : []),
  ];
  return renderScript(head, sections);
}

function output(script: string, file: string | null, context: CommandContext): void {
  if (file === null) {
    context.stdout.write(script);
    return;
  }
  try {
    writeFileSync(file, script);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new OperatorError(
      `cannot write ${file}: ${reason}`,
      "choose a file that can be written with --out",
      {
        cause: error,
      },
    );
  }
  context.stderr.write(`Written to ${file}.\n`);
}
