import type { Notice, Status, TableCounts, TableStatus } from "../core/status.ts";
import type { NoticeId } from "./notices.ts";
import { countOf, humanBytes, humanCount, humanPercent, humanSeconds, roughSeconds } from "./units.ts";

/** What a sentence about a status needs to know of it. */
export type Summarized = Omit<Status, "summary">;

/**
 * The state in a sentence or two: what is going on, whether it hurts, and what to do. Only says what the status
 * knows, so it is true in every state.
 */
export function summarize(status: Summarized): string {
  switch (status.state) {
    case "blocked":
      return blocked(find(status, "blocked"));
    case "standby":
      return `In standby: another daemon holds the slot ${status.slot}, and this one takes over when that one ends. Nothing to do.`;
    case "starting":
      return `${trouble(status) ?? "Starting: reading the stage's log and looking at the slot."}${waiting(status)}`;
    case "draining":
      return `Draining: ${countOf(status.lag.openRows, "received row")} to publish, then the daemon ends.${troubleAfter(status)}`;
    case "copying":
    case "streaming":
      return working(status);
    case "stopped":
      return `No daemon runs: nobody reads the slot ${status.slot}.${troubleAfter(status)}`;
    default:
      return status.state satisfies never;
  }
}

function blocked(notice: Notice | undefined): string {
  if (notice === undefined) return "Blocked: an operator must act; the log says what is wrong.";
  return `Blocked, an operator must act: ${sentence(notice.message)} ${capitalize(notice.mend)}`.trim();
}

function working(status: Summarized): string {
  const copying = status.state === "copying" ? copyProgress(status.tableCounts) : "";
  const problem = trouble(status);
  // It says itself how much room there is.
  if (problem !== null) return `${problem}${copying === "" ? "" : ` ${copying}.`}`;
  const lag = lagWords(status);
  const words = copying === "" ? capitalize(lag) : `${copying}; changes are streamed meanwhile, ${lag}`;
  return `${words}.${walWarning(status)}${waiting(status)}`;
}

function copyProgress(counts: TableCounts): string {
  const share =
    counts.ranges === 0 ? "" : `, ${humanPercent(counts.rangesDone / counts.ranges)} of the planned ranges`;
  return `Copying: ${humanCount(counts.copied)} of ${countOf(counts.total, "table")} done${share}`;
}

/** Twice the interval is routine: one batch is being published while the next one fills. */
const ROUTINE_INTERVALS = 2;
const ROUTINE_SLACK_SECONDS = 5;
/** Less is not worth a number. */
const BLINK_SECONDS = 0.5;

export function isBehind(status: Pick<Status, "lag" | "flushIntervalSeconds">): boolean {
  const routine = status.flushIntervalSeconds * ROUTINE_INTERVALS + ROUTINE_SLACK_SECONDS;
  return status.lag.lagSeconds !== null && status.lag.lagSeconds > routine;
}

function lagWords(status: Summarized): string {
  const { lagSeconds, lagBytes, openRows } = status.lag;
  if (lagSeconds === null) return "how far behind is not known yet";
  if (lagSeconds === 0) {
    const { copied, total } = status.tableCounts;
    return copied === total
      ? "everything that was committed is on the stage"
      : "every change is on the stage";
  }
  const age = humanSeconds(lagSeconds);
  if (!isBehind(status)) {
    const open = openRows === 0 ? "" : `; ${countOf(openRows, "row")} will be published with the next batch`;
    return `up to date${lagSeconds < BLINK_SECONDS ? "" : ` but for the last ${age}`}${open}`;
  }
  const bytes = lagBytes === null ? "" : ` (${humanBytes(lagBytes)} of WAL)`;
  return `${age} behind${bytes}, ${trendWords(status)}`;
}

/** Long enough to see through a batch. */
const TREND_SECONDS = 60;
/** Changes of the gap smaller than this share of it are noise. */
const TREND_SHARE = 0.05;

function trendWords(status: Summarized): string {
  const bytes = status.lag.lagBytes;
  const nowSeconds = Date.parse(status.now) / 1000;
  const then = status.history.findLast(([at, , lag]) => at <= nowSeconds - TREND_SECONDS && lag !== null);
  const thenBytes = then?.[2];
  if (then === undefined || bytes === null || thenBytes === null || thenBytes === undefined) {
    return "too early to say whether it is catching up";
  }
  const perSecond = (thenBytes - bytes) / (nowSeconds - then[0]);
  if (thenBytes - bytes > thenBytes * TREND_SHARE) {
    return `catching up, in about ${roughSeconds(bytes / perSecond)} at this pace`;
  }
  if (bytes - thenBytes > thenBytes * TREND_SHARE) return "and falling further behind";
  return "and neither catching up nor falling further behind";
}

function trouble(status: Summarized): string | null {
  const source = find(status, "source-unreachable");
  if (source !== undefined) {
    return `${sentence(source.message)} That has been so for ${age(status, source)}. What it commits meanwhile waits there; pgstage keeps trying.`;
  }
  const store = find(status, "store-failing");
  if (store !== undefined) {
    return `${sentence(store.message)} That has been so for ${age(status, store)}. Nothing is lost: what is not published waits at the source as WAL${room(status)}.`;
  }
  return null;
}

function troubleAfter(status: Summarized): string {
  const problem = trouble(status);
  return problem === null ? "" : ` ${problem}`;
}

function room(status: Summarized): string {
  const { walBudgetBytes, walExhaustedInSeconds } = status.lag;
  if (walBudgetBytes === null) return "";
  if (walBudgetBytes === 0) return ", which has no room left: the slot may be lost at any moment";
  const time =
    walExhaustedInSeconds === null ? "" : `, about ${roughSeconds(walExhaustedInSeconds)} at this pace`;
  return `, which has room for ${humanBytes(walBudgetBytes)} more${time}`;
}

const WAL_NOTICES = ["wal-90", "wal-75", "wal-50", "wal-unlimited"] as const;

function walWarning(status: Summarized): string {
  const amount = WAL_NOTICES.map((id) => find(status, id)).find((found) => found !== undefined);
  const holder = find(status, "wal-held-by-transaction");
  return [amount, holder].map((notice) => (notice === undefined ? "" : ` ${notice.message}`)).join("");
}

function waiting(status: Summarized): string {
  return (["store-silent", "slot-creation-waits"] as const)
    .map((id) => find(status, id))
    .map((notice) => (notice === undefined ? "" : ` ${notice.message} ${notice.mend}`))
    .join("");
}

function find(status: Summarized, id: NoticeId): Notice | undefined {
  return status.notices.find((notice) => notice.id === id);
}

function age(status: Summarized, notice: Notice): string {
  return humanSeconds((Date.parse(status.now) - Date.parse(notice.since)) / 1000);
}

/** A message of somebody else may end with or without a full stop. */
function sentence(text: string): string {
  return /[.!?]$/.test(text) ? text : `${text}.`;
}

function capitalize(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

export function countTables(tables: Iterable<TableStatus>): TableCounts {
  const counts = { total: 0, pending: 0, copying: 0, copied: 0, insertOnly: 0, rangesDone: 0, ranges: 0 };
  for (const table of tables) {
    counts.total++;
    counts[table.phase]++;
    counts.rangesDone += table.rangesDone;
    counts.ranges += table.ranges;
    if (table.insertOnly) counts.insertOnly++;
  }
  return counts;
}

/** What is being copied first, then what waits, then what needs attention, then by size. */
export function interestingFirst(tables: readonly TableStatus[]): TableStatus[] {
  return tables.toSorted(
    (a, b) =>
      PHASE_RANK[a.phase] - PHASE_RANK[b.phase] ||
      attention(b) - attention(a) ||
      b.bytes - a.bytes ||
      compare(a, b),
  );
}

const PHASE_RANK = { copying: 0, pending: 1, copied: 2 } as const;

function attention(table: TableStatus): number {
  return Number(table.insertOnly) + Number(table.notes.length > 0);
}

function compare(a: TableStatus, b: TableStatus): number {
  return a.table < b.table ? -1 : 1;
}
