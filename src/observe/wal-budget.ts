import type { Lsn } from "../core/lsn.ts";

/**
 * What the slot costs the source: WAL it retains, how much more it may, how fast it grows, and who holds it. Pure.
 */

/** One reading of pg_replication_slots and of the source's position. */
export interface SlotSample {
  readonly atMs: number;
  readonly sourceLsn: Lsn;
  readonly restartLsn: Lsn;
  readonly confirmedFlushLsn: Lsn;
  /** safe_wal_size: WAL that may still be written before the slot is lost; null without max_slot_wal_keep_size. */
  readonly safeWalBytes: number | null;
  /** The oldest transaction that runs on the source, if there is one that is not ours. */
  readonly oldestTransaction: { readonly who: string; readonly ageSeconds: number } | null;
}

export interface WalBudget {
  readonly retainedBytes: number;
  /** Null if unlimited. */
  readonly budgetBytes: number | null;
  /** Share of retained and budget that is used up, 0 to 1; null if unlimited. */
  readonly used: number | null;
  /** Net growth of what is retained; negative while it shrinks; null until there is enough to tell. */
  readonly growthBytesPerHour: number | null;
  /** Null if it does not grow or takes more than a week at this growth, is unlimited, or cannot be told yet. */
  readonly exhaustedInSeconds: number | null;
}

/** Growth is that of the last minutes: long enough to see through a batch, short enough to notice a stop. */
const WINDOW_MS = 10 * 60_000;
/** Growth that fills the budget later than this is noise. */
const HORIZON_MS = 7 * 86_400_000;
const MIN_SPAN_MS = 60_000;

export function addSlotSample(samples: readonly SlotSample[], sample: SlotSample): SlotSample[] {
  const kept = samples.filter(({ atMs }) => atMs > sample.atMs - WINDOW_MS && atMs < sample.atMs);
  return [...kept, sample];
}

export function walBudget(samples: readonly SlotSample[]): WalBudget | null {
  const last = samples.at(-1);
  if (last === undefined) return null;
  const retainedBytes = retained(last);
  const budgetBytes = last.safeWalBytes === null ? null : Math.max(0, last.safeWalBytes);
  const growth = growthPerMs(samples);
  const leftMs = growth === null || growth <= 0 || budgetBytes === null ? Infinity : budgetBytes / growth;
  return {
    retainedBytes,
    budgetBytes,
    used: budgetBytes === null ? null : usedShare(retainedBytes, budgetBytes),
    growthBytesPerHour: growth === null ? null : Math.round(growth * 3_600_000),
    exhaustedInSeconds: leftMs > HORIZON_MS ? null : Math.round(leftMs / 1000),
  };
}

function usedShare(retainedBytes: number, budgetBytes: number): number {
  return budgetBytes === 0 ? 1 : retainedBytes / (retainedBytes + budgetBytes);
}

function retained(sample: SlotSample): number {
  return sample.sourceLsn > sample.restartLsn ? Number(sample.sourceLsn - sample.restartLsn) : 0;
}

/**
 * Slope from the least of the window's first half to the least of its second half. What a slot retains rises and
 * falls like a saw, because restart_lsn moves in steps: its feet tell whether it grows, a line through all of it
 * would take every tooth for growth.
 */
function growthPerMs(samples: readonly SlotSample[]): number | null {
  const first = samples[0];
  const last = samples.at(-1);
  if (first === undefined || last === undefined || last.atMs - first.atMs < MIN_SPAN_MS) return null;
  const middleMs = (first.atMs + last.atMs) / 2;
  const before = foot(samples.filter(({ atMs }) => atMs < middleMs));
  const after = foot(samples.filter(({ atMs }) => atMs >= middleMs));
  if (before === null || after === null) return null;
  return (retained(after) - retained(before)) / (after.atMs - before.atMs);
}

function foot(samples: readonly SlotSample[]): SlotSample | null {
  return samples.reduce<SlotSample | null>(
    (least, one) => (least && retained(least) <= retained(one) ? least : one),
    null,
  );
}

export const WAL_THRESHOLDS = [90, 75, 50] as const;
export type WalLevel = 0 | (typeof WAL_THRESHOLDS)[number];

/** A level is left only this many points below its threshold, so that a slot on the edge does not flap. */
const HYSTERESIS_POINTS = 5;

/** The threshold that counts now, given the one that counted before. */
export function walLevel(previous: WalLevel, used: number | null): WalLevel {
  if (used === null) return 0;
  const percent = used * 100;
  return (
    WAL_THRESHOLDS.find(
      (threshold) => percent >= threshold - (threshold <= previous ? HYSTERESIS_POINTS : 0),
    ) ?? 0
  );
}

/** Below this, and below this share of what is allowed, who holds the WAL does not matter. */
const HELD_FLOOR_BYTES = 256 * 1024 * 1024;
const HELD_SHARE = 0.25;
/** restart_lsn follows what is acknowledged in steps of up to a quarter of a minute: until then nobody holds it. */
const HELD_LONG_SECONDS = 30;
/** Share of the retained WAL that we have not acknowledged, up to which we are current. */
const CURRENT_SHARE = 0.25;

/**
 * True if the WAL is retained for a long transaction of the application: restart_lsn cannot pass the start of the
 * oldest running transaction, while confirmed_flush_lsn shows that we took nearly everything.
 */
export function heldByTransaction(sample: SlotSample): boolean {
  const { oldestTransaction, safeWalBytes } = sample;
  if (oldestTransaction === null || oldestTransaction.ageSeconds < HELD_LONG_SECONDS) return false;
  const retainedBytes = retained(sample);
  const allowedBytes = safeWalBytes === null ? Infinity : retainedBytes + Math.max(0, safeWalBytes);
  const unconfirmed = Number(sample.sourceLsn - sample.confirmedFlushLsn);
  return (
    retainedBytes >= Math.min(HELD_FLOOR_BYTES, allowedBytes * HELD_SHARE) &&
    unconfirmed <= retainedBytes * CURRENT_SHARE
  );
}
