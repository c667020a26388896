import { humanBytes, humanCount, humanSeconds } from "./units.ts";

/** The facts of a `lag` line that people look for; the others are in the JSON. */
export interface LagFields {
  readonly state?: string;
  readonly lag_seconds?: number | null;
  readonly lag_bytes?: number | null;
  readonly staged_lsn?: string | null;
  readonly open_rows?: number;
  readonly open_bytes?: number;
  readonly slot_retained_bytes?: number | null;
  readonly wal_exhausted_in_seconds?: number | null;
  /** While tables are being copied. */
  readonly ranges_done?: number;
  readonly ranges?: number;
  /** What is wrong now, by the ids of the notices. */
  readonly problems?: readonly string[];
}

const BAR_WIDTH = 20;

/** `streaming · 0.4 s, 12 KiB behind · staged to 00000000/0152C0A8 · 1,234 rows open (96 KiB)` */
export function lagLine(lag: LagFields): string {
  const { ranges = 0, ranges_done: done = 0, open_rows: rows = 0, open_bytes: bytes = 0 } = lag;
  const parts = [lag.state ?? "starting"];
  // First, because the line is cut at the terminal's width.
  if (lag.problems !== undefined) parts.push(lag.problems.map((id) => id.replaceAll("-", " ")).join(", "));
  if (ranges > 0) parts.push(`${progressBar(done, ranges)} ${done}/${ranges} ranges`);
  if (isKnown(lag.lag_seconds)) parts.push(behind(lag.lag_seconds, lag.lag_bytes));
  if (lag.staged_lsn) parts.push(`staged to ${lag.staged_lsn}`);
  if (rows > 0) parts.push(`${humanCount(rows)} rows open (${humanBytes(bytes)})`);
  if (isKnown(lag.slot_retained_bytes)) parts.push(`slot holds ${humanBytes(lag.slot_retained_bytes)}`);
  if (isKnown(lag.wal_exhausted_in_seconds))
    parts.push(`slot lost in ${humanSeconds(lag.wal_exhausted_in_seconds)}`);
  return parts.join(" · ");
}

function behind(seconds: number, bytes: number | null | undefined): string {
  if (seconds === 0) return "all staged";
  return `${humanSeconds(seconds)}${isKnown(bytes) && bytes > 0 ? `, ${humanBytes(bytes)}` : ""} behind`;
}

function isKnown(value: number | null | undefined): value is number {
  return value !== null && value !== undefined;
}

/** `█████░░░░░`; `done` may be beyond `total`. */
export function progressBar(done: number, total: number, width = BAR_WIDTH): string {
  const filled = total <= 0 ? width : Math.min(width, Math.max(0, Math.floor((done / total) * width)));
  return "█".repeat(filled) + "░".repeat(width - filled);
}
