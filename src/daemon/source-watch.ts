import { setTimeout as delay } from "node:timers/promises";
import type { Client } from "pg";
import { OperatorError, TransientError } from "../core/errors.ts";
import { parseLsn, type Lsn } from "../core/lsn.ts";
import { Probe } from "../postgres/probe.ts";
import { oldestTransaction, readSlot, type OldestTransaction, type SlotInfo } from "../postgres/slot.ts";
import type { LockParts } from "./slot-lock.ts";

/** How often the source is asked where its WAL ends; the lag line may come more rarely. */
const SAMPLE_EVERY_MS = 2_000;
/** A server that does not answer for so long is as good as away. */
const ANSWER_WITHIN_MS = 5_000;

interface Sample {
  readonly sourceLsn: Lsn;
  readonly clockMs: number;
  readonly slot: SlotInfo | null;
  readonly oldest: OldestTransaction | null;
}

/** Measures lag and WAL budget until the attempt is over. Rejects when the slot is lost: an operator must act. */
export async function watchSource(parts: LockParts, signal: AbortSignal): Promise<void> {
  const { settings, serverVersion } = parts;
  // Of its own: a long look at the catalog on the other connection is no silence of the server.
  const probe = new Probe(settings.source, { serverVersion, limitMs: ANSWER_WITHIN_MS });
  const close = (): void => probe.close();
  signal.addEventListener("abort", close, { once: true });
  try {
    await watch(parts, probe, signal);
  } finally {
    signal.removeEventListener("abort", close);
    probe.close();
  }
}

async function watch(parts: LockParts, probe: Probe, signal: AbortSignal): Promise<void> {
  const { observations, settings, serverVersion } = parts;
  while (!signal.aborted) {
    try {
      const sample = await probe.ask((client) => readSample(client, settings.source.slot, serverVersion));
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
  const { rows } = await client.query<{ lsn: string; clock_ms: number }>(
    `SELECT pg_catalog.pg_current_wal_flush_lsn()::text AS lsn,
            extract(epoch FROM pg_catalog.clock_timestamp())::float8 * 1000 AS clock_ms`,
  );
  const row = rows[0];
  if (!row) throw new TransientError("the source gave no position");
  return {
    sourceLsn: parseLsn(row.lsn),
    clockMs: row.clock_ms,
    slot: await readSlot(client, slot, serverVersion),
    oldest: await oldestTransaction(client),
  };
}
