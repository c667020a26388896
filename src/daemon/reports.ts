import type { LogFile } from "../core/document.ts";
import { parseLsn } from "../core/lsn.ts";
import type { LargeRow, Shape } from "../core/shape.ts";
import type { TableStatus } from "../core/status.ts";
import { tableName, type CatalogTable, type TableRecord } from "../core/table.ts";
import { rangesOf } from "../copy/plan.ts";
import type { CopierEvents } from "../copy/run.ts";
import type { Published } from "../delivery/delivery.ts";
import type { State } from "../delivery/state.ts";
import { humanBytes } from "../observe/units.ts";
import { describeChange, type Difference } from "./discovery.ts";
import type { DaemonParts } from "./parts.ts";

/** What happened, told to log, metrics and page. No decision is made here. */

export function onPublished(
  { log, observations, metrics }: DaemonParts,
  { document, tookMs }: Published,
): void {
  const { files, sequence, endLsn } = document;
  const batch = {
    sequence,
    files,
    stagedLsn: endLsn === null ? null : parseLsn(endLsn),
    tookMs: Math.round(tookMs),
    committedMs: millis(document.committedAt),
  };
  if (files.length === 0) {
    log.debug({ sequence, kind: document.kind, staged_lsn: endLsn }, "recorded");
    return;
  }
  observations.batchPublished(batch);
  metrics.batchPublished({ ...batch, oldestCommitMs: millis(document.firstCommittedAt) });
  const rows = files.reduce((sum, file) => sum + file.rows, 0);
  const bytes = files.reduce((sum, file) => sum + file.bytes, 0);
  log.info(
    { sequence, files: files.length, rows, bytes, staged_lsn: endLsn, took_ms: batch.tookMs },
    "staged",
  );
}

/** `2026-11-22 07:03:12.123456+00` in ms since 1970. */
function millis(timestamp: string | null | undefined): number | null {
  return timestamp ? Date.parse(timestamp.replace(" ", "T").replace("+00", "Z")) : null;
}

export function onLargeRow({ observations }: Pick<DaemonParts, "observations">, row: LargeRow): void {
  const { shape, key, bytes, longest } = row;
  const table = `${shape.schema}.${shape.table}`;
  const named = shape.key.map((name, i) => `${name} = ${key[i] ?? "?"}`).join(", ");
  const subject = named === "" ? table : `${table} (${named.slice(0, 200)})`;
  observations.raise("row-large", { table: subject, size: humanBytes(bytes) }, table);
  if (longest.bytes <= SNOWFLAKE_DEFAULT_BYTES) return;
  const value = { table: subject, column: longest.column, size: humanBytes(longest.bytes) };
  observations.raise("value-too-large", value, `${table}.${longest.column}`);
}

/** What a VARCHAR of Snowflake without a length takes (https://docs.snowflake.com/en/sql-reference/data-types-text). */
const SNOWFLAKE_DEFAULT_BYTES = 16 * 1024 * 1024;

export function onLost({ log, observations }: DaemonParts, files: readonly LogFile[]): void {
  for (const table of new Set(files.map((file) => file.table))) {
    const keys = files.filter((file) => file.table === table).map((file) => file.key);
    log.error(
      { table, files: keys },
      "staged files are gone before they could be published: the table is copied afresh",
    );
    observations.raise(
      "copied-afresh",
      { table, reason: "a staged file was gone before it could be published" },
      table,
    );
  }
}

export function copierEvents(
  { log, observations, metrics }: DaemonParts,
  state: () => State,
): Omit<CopierEvents, "refused" | "busy" | "largeRow"> {
  /** What the log's state says now: the one count of ranges and rows. */
  const tell = (oid: number, table: string): void => {
    const record = state().tables[oid];
    if (record) observations.tableChanged(table, statusOf(record));
  };
  return {
    planned: (table, ranges, resumed) => {
      log.info({ table, ranges, resumed }, "copying");
      observations.tableChanged(table, { phase: "copying", ranges });
    },
    copied: ({ oid, table, number, ranges, rows, bytes, tookMs }) => {
      log.info({ table, range: number, ranges, rows, bytes, took_ms: Math.round(tookMs) }, "copied");
      observations.rangeCopied({ table, rows, bytes });
      observations.clear("lock-waits", table);
      observations.clear("copy-refused", table);
      tell(oid, table);
      metrics.rangeCopied({ rows, csvBytes: bytes, tookMs });
    },
    tableCopied: ({ oid, table, rows, bytes }) => {
      log.info({ table, rows, bytes }, "table copied");
      tell(oid, table);
    },
  };
}

/** The stream shows a known table in another shape. */
export function onShape({ observations }: DaemonParts, before: CatalogTable, shape: Shape): void {
  const table = `${shape.schema}.${shape.table}`;
  const change = describeChange(before.columns, shape.columns);
  if (change !== "") observations.raise("shape-changed", { table, change }, table);
}

export function reportDifference({ log, observations }: DaemonParts, { copies, gone }: Difference): void {
  for (const { table, reason, again } of copies) {
    const name = tableName(table);
    if (again) observations.raise("copied-afresh", { table: name, reason }, name);
    else log.info({ table: name, reason }, "table found");
  }
  for (const record of gone) log.warn({ table: tableName(record.catalog) }, "table is not captured any more");
}

export function reportTables(
  { observations }: DaemonParts,
  state: State,
  notCaptured: Parameters<DaemonParts["observations"]["tablesChanged"]>[1],
): void {
  observations.tablesChanged(Object.values(state.tables).map(statusOf), notCaptured);
}

export function statusOf(record: TableRecord): TableStatus {
  const { catalog, copy } = record;
  const about = { table: tableName(catalog), insertOnly: catalog.insertOnly, notes: [] };
  switch (copy.phase) {
    case "pending":
      return { ...about, phase: "pending", rangesDone: 0, ranges: 0, rows: 0, bytes: 0 };
    case "copying":
      return {
        ...about,
        phase: "copying",
        rangesDone: copy.done.length,
        ranges: rangesOf(copy.storages).length,
        rows: copy.rows,
        bytes: copy.bytes,
      };
    case "copied":
      return { ...about, phase: "copied", rangesDone: 0, ranges: 0, rows: copy.rows, bytes: copy.bytes };
    default:
      return copy satisfies never;
  }
}
