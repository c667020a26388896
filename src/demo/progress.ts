import { countOf, humanBytes, humanCount, humanSeconds } from "../observe/units.ts";
import type { StatusJson } from "../observe/status-json.ts";
import type { LogLine } from "./daemon.ts";
import { bar } from "./screen.ts";
import type { WorkloadCounts } from "./workload.ts";

/**
 * What the daemon says, as text for a person. Pure.
 */

/** Tables that are being copied, each with a bar, or nothing. */
export function copyBars(status: StatusJson): string[] {
  const open = status.tables.filter(({ phase }) => phase !== "copied");
  const width = Math.max(0, ...open.map(({ table }) => table.length));
  return open.map(({ table, ranges_done: done, ranges, rows, phase }) => {
    const share = ranges > 0 ? done / ranges : 0;
    const what =
      phase === "pending" ? "waits" : `${done} of ${countOf(ranges, "file")}, ${countOf(rows, "row")}`;
    return `  ${table.padEnd(width)}  ${bar(share)}  ${what}`;
  });
}

/** One line: how far the stage is, and what the application does. */
export function statusLine(status: StatusJson, counts: WorkloadCounts): string {
  const { lag, totals, state } = status;
  const behind = lag.lag_seconds === null ? "not known yet" : humanSeconds(lag.lag_seconds);
  return [
    `  ${state}`,
    `lag ${behind}`,
    `staged ${countOf(totals.rows, "row")} in ${countOf(totals.files, "file")}, ${humanBytes(totals.bytes)}`,
    `${humanCount(status.throughput.rows_per_second)} rows/s`,
    `application: ${countOf(counts.transactions, "transaction")}, ${countOf(counts.rows, "row")} changed`,
  ].join(" · ");
}

/** Log lines that a person wants to see, or null. */
export function tell(line: LogLine): string | null {
  switch (line.msg) {
    case "table copied":
      return `  copied ${String(line["table"])}: ${countOf(Number(line["rows"]), "row")}`;
    default:
      return line.level === "warn" || line.level === "error" || line.level === "fatal"
        ? `  daemon: ${line.msg}`
        : null;
  }
}
