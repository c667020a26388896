import type { Lsn } from "../core/lsn.ts";
import type { CatalogTable, PlannedStorage } from "../core/table.ts";

/** What a copy needs of the source: one consistent point, and workers that read ranges as of it. */
export interface Session {
  readonly consistentPoint: Lsn;
  /** When it was, in microseconds since 1970. */
  readonly pointMicros: bigint;
  /** The captured tables as of that point. */
  readonly tables: readonly CatalogTable[];
  readonly workers: number;
  /** Sizes by OID; those of tables that somebody has locked are missing. */
  sizes(
    oids: readonly number[],
  ): Promise<ReadonlyMap<number, { readonly pages: number; readonly bytes: number }>>;
  /** Reads pages `from` to `to` as CSV rows, views that die when `onRow` returns; resolves with their number. */
  copy(
    worker: number,
    range: { readonly storage: PlannedStorage; readonly from: number; readonly to: number | null },
    columns: readonly string[],
    onRow: (row: Buffer) => Promise<void> | null,
  ): Promise<number>;
  close(): Promise<void>;
}

/** What a failed range means. */
export type RangeFailure =
  /** Somebody holds a lock: later, in the same session. */
  | "busy"
  /** The table is not what the session's snapshot saw: in another session. */
  | "changed"
  /** The server refuses this table (no right, row security): not before something changes. */
  | "refused"
  /** The connection or the store: the session is over. */
  | "lost";
