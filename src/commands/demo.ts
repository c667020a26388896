import type { Command } from "commander";
import { SettingsError } from "../core/errors.ts";
import { runDemo } from "../demo/demo.ts";
import { Screen } from "../demo/screen.ts";
import { EXIT } from "../report.ts";
import { parseStageUrl } from "../stores/open.ts";
import type { CommandContext } from "./context.ts";

const FOLDER = "pgstage-demo";

export function configure(command: Command): void {
  command
    .option("--seconds <number>", "end after so long, and prove that the stage equals the source")
    .option(
      "--stage <url>",
      "stage below this s3://bucket/prefix or file:///directory instead of in the folder",
    )
    .option("--dir <folder>", "the demo's folder, which is made anew", `./${FOLDER}`);
}

/** Exits with 0 if the stage was proven equal, or on Ctrl-C if there was no --seconds. */
export async function run(context: CommandContext): Promise<number> {
  const { seconds, stageUrl, dir } = demoOptions(context.options);
  const screen = new Screen(context.stdout, context.env);
  const equal = await runDemo({ seconds, stageUrl, dir, screen, env: context.env, signal: context.signal });
  return equal ? EXIT.done : EXIT.operator;
}

/** Reads the command's options. Throws a SettingsError with all that is wrong. */
export function demoOptions(options: Readonly<Record<string, unknown>>): {
  seconds: number | null;
  stageUrl: string | null;
  dir: string;
} {
  const problems: string[] = [];
  const seconds = options["seconds"] === undefined ? null : Number(options["seconds"]);
  if (seconds !== null && !(seconds > 0 && seconds < 1e6)) {
    problems.push(`--seconds: ${JSON.stringify(options["seconds"])} is not a number of seconds`);
  }
  const text = (name: string): string | null => (typeof options[name] === "string" ? options[name] : null);
  const stageUrl = text("stage");
  if (stageUrl !== null) problems.push(...stageProblems(stageUrl));
  if (problems.length > 0) throw new SettingsError(problems);
  return { seconds, stageUrl, dir: text("dir") ?? FOLDER };
}

function stageProblems(url: string): readonly string[] {
  try {
    parseStageUrl(url);
    return [];
  } catch (error) {
    return error instanceof SettingsError
      ? error.problems.map((problem) => `--stage: ${problem}`)
      : [String(error)];
  }
}
