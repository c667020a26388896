import { prettyFactory } from "pino-pretty";
import { lagLine, type LagFields } from "./lag-line.ts";
import type { ErrorFacts } from "./log-errors.ts";
import { StatusLine } from "./status-line.ts";
import { canRewrite, clean, wantsColor, type Terminal } from "./terminal.ts";
import { humanCount } from "./units.ts";

interface LogRecord extends LagFields {
  readonly msg?: string;
  readonly err?: ErrorFacts;
  /** A notice's sentence, or what a check has found. */
  readonly message?: string;
  readonly check?: string;
  readonly found?: string;
  readonly mend?: string;
  readonly count?: number;
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
  // What it says is over then, and the shell's prompt begins on a line of its own.
  if (inPlace && to === process.stdout) process.once("exit", () => status.clear());
  return {
    write(line) {
      const { err, ...record } = JSON.parse(line) as LogRecord;
      if (inPlace && record.msg === "lag") status.show(lagLine(record));
      else status.print(`${format(spoken(record))}${mendLine(record)}${errorLines(err)}`);
    },
  };
}

/** Of a record with a sentence only that: it is made of the facts. */
function spoken(record: LogRecord): object {
  const { msg = "", message, check, found, count = 1 } = record;
  const sentence = message ?? (check !== undefined && found !== undefined ? `${check}: ${found}` : undefined);
  if (sentence === undefined) return record;
  const { level, time } = record as { level?: string; time?: string };
  const times = count > 1 ? ` (${humanCount(count)} times)` : "";
  return { level, time, msg: `${msg}: ${clean(sentence)}${times}` };
}

function mendLine({ mend = "" }: LogRecord): string {
  return mend === "" ? "" : `    → ${clean(mend)}\n`;
}

/** What is wrong, what mends it, and below that where it comes from. */
function errorLines(error: ErrorFacts | undefined): string {
  if (error === undefined) return "";
  const lines = [error.stack ?? error.message];
  if (error.mend !== undefined && error.mend !== "") lines.push(`→ ${error.mend}`);
  for (let cause = error.cause; cause !== undefined; cause = cause.cause) {
    lines.push(
      `caused by ${cause.type}: ${cause.message}${cause.code === undefined ? "" : ` (${cause.code})`}`,
    );
  }
  return lines
    .join("\n")
    .split("\n")
    .map((line) => `    ${clean(line)}\n`)
    .join("");
}
