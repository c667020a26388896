import { setTimeout as delay } from "node:timers/promises";
import type { Client } from "pg";
import { OperatorError, TransientError } from "../core/errors.ts";
import { parseLsn, type Lsn } from "../core/lsn.ts";
import { readSlot, type SlotInfo } from "../postgres/slot.ts";
import type { Pump } from "../stream/pump.ts";
import type { LockParts } from "./slot-lock.ts";

/** How often the source is asked where its WAL ends; the lag line may come more rarely. */
const SAMPLE_EVERY_MS = 2_000;

interface Sample {
  readonly sourceLsn: Lsn;
  readonly clockMs: number;
  readonly slot: SlotInfo | null;
  readonly oldest: { readonly pid: number; readonly ageSeconds: number } | null;
}

/** Measures lag and WAL budget until the attempt is over. Rejects when the slot is lost: an operator must act. */
export async function watchSource(parts: LockParts, own: { pump: Pump; signal: AbortSignal }): Promise<void> {
  const { observations, settings, sql, serverVersion } = parts;
  const { signal } = own;
  while (!signal.aborted) {
    try {
      const sample = await sql.use((client) => readSample(client, settings.source.slot, serverVersion));
      refuseLostSlot(sample.slot, settings.source.slot);
      const { slot, sourceLsn, clockMs, oldest } = sample;
      const wal =
        slot?.restartLsn && slot.confirmedFlushLsn
          ? {
              slot: {
                restartLsn: slot.restartLsn,
                confirmedFlushLsn: slot.confirmedFlushLsn,
                safeWalBytes: slot.safeWalBytes,
                oldestTransaction: oldest,
              },
            }
          : {};
      observations.sourceSampled({ sourceLsn, sourceClockMs: clockMs, ...wal });
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof TransientError)) throw error;
      observations.sourceDown(error.message);
    }
    await delay(SAMPLE_EVERY_MS, undefined, { signal }).catch(() => {});
  }
}

function refuseLostSlot(slot: SlotInfo | null, name: string): void {
  if (slot && slot.walStatus !== "lost" && slot.invalidation === null) return;
  throw new OperatorError(
    slot
      ? `slot ${name} was invalidated by the server while we streamed (${slot.invalidation ?? "its WAL was removed"})`
      : `slot ${name} was dropped by somebody while we streamed`,
    "run `pgstage resync --all`: the next start makes a new slot and copies every table afresh. To prevent it, raise max_slot_wal_keep_size",
  );
}

async function readSample(client: Client, slot: string, serverVersion: number): Promise<Sample> {
  const { rows } = await client.query<{
    lsn: string;
    clock_ms: number;
    pid: number | null;
    age: number | null;
  }>(
    `SELECT pg_catalog.pg_current_wal_flush_lsn()::text AS lsn,
            extract(epoch FROM pg_catalog.clock_timestamp())::float8 * 1000 AS clock_ms, o.pid, o.age
       FROM (SELECT 1) one
       LEFT JOIN LATERAL (
         SELECT pid, extract(epoch FROM pg_catalog.now() - xact_start)::float8 AS age
           FROM pg_catalog.pg_stat_activity
          WHERE backend_xid IS NOT NULL AND pid <> pg_catalog.pg_backend_pid()
          ORDER BY xact_start LIMIT 1
       ) o ON true`,
  );
  const row = rows[0];
  if (!row) throw new TransientError("the source gave no position");
  return {
    sourceLsn: parseLsn(row.lsn),
    clockMs: row.clock_ms,
    slot: await readSlot(client, slot, serverVersion),
    oldest: row.pid === null ? null : { pid: row.pid, ageSeconds: row.age ?? 0 },
  };
}
