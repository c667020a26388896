import type { Command } from "commander";
import type { Log } from "../observe/log.ts";
import type { Terminal } from "../observe/terminal.ts";
import type { Settings } from "../settings/settings.ts";

/** What a command gets to work with. */
export interface CommandContext {
  /** Loads and checks the settings, once. Throws a SettingsError; commands that need none never call it. */
  settings(): Settings;
  /** A log as the settings want it, on stdout. */
  log(): Log;
  /** Values by their camel-case names: `--json` is `json`. */
  readonly options: Readonly<Record<string, unknown>>;
  readonly args: readonly string[];
  /** Aborted by the first SIGTERM or SIGINT; the second ends the process. */
  readonly signal: AbortSignal;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly stdout: Terminal;
  readonly stderr: Terminal;
  readonly version: string;
}

/** What `src/commands/<name>.ts` exports. */
export interface CommandModule {
  /**
   * Resolves with the exit code: 0 done, 3 an operator must act (the command has said what). Rejects with a
   * SettingsError (2), an OperatorError (3) or anything else (1); the caller prints it.
   */
  readonly run: (context: CommandContext) => Promise<number>;
  /** Adds the command's options. */
  readonly configure?: (command: Command) => void;
}
