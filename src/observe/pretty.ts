import { prettyFactory } from "pino-pretty";
import { lagLine, type LagFields } from "./lag-line.ts";
import type { ErrorFacts } from "./log-errors.ts";
import { StatusLine } from "./status-line.ts";
import { canRewrite, wantsColor, type Terminal } from "./terminal.ts";

interface LogRecord extends LagFields {
  readonly msg?: string;
  readonly err?: ErrorFacts;
}

/** Log lines for people. On a terminal `lag` is not a line among others, but one that stays at the bottom. */
export function prettyDestination(
  to: Terminal,
  env: Readonly<Record<string, string | undefined>>,
): { write(line: string): void } {
  const format = prettyFactory({
    colorize: wantsColor(to, env),
    ignore: "version",
    translateTime: "SYS:HH:MM:ss",
    singleLine: true,
  });
  const inPlace = canRewrite(to, env);
  const status = new StatusLine(to);
  // The shell's prompt begins on a line of its own.
  if (inPlace && to === process.stdout) process.once("exit", () => status.end());
  return {
    write(line) {
      const { err, ...record } = JSON.parse(line) as LogRecord;
      if (inPlace && record.msg === "lag") status.show(lagLine(record));
      else status.print(`${format(record)}${err === undefined ? "" : errorLines(err)}`);
    },
  };
}

/** What is wrong, what mends it, and below that where it comes from. */
function errorLines(error: ErrorFacts): string {
  const lines = [error.stack ?? error.message];
  if (error.mend !== undefined && error.mend !== "") lines.push(`→ ${error.mend}`);
  for (let cause = error.cause; cause !== undefined; cause = cause.cause) {
    lines.push(
      `caused by ${cause.type}: ${cause.message}${cause.code === undefined ? "" : ` (${cause.code})`}`,
    );
  }
  return lines.map((line) => `    ${line.replaceAll("\n", "\n    ")}\n`).join("");
}
