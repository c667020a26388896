import { OperatorError, SettingsError } from "./core/errors.ts";
import { isExplained, scrub } from "./observe/log-errors.ts";

/** What a supervisor or a script learns from the exit code. */
export const EXIT = { done: 0, unexpected: 1, settings: 2, operator: 3 } as const;

export function exitCodeOf(error: unknown): number {
  if (error instanceof SettingsError) return EXIT.settings;
  return error instanceof OperatorError ? EXIT.operator : EXIT.unexpected;
}

/** An error as text for stderr, with its end of line. A stack only for what must be a mistake of ours. */
export function reportText(error: unknown): string {
  if (error instanceof SettingsError) {
    const { problems } = error;
    const heading =
      problems.length === 1
        ? "The settings have a problem:"
        : `The settings have ${problems.length} problems:`;
    return scrub([heading, ...problems.map((problem) => `  ${problem}`), ""].join("\n"));
  }
  if (error instanceof OperatorError) return scrub(`Error: ${error.message}\n  To mend it: ${error.mend}\n`);
  if (!(error instanceof Error)) return scrub(`Error: ${String(error)}\n`);
  return scrub(
    isExplained(error) ? `Error: ${error.message}\n` : `Unexpected: ${error.stack ?? error.message}\n`,
  );
}
