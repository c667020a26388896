import { Command, CommanderError } from "commander";
import { COMMANDS, DEFAULT_COMMAND, type CommandDescription, type CommandName } from "./commands/catalog.ts";
import type { CommandContext, CommandModule } from "./commands/context.ts";
import { createLogger, type Log } from "./observe/log.ts";
import type { Terminal } from "./observe/terminal.ts";
import { EXIT, exitCodeOf, reportText } from "./report.ts";
import { loadSettings } from "./settings/load.ts";
import type { Settings } from "./settings/settings.ts";
import { VERSION } from "./version.ts";

export type CommandModules = Readonly<Partial<Record<CommandName, () => Promise<CommandModule>>>>;

/** One line a command: its code is loaded only when it runs. */
const MODULES: CommandModules = {
  run: () => import("./commands/run.ts"),
  snapshot: () => import("./commands/snapshot.ts"),
  check: () => import("./commands/check.ts"),
  status: () => import("./commands/status.ts"),
  resync: () => import("./commands/resync.ts"),
  sql: () => import("./commands/sql.ts"),
  verify: () => import("./commands/verify.ts"),
  teardown: () => import("./commands/teardown.ts"),
  demo: () => import("./commands/demo.ts"),
};

export interface CliEnvironment {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly stdout: Terminal;
  readonly stderr: Terminal;
  readonly signal: AbortSignal;
  /** Other commands than the real ones. */
  readonly modules?: CommandModules;
}

/** Runs one command line (without node and script) and resolves with the exit code; prints what went wrong. */
export async function runCli(argv: readonly string[], environment: CliEnvironment): Promise<number> {
  const modules = environment.modules ?? MODULES;
  const args = withDefaultCommand(argv);
  const outcome = { code: EXIT.done as number };
  const program = createProgram(environment);
  for (const description of COMMANDS) {
    const load = modules[description.name];
    if (load === undefined) continue;
    const command = addCommand(program, description);
    // Only the module that may run is loaded: `pgstage sql …`, or `pgstage help sql`.
    if (!args.includes(description.name)) continue;
    const module = await load();
    module.configure?.(command);
    command.action(async () => {
      outcome.code = await runCommand({ description, command, module, environment });
    });
  }
  try {
    await program.parseAsync([...args], { from: "user" });
    return outcome.code;
  } catch (error) {
    // commander has said what it was; help and version end here, too.
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.done : EXIT.settings;
    throw error;
  }
}

function createProgram({ stdout, stderr }: CliEnvironment): Command {
  return new Command("pgstage")
    .description(
      "Copies every table of a Postgres database to S3 as CSV and streams every committed change there, exactly once, for Snowflake Snowpipe.",
    )
    .version(VERSION, "-V, --version", "print the version")
    .helpOption("-h, --help", "print help, with examples")
    .helpCommand("help [command]", "print help for a command")
    .option("--config <file>", "settings in YAML or JSON; PGSTAGE_… environment variables override them")
    .addHelpText("after", PROGRAM_HELP)
    .configureHelp({ showGlobalOptions: true })
    .configureOutput({
      writeOut: (text) => void stdout.write(text),
      writeErr: (text) => void stderr.write(text),
      getOutHelpWidth: () => stdout.columns ?? 100,
      getErrHelpWidth: () => stderr.columns ?? 100,
      getOutHasColors: () => false,
      getErrHasColors: () => false,
    })
    .showHelpAfterError("Run with --help for what there is.")
    .exitOverride();
}

const PROGRAM_HELP = `
Exit codes: 0 done or drained, 1 unexpected (restart), 2 wrong settings or command line, 3 an operator must act.

Examples:
  pgstage demo
  pgstage check --config pgstage.yaml
  pgstage run --config pgstage.yaml`;

function addCommand(program: Command, description: CommandDescription): Command {
  const usage = [description.name, description.args ?? ""].join(" ").trim();
  const command = program.command(usage).summary(description.summary).description(description.description);
  for (const [flags, text] of description.options ?? []) command.option(flags, text);
  const examples = description.examples.map((example) => `  ${example}`).join("\n");
  return command.allowExcessArguments(false).addHelpText("after", `\nExamples:\n${examples}`);
}

/** `pgstage` and `pgstage --config FILE` mean `run`. Not commander's default command, which has no suggestions. */
function withDefaultCommand(argv: readonly string[]): readonly string[] {
  for (let index = 0; index < argv.length; index++) {
    const arg = argv[index] ?? "";
    if (["-h", "--help", "-V", "--version"].includes(arg) || !arg.startsWith("-")) return argv;
    if (arg === "--config") index++;
  }
  return [DEFAULT_COMMAND, ...argv];
}

interface Invocation {
  readonly description: CommandDescription;
  readonly command: Command;
  readonly module: CommandModule;
  readonly environment: CliEnvironment;
}

async function runCommand({ description, command, module, environment }: Invocation): Promise<number> {
  const loaded = lazySettings(command.optsWithGlobals()["config"] as string | undefined, environment);
  const context: CommandContext = {
    ...loaded,
    options: command.opts(),
    args: command.args,
    signal: environment.signal,
    env: environment.env,
    stdout: environment.stdout,
    stderr: environment.stderr,
    version: VERSION,
  };
  try {
    return await module.run(context);
  } catch (error) {
    if (isInterruption(error, environment.signal)) {
      environment.stderr.write("Stopped before it was done.\n");
      return EXIT.unexpected;
    }
    const log = description.logs ? loaded.openedLog() : undefined;
    if (log !== undefined) log.error({ err: error, exit_code: exitCodeOf(error) }, "stopped");
    else environment.stderr.write(reportText(error));
    return exitCodeOf(error);
  }
}

function isInterruption(error: unknown, signal: AbortSignal): boolean {
  return (
    signal.aborted && (error === signal.reason || (error instanceof Error && error.name === "AbortError"))
  );
}

/** Settings and log at the first call, and the same ones after it. */
function lazySettings(
  file: string | undefined,
  { env, stdout }: CliEnvironment,
): { settings(): Settings; log(): Log; openedLog(): Log | undefined } {
  let settings: Settings | undefined;
  let log: Log | undefined;
  const load = (): Settings => {
    settings ??= loadSettings({ file, env, isTerminal: stdout.isTTY === true });
    return settings;
  };
  return {
    settings: load,
    log() {
      const { level, format } = load().log;
      log ??= createLogger({ level, format, version: VERSION, to: stdout, env });
      return log;
    },
    openedLog: () => log,
  };
}
