import type { Lsn } from "../core/lsn.ts";
import type { Notice, PipelineState, Status } from "../core/status.ts";
import type { GaugeName } from "./metrics-table.ts";

interface Reading {
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** Where each gauge reads its values; none where they are not known. */
export const GAUGES: Record<GaugeName, (status: Status) => readonly Reading[]> = {
  pgstage_info: ({ version, slot }) => [{ labels: { version, slot }, value: 1 }],
  pgstage_state: ({ state }) =>
    STATES.map((one) => ({ labels: { state: one }, value: Number(one === state) })),
  pgstage_start_time_seconds: ({ startedAt }) => known(Date.parse(startedAt) / 1000),
  pgstage_lag_seconds: ({ lag }) => known(lag.lagSeconds),
  pgstage_lag_bytes: ({ lag }) => known(lag.lagBytes),
  pgstage_open_rows: ({ lag }) => known(lag.openRows),
  pgstage_open_bytes: ({ lag }) => known(lag.openBytes),
  pgstage_oldest_open_seconds: ({ lag }) => known(lag.oldestOpenSeconds ?? 0),
  pgstage_flush_interval_seconds: ({ flushIntervalSeconds }) => known(flushIntervalSeconds),
  pgstage_source_wal_position_bytes: ({ lag }) => known(position(lag.sourceLsn)),
  pgstage_staged_wal_position_bytes: ({ lag }) => known(position(lag.stagedLsn)),
  pgstage_slot_retained_bytes: ({ lag }) => known(lag.slotRetainedBytes),
  pgstage_wal_budget_bytes: ({ lag }) => known(lag.walBudgetBytes),
  pgstage_wal_growth_hourly_bytes: ({ lag }) => known(lag.walGrowthBytesPerHour),
  pgstage_wal_exhausted_in_seconds: ({ lag }) => known(lag.walExhaustedInSeconds),
  pgstage_source_up: (status) => known(Number(!hasNotice(status, "source-unreachable"))),
  pgstage_store_up: (status) => known(Number(!hasNotice(status, "store-failing"))),
  pgstage_tables: ({ tableCounts }) =>
    PHASES.map((phase) => ({ labels: { phase }, value: tableCounts[phase] })),
  pgstage_tables_insert_only: ({ tableCounts }) => known(tableCounts.insertOnly),
  pgstage_tables_not_captured: ({ notCaptured }) => known(notCaptured.length),
  pgstage_copy_ranges: ({ tableCounts }) => known(tableCounts.ranges),
  pgstage_copy_ranges_done: ({ tableCounts }) => known(tableCounts.rangesDone),
  pgstage_table_rows: (status) => perTable(status, "rows"),
  pgstage_table_bytes: (status) => perTable(status, "bytes"),
  pgstage_notices: ({ notices }) =>
    LEVELS.map((level) => ({
      labels: { level },
      value: notices.filter((notice) => notice.level === level).length,
    })),
};

const STATES = [
  "starting",
  "standby",
  "copying",
  "streaming",
  "draining",
  "blocked",
] as const satisfies readonly PipelineState[];
const PHASES = ["pending", "copying", "copied"] as const;
const LEVELS = ["info", "warn", "error"] as const satisfies readonly Notice["level"][];

function known(value: number | null): Reading[] {
  return value === null ? [] : [{ labels: {}, value }];
}

/** A double holds a position exactly up to 8 PiB of WAL, and to a part in 10^15 beyond. */
function position(lsn: Lsn | null): number | null {
  return lsn === null ? null : Number(lsn);
}

/** Prometheus keeps a time series per label value, so tables must not be without number. */
const LABELLED_TABLES = 100;

function perTable(status: Status, field: "rows" | "bytes"): Reading[] {
  const bySize = status.tables.toSorted((a, b) => b.bytes - a.bytes || (a.table < b.table ? -1 : 1));
  const readings = bySize
    .slice(0, LABELLED_TABLES)
    .map((table) => ({ labels: { table: table.table }, value: table[field] }));
  const rest = bySize.slice(LABELLED_TABLES);
  if (rest.length === 0) return readings;
  return [
    ...readings,
    { labels: { table: "other" }, value: rest.reduce((sum, table) => sum + table[field], 0) },
  ];
}

function hasNotice(status: Status, id: string): boolean {
  return status.notices.some((notice) => notice.id === id);
}
