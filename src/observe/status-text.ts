import type { Notice, Status, TableStatus } from "../core/status.ts";
import { interestingFirst } from "./status.ts";
import { clean } from "./terminal.ts";
import { countOf, humanBytes, humanCount, humanPercent, humanSeconds, roughSeconds } from "./units.ts";

export interface TextOptions {
  /** Only on terminals, and not with NO_COLOR. */
  readonly color: boolean;
  /** Tables that are listed; more are only counted. */
  readonly tables?: number;
}

const DEFAULT_TABLES = 20;

/** A status for a terminal: what is going on, numbers, notices with what to do, tables. Ends with a line feed. */
export function renderStatus(status: Status, { color, tables = DEFAULT_TABLES }: TextOptions): string {
  const paint: Paint = color ? (code, text) => `\u001b[${code}m${text}\u001b[0m` : (_, text) => text;
  const parts = [
    `${paint(STATE_COLORS[status.state], status.state)}  ${clean(status.summary)}`,
    aligned(facts(status), paint),
    notices(status.notices, paint),
    tableLines(status, tables, paint),
  ];
  return `${parts.filter((part) => part !== "").join("\n\n")}\n`;
}

type Paint = (code: number, text: string) => string;

const BOLD = 1;
const DIM = 2;
const RED = 31;
const GREEN = 32;
const YELLOW = 33;

const STATE_COLORS: Readonly<Record<Status["state"], number>> = {
  starting: YELLOW,
  standby: YELLOW,
  copying: GREEN,
  streaming: GREEN,
  draining: YELLOW,
  blocked: RED,
  stopped: YELLOW,
};
const LEVEL_COLORS = { error: RED, warn: YELLOW, info: BOLD } as const;
const LEVEL_WORDS = { error: "error", warn: "warning", info: "note" } as const;

function facts(status: Status): (readonly [string, string])[] {
  const { lag, throughput, totals, batches } = status;
  const lines: (readonly [string, string])[] = [
    ["source", `${status.source}, slot ${status.slot}`],
    ["stage", status.stage],
    [
      "lag",
      lag.lagSeconds === null ? "not known" : join(humanSeconds(lag.lagSeconds), walWords(lag.lagBytes)),
    ],
    ["WAL", budgetWords(status)],
  ];
  if (throughput.rowsPerSecond > 0) {
    lines.push([
      "speed",
      `${humanCount(throughput.rowsPerSecond)} rows/s, ${humanBytes(throughput.bytesPerSecond)}/s of CSV`,
    ]);
  }
  if (lag.openRows > 0)
    lines.push(["waiting", `${countOf(lag.openRows, "row")}, ${humanBytes(lag.openBytes)}`]);
  if (totals.batches > 0) {
    lines.push([
      "published",
      join(countOf(totals.rows, "row"), countOf(totals.files, "file"), humanBytes(totals.bytes)),
    ]);
  }
  const [last] = batches;
  if (last !== undefined) {
    const age = humanSeconds((Date.parse(status.now) - Date.parse(last.time)) / 1000);
    lines.push([
      "last batch",
      `#${last.sequence}, ${age} ago: ${join(countOf(last.rows, "row"), countOf(last.fileCount, "file"))}`,
    ]);
  }
  return lines;
}

function walWords(bytes: number | null): string {
  return bytes === null ? "" : `${humanBytes(bytes)} of WAL`;
}

function budgetWords({ lag }: Status): string {
  const { slotRetainedBytes: kept, walBudgetBytes: left, walExhaustedInSeconds: end } = lag;
  if (kept === null) return "not known";
  if (left === null) return `${humanBytes(kept)} kept at the source, no limit set (max_slot_wal_keep_size)`;
  const used = kept + left === 0 ? 1 : kept / (kept + left);
  const time = end === null ? "" : `lost in about ${roughSeconds(end)} at this pace`;
  return join(
    `${humanBytes(kept)} kept at the source`,
    `${humanBytes(left)} left (${humanPercent(used)} used)`,
    time,
  );
}

function join(...parts: readonly string[]): string {
  return parts.filter((part) => part !== "").join(", ");
}

function aligned(lines: readonly (readonly [string, string])[], paint: Paint): string {
  const width = Math.max(...lines.map(([name]) => name.length));
  return lines.map(([name, value]) => `${paint(DIM, name.padEnd(width))}  ${clean(value)}`).join("\n");
}

function notices(all: readonly Notice[], paint: Paint): string {
  return all
    .map((notice) => {
      const times = notice.count > 1 ? ` (${humanCount(notice.count)} times)` : "";
      const mend = notice.mend === "" ? "" : `\n  ${paint(DIM, "→")} ${clean(notice.mend)}`;
      return `${paint(LEVEL_COLORS[notice.level], LEVEL_WORDS[notice.level])}: ${clean(notice.message)}${times}${mend}`;
    })
    .join("\n");
}

function tableLines(status: Status, limit: number, paint: Paint): string {
  const { tableCounts: counts } = status;
  if (counts.total === 0) return "";
  const shown = interestingFirst(status.tables).slice(0, limit);
  const rows = shown.map((table) => [
    short(clean(table.table)),
    phaseWords(table),
    humanCount(table.rows),
    humanBytes(table.bytes),
    table.insertOnly ? "inserts only" : "",
  ]);
  const head = ["table", "copy", "rows", "stored", ""];
  const widths = head.map((name, column) =>
    Math.max(name.length, ...rows.map((row) => row[column]?.length ?? 0)),
  );
  const lines = [head, ...rows].map((cells, index) => {
    const line = cells.map((cell, column) => pad(cell, widths[column] ?? 0, NUMBER_COLUMNS.has(column)));
    return index === 0 ? paint(DIM, line.join("  ").trimEnd()) : line.join("  ").trimEnd();
  });
  if (counts.total > shown.length)
    lines.push(paint(DIM, `… and ${countOf(counts.total - shown.length, "more table")}`));
  if (status.notCaptured.length > 0) {
    lines.push(paint(YELLOW, `${countOf(status.notCaptured.length, "table")} not captured: see --json`));
  }
  return lines.join("\n");
}

/** Longer names would push the numbers out of sight; `--json` has them whole. */
const NAME_WIDTH = 64;

function short(name: string): string {
  return name.length > NAME_WIDTH ? `${name.slice(0, NAME_WIDTH - 1)}…` : name;
}

const NUMBER_COLUMNS: ReadonlySet<number> = new Set([2, 3]);

function pad(cell: string, width: number, right: boolean): string {
  return right ? cell.padStart(width) : cell.padEnd(width);
}

function phaseWords(table: TableStatus): string {
  switch (table.phase) {
    case "pending":
      return "waiting";
    case "copied":
      return "done";
    case "copying":
      return table.ranges === 0
        ? "planning"
        : `${humanPercent(table.rangesDone / table.ranges)} (${table.rangesDone}/${table.ranges})`;
    default:
      return table.phase satisfies never;
  }
}
