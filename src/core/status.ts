import type { Lsn } from "./lsn.ts";

/** Where the daemon is. `blocked`: an operator must act. `stopped`: there is none, which only `pgstage status` can say. */
export type PipelineState =
  | "starting"
  | "standby"
  | "copying"
  | "streaming"
  | "draining"
  | "blocked"
  | "stopped";

/** How far behind the stage is. Times in seconds, sizes in bytes; null where it is not known (yet). */
export interface Lag {
  readonly state: PipelineState;
  /** Age of the oldest commit that is not published; 0 when all is. */
  readonly lagSeconds: number | null;
  readonly lagBytes: number | null;
  readonly stagedLsn: Lsn | null;
  readonly sourceLsn: Lsn | null;
  /** Rows and CSV bytes received and not published. */
  readonly openRows: number;
  readonly openBytes: number;
  readonly oldestOpenSeconds: number | null;
  readonly slotRetainedBytes: number | null;
  /** WAL that may still pile up before the slot is lost (max_slot_wal_keep_size); null if unlimited. */
  readonly walBudgetBytes: number | null;
  readonly walGrowthBytesPerHour: number | null;
  readonly walExhaustedInSeconds: number | null;
}

export interface TableStatus {
  readonly table: string;
  readonly phase: "pending" | "copying" | "copied";
  /** Ranges of the copy that are published, and all of them; 0/0 while there is no plan. */
  readonly rangesDone: number;
  readonly ranges: number;
  /** Rows and stored bytes that are published for it: by its copy, and by changes since the daemon started. */
  readonly rows: number;
  readonly bytes: number;
  /** True if updates and deletes are not captured because nothing identifies a row. */
  readonly insertOnly: boolean;
  readonly notes: readonly string[];
}

export interface TableCounts {
  readonly total: number;
  readonly pending: number;
  readonly copying: number;
  readonly copied: number;
  readonly insertOnly: number;
  /** Ranges of all plans, so that copy progress can be told without the tables. */
  readonly rangesDone: number;
  readonly ranges: number;
}

export interface BatchStatus {
  readonly sequence: number;
  readonly time: string;
  /** The largest of its files, a bounded number; `fileCount` counts them all. */
  readonly files: readonly { readonly key: string; readonly rows: number; readonly bytes: number }[];
  readonly fileCount: number;
  readonly rows: number;
  readonly bytes: number;
  readonly stagedLsn: string | null;
  readonly tookMs: number;
}

/** Something an operator should know or do. */
export interface Notice {
  /** Key of the catalogue in observe/notices.ts. */
  readonly id: string;
  readonly level: "info" | "warn" | "error";
  readonly message: string;
  /** The command or setting that mends it; empty if there is nothing to do. */
  readonly mend: string;
  readonly since: string;
  readonly count: number;
}

/** One answer for `/status`, `status` and the page. */
export interface Status {
  readonly version: string;
  readonly startedAt: string;
  readonly now: string;
  readonly state: PipelineState;
  /** The state in a sentence. */
  readonly summary: string;
  readonly stage: string;
  /** `host:port/database`, without user and password. */
  readonly source: string;
  readonly slot: string;
  readonly publication: string;
  /** Setting `flush.interval`: a lag up to here is routine. */
  readonly flushIntervalSeconds: number;
  readonly lag: Lag;
  readonly throughput: { readonly rowsPerSecond: number; readonly bytesPerSecond: number };
  readonly totals: {
    readonly rows: number;
    readonly bytes: number;
    readonly files: number;
    readonly batches: number;
  };
  readonly tables: readonly TableStatus[];
  /** All tables, also where `tables` was cut short. */
  readonly tableCounts: TableCounts;
  /** Tables in the captured schemas that are not captured (unlogged, foreign …), each with the reason. */
  readonly notCaptured: readonly { readonly table: string; readonly reason: string }[];
  /** Newest first, a bounded number. */
  readonly batches: readonly BatchStatus[];
  readonly notices: readonly Notice[];
  /** Samples for charts, oldest first, a bounded number: [epoch seconds, highest lag in seconds and in bytes since the sample before, rows/s]. */
  readonly history: readonly (readonly [number, number | null, number | null, number])[];
}
