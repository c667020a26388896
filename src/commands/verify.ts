import type { Command } from "commander";
import { OperatorError, SettingsError } from "../core/errors.ts";
import { matcher, tableFilter } from "../core/globs.ts";
import { tableName } from "../core/table.ts";
import { connectSource } from "../postgres/connect.ts";
import { EXIT } from "../report.ts";
import { parseDuration, parseSize } from "../settings/formats.ts";
import { openStore } from "../stores/open.ts";
import { renderVerdict } from "../verify/report.ts";
import { verifyTables } from "../verify/verify.ts";
import type { CommandContext } from "./context.ts";

export function configure(command: Command): void {
  const collect = (value: string, all: readonly string[] = []): readonly string[] => [...all, value];
  command
    .option(
      "--table <schema.table>",
      "only this table, or those that match (public.order*); can be given more than once",
      collect,
    )
    .option("--sample <share>", "compare only this share of the keys: 10% or 0.1")
    .option(
      "--timeout <duration>",
      "how long to wait for the daemon to reach the moment of the comparison",
      "5m",
    )
    .option("--memory <size>", "memory for the comparison; more goes to temporary files", "1GiB")
    .option("--json", "print JSON");
}

/** Compares the stage with the source: 0 if they are equal and the stage is sound, 3 if not. */
export async function run(context: CommandContext): Promise<number> {
  const given = verifyOptions(context.options);
  const { source, stage } = context.settings();
  const wanted = given.tables.length > 0 ? matcher(given.tables.map(withSchema)) : null;
  const captured = tableFilter(source);
  const store = await openStore(stage);
  try {
    const verdict = await verifyTables({
      store,
      connect: (kind) => connectSource(source, kind),
      schemas: source.schemas,
      captured: ({ schema, name }) => captured(schema, name),
      ...(wanted && { wanted: (table) => wanted(tableName(table)) }),
      sample: given.sample,
      timeoutMs: given.timeoutMs,
      memoryBytes: given.memoryBytes,
      signal: context.signal,
    });
    if (wanted && verdict.tables.length === 0) {
      throw new OperatorError(
        `no captured table of the source matches ${given.tables.join(", ")}`,
        "see `pgstage status` for the tables that are captured",
      );
    }
    context.stdout.write(given.json ? `${JSON.stringify(verdict, null, 2)}\n` : renderVerdict(verdict));
    return verdict.ok ? EXIT.done : EXIT.operator;
  } finally {
    store.close();
  }
}

function withSchema(glob: string): string {
  return glob.includes(".") ? glob : `public.${glob}`;
}

interface Given {
  readonly tables: readonly string[];
  readonly sample: number;
  readonly timeoutMs: number;
  readonly memoryBytes: number;
  readonly json: boolean;
}

/** Reads the command's options. Throws a SettingsError with all that is wrong. */
export function verifyOptions(options: Readonly<Record<string, unknown>>): Given {
  const problems: string[] = [];
  const read = <T>(
    flag: string,
    value: unknown,
    parse: (text: string) => T | undefined,
    expected: string,
  ): T | undefined => {
    const parsed = parse(String(value));
    if (parsed === undefined) problems.push(`${flag}: ${JSON.stringify(value)} is not ${expected}`);
    return parsed;
  };
  const sample = read(
    "--sample",
    options["sample"] ?? "1",
    parseShare,
    "a share of the keys such as 10% or 0.1",
  );
  const timeoutMs = read(
    "--timeout",
    options["timeout"] ?? "5m",
    parseDuration,
    "a duration such as 60s or 5m",
  );
  const memoryBytes = read("--memory", options["memory"] ?? "1GiB", parseSize, "a size such as 512MiB");
  if (memoryBytes !== undefined && memoryBytes < LEAST_MEMORY_BYTES)
    problems.push("--memory: at least 128MiB are needed");
  if (problems.length > 0) throw new SettingsError(problems);
  return {
    tables: (options["table"] ?? []) as readonly string[],
    sample: sample ?? 1,
    timeoutMs: timeoutMs ?? 0,
    memoryBytes: memoryBytes ?? LEAST_MEMORY_BYTES,
    json: options["json"] === true,
  };
}

const LEAST_MEMORY_BYTES = 128 * 2 ** 20;

function parseShare(text: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?|\.\d+)\s*(%?)$/.exec(text.trim());
  if (!match) return undefined;
  const share = Number(match[1]) / (match[2] === "%" ? 100 : 1);
  return share > 0 && share <= 1 ? share : undefined;
}
