import { pino, stdTimeFunctions, type DestinationStream, type Logger } from "pino";
import { formatLsn, type Lsn } from "../core/lsn.ts";
import { serializeError } from "./log-errors.ts";
import { prettyDestination } from "./pretty.ts";
import type { Terminal } from "./terminal.ts";

export type Log = Logger;

export interface LogOptions {
  readonly level: "trace" | "debug" | "info" | "warn" | "error";
  /** `pretty` is for people; on a terminal the lag line then stays in its place. */
  readonly format: "json" | "pretty";
  readonly version: string;
  /** Where to; stdout if not given. */
  readonly to?: Terminal;
  readonly env?: Readonly<Record<string, string | undefined>>;
}

/** The second line of defence: nothing is meant to put a secret into a log line. */
const SECRETS = ["password", "token", "secretAccessKey", "sessionToken", "connectionString"].flatMap(
  (name) => [name, `*.${name}`, `*.*.${name}`],
);

/** One JSON object a line: `level` as a word, `time` in ISO 8601, constant `msg`, facts in fields. */
export function createLogger(options: LogOptions): Log {
  const to = options.to ?? process.stdout;
  return pino(
    {
      level: options.level,
      base: { version: options.version },
      timestamp: stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }), log: withoutBigints },
      serializers: { err: serializeError },
      redact: { paths: SECRETS, censor: "…" },
    },
    options.format === "pretty" ? prettyDestination(to, options.env ?? process.env) : jsonDestination(to),
  );
}

/** Straight to the file descriptor, and synchronous: the last line before an exit matters most. */
function jsonDestination(to: Terminal): DestinationStream {
  return to === process.stdout ? pino.destination({ dest: 1, sync: true }) : to;
}

/** LSNs (fields that end in `lsn`) as the contract's fixed-width text; other bigints, such as sizes, as numbers. */
function withoutBigints(fields: Record<string, unknown>): Record<string, unknown> {
  if (!Object.values(fields).some((value) => typeof value === "bigint")) return fields;
  return Object.fromEntries(
    Object.entries(fields).map(([name, value]) => {
      if (typeof value !== "bigint") return [name, value];
      return [name, /lsn$/i.test(name) ? formatLsn(value as Lsn) : Number(value)];
    }),
  );
}
