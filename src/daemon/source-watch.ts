import { setTimeout as delay } from "node:timers/promises";
import type { Client } from "pg";
import { OperatorError, TransientError } from "../core/errors.ts";
import { parseLsn, type Lsn } from "../core/lsn.ts";
import type { SourceReading } from "../observe/observations.ts";
import { Probe } from "../postgres/probe.ts";
import { oldestTransaction, readSlot, type OldestTransaction, type SlotInfo } from "../postgres/slot.ts";
import type { LockParts } from "./slot-lock.ts";
import { refuseLostSlot } from "./start.ts";

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

export interface SourceWatch {
  readonly signal: AbortSignal;
  /** Whether the slot is ours, and so must be there. */
  readonly isHeld: () => boolean;
}

/**
 * Measures lag and WAL budget until the attempt is over, also while it waits for the stage or as a standby. Rejects
 * when the slot is lost: an operator must act.
 */
export async function watchSource(
  parts: Pick<LockParts, "observations" | "settings" | "serverVersion">,
  watch: SourceWatch,
): Promise<void> {
  const { settings, serverVersion } = parts;
  const { signal } = watch;
  // Of its own: a long look at the catalog on the other connection is no silence of the server.
  const probe = new Probe(settings.source, { serverVersion, limitMs: ANSWER_WITHIN_MS });
  const close = (): void => probe.close();
  signal.addEventListener("abort", close, { once: true });
  try {
    while (!signal.aborted) {
      await sampleOnce(parts, probe, watch);
      await delay(SAMPLE_EVERY_MS, undefined, { signal }).catch(() => {});
    }
  } finally {
    signal.removeEventListener("abort", close);
    probe.close();
  }
}

async function sampleOnce(
  { observations, settings, serverVersion }: Parameters<typeof watchSource>[0],
  probe: Probe,
  { signal, isHeld }: SourceWatch,
): Promise<void> {
  const name = settings.source.slot;
  const mustBeThere = isHeld();
  try {
    const sample = await probe.ask((client) => readSample(client, name, serverVersion));
    if (signal.aborted) return;
    const { slot, sourceLsn, clockMs, oldest } = sample;
    if (slot) refuseLostSlot(slot, name);
    else if (mustBeThere) throw droppedSlot(name);
    observations.sourceSampled({ sourceLsn, sourceClockMs: clockMs, ...slotReading(slot, oldest) });
  } catch (error) {
    if (signal.aborted) return;
    if (!(error instanceof TransientError)) throw error;
    observations.sourceDown(error.message);
  }
}

function slotReading(
  slot: SlotInfo | null,
  oldestTransaction: OldestTransaction | null,
): Pick<SourceReading, "slot"> {
  if (!slot?.restartLsn || !slot.confirmedFlushLsn) return {};
  const { restartLsn, confirmedFlushLsn, safeWalBytes } = slot;
  return { slot: { restartLsn, confirmedFlushLsn, safeWalBytes, oldestTransaction } };
}

function droppedSlot(name: string): OperatorError {
  return new OperatorError(
    `slot ${name} was dropped by somebody while we streamed`,
    "run `pgstage resync --all`: the next start makes a new slot and copies every table afresh",
  );
}

async function readSample(client: Client, slot: string, serverVersion: number): Promise<Sample> {
  // A standby has no such position; the name may lead to one while a failover lasts.
  const { rows } = await client.query<{ lsn: string | null; clock_ms: number }>(
    `SELECT CASE WHEN NOT pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_current_wal_flush_lsn() END::text AS lsn,
            extract(epoch FROM pg_catalog.clock_timestamp())::float8 * 1000 AS clock_ms`,
  );
  const row = rows[0];
  if (!row?.lsn) throw new TransientError("the server is a standby, and gives no position");
  return {
    sourceLsn: parseLsn(row.lsn),
    clockMs: row.clock_ms,
    slot: await readSlot(client, slot, serverVersion),
    oldest: await oldestTransaction(client),
  };
}
