/**
 * Every metric of our own, as the README's table has them. Besides these, `/metrics` has prom-client's default
 * `process_…` and `nodejs_…` metrics.
 */
export interface MetricInfo {
  readonly name: `pgstage_${string}`;
  readonly type: "gauge" | "counter" | "histogram";
  /** `seconds`, `bytes`, or what is counted. */
  readonly unit: string;
  readonly help: string;
  readonly labels: readonly string[];
}

export const METRICS = [
  gauge("pgstage_info", "1", "Always 1; says which version and which slot this is.", ["version", "slot"]),
  gauge("pgstage_state", "1", "1 for the state the daemon is in, 0 for the others.", ["state"]),
  gauge("pgstage_start_time_seconds", "seconds", "When the daemon started, since 1970."),
  gauge(
    "pgstage_lag_seconds",
    "seconds",
    "Age of the oldest commit that is not published; absent where it is not known.",
  ),
  gauge("pgstage_lag_bytes", "bytes", "WAL between the source's position and what is published."),
  gauge("pgstage_open_rows", "rows", "Rows received and not published."),
  gauge("pgstage_open_bytes", "bytes", "CSV bytes received and not published."),
  gauge(
    "pgstage_oldest_open_seconds",
    "seconds",
    "Age of the oldest transaction that is received and not published.",
  ),
  gauge("pgstage_flush_interval_seconds", "seconds", "Setting flush.interval; a lag up to here is routine."),
  gauge(
    "pgstage_source_wal_position_bytes",
    "bytes",
    "The source's WAL position; its rate is the WAL written.",
  ),
  gauge("pgstage_staged_wal_position_bytes", "bytes", "WAL position up to which everything is published."),
  gauge("pgstage_slot_retained_bytes", "bytes", "WAL that the source keeps for the slot."),
  gauge(
    "pgstage_wal_budget_bytes",
    "bytes",
    "WAL that may still pile up before the slot is lost; absent without max_slot_wal_keep_size.",
  ),
  gauge(
    "pgstage_wal_growth_hourly_bytes",
    "bytes",
    "Growth per hour of the WAL that the slot keeps, over the last ten minutes.",
  ),
  gauge(
    "pgstage_wal_exhausted_in_seconds",
    "seconds",
    "Time until the slot is lost at this growth; absent while it does not grow.",
  ),
  gauge("pgstage_source_up", "1", "0 while the database does not answer."),
  gauge("pgstage_store_up", "1", "0 while the stage cannot be used."),
  gauge("pgstage_tables", "tables", "Captured tables by phase of their copy.", ["phase"]),
  gauge(
    "pgstage_tables_insert_only",
    "tables",
    "Tables whose updates and deletes are not captured, because nothing identifies a row.",
  ),
  gauge("pgstage_tables_not_captured", "tables", "Tables of the captured schemas that are not captured."),
  gauge("pgstage_copy_ranges", "ranges", "Ranges of all copies that were planned."),
  gauge("pgstage_copy_ranges_done", "ranges", "Ranges of all copies that are done."),
  gauge(
    "pgstage_table_rows",
    "rows",
    "Rows published per table, of the 100 tables with most bytes; the rest is `other`.",
    ["table"],
  ),
  gauge(
    "pgstage_table_bytes",
    "bytes",
    "Stored bytes published per table, of the 100 tables with most; the rest is `other`.",
    ["table"],
  ),
  gauge("pgstage_notices", "notices", "Notices that stand, by level.", ["level"]),
  counter("pgstage_published_rows_total", "rows", "Rows published, by kind: copy or change.", ["kind"]),
  counter("pgstage_published_bytes_total", "bytes", "Stored bytes published, by kind: copy or change.", [
    "kind",
  ]),
  counter("pgstage_published_files_total", "files", "Files published, by kind: copy or change.", ["kind"]),
  counter("pgstage_published_batches_total", "batches", "Batches published."),
  counter("pgstage_copied_rows_total", "rows", "Rows read by copies."),
  counter("pgstage_copied_csv_bytes_total", "bytes", "CSV bytes read by copies, before compression."),
  counter(
    "pgstage_store_failures_total",
    "requests",
    "Requests to the stage that failed, by operation and kind: transient, operator, other.",
    ["operation", "kind"],
  ),
  counter(
    "pgstage_source_reconnects_total",
    "connections",
    "Times the replication connection was made again.",
  ),
  histogram(
    "pgstage_delivery_duration_seconds",
    "Time to publish a batch, from its close to its acknowledgement.",
  ),
  histogram(
    "pgstage_publish_delay_seconds",
    "Time from the commit of a batch's first transaction to its publication.",
  ),
  histogram("pgstage_range_copy_duration_seconds", "Time to copy a range."),
  histogram(
    "pgstage_store_request_duration_seconds",
    "Time of a request to the stage, by operation; its count is the number of requests.",
    ["operation"],
  ),
] satisfies readonly MetricInfo[];

export type MetricName = (typeof METRICS)[number]["name"];
export type GaugeName = Extract<(typeof METRICS)[number], { readonly type: "gauge" }>["name"];

type Named<Name extends MetricInfo["name"], Type extends MetricInfo["type"]> = MetricInfo & {
  readonly name: Name;
  readonly type: Type;
};

function gauge<const Name extends MetricInfo["name"]>(
  name: Name,
  unit: string,
  help: string,
  labels: readonly string[] = [],
): Named<Name, "gauge"> {
  return { name, type: "gauge", unit, help, labels };
}

function counter<const Name extends MetricInfo["name"]>(
  name: Name,
  unit: string,
  help: string,
  labels: readonly string[] = [],
): Named<Name, "counter"> {
  return { name, type: "counter", unit, help, labels };
}

function histogram<const Name extends MetricInfo["name"]>(
  name: Name,
  help: string,
  labels: readonly string[] = [],
): Named<Name, "histogram"> {
  return { name, type: "histogram", unit: "seconds", help, labels };
}
