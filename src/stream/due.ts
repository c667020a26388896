/** When a batch closes. Pure. Times in milliseconds of one monotonic clock, sizes in bytes. */
export interface DueLimits {
  readonly flushAfterMs: number;
  readonly maxBatchBytes: number;
  /** Memory that the open batch may hold before it should go. */
  readonly maxHeldBytes: number;
}

export interface OpenBatch {
  /** When its first change arrived; null while it is empty. */
  readonly openedAtMs: number | null;
  readonly csvBytes: number;
  readonly heldBytes: number;
  /** How long deliveries have taken lately. */
  readonly deliveryMs: number;
  /** Somebody waits: shutdown, or a server that wants to stop. */
  readonly urgent: boolean;
}

/** Whether the batch should close at the next chance, which is a moment between two transactions. */
export function isDue(batch: OpenBatch, nowMs: number, limits: DueLimits): boolean {
  if (batch.openedAtMs === null) return false;
  if (batch.urgent) return true;
  if (batch.csvBytes >= limits.maxBatchBytes || batch.heldBytes >= limits.maxHeldBytes) return true;
  return nowMs - batch.openedAtMs >= closeAfterMs(batch.deliveryMs, limits.flushAfterMs);
}

/**
 * The interval is a promise about publishing, so the time that delivery takes comes off it, up to half: a store
 * slower than that cannot be helped by ever smaller batches.
 */
function closeAfterMs(deliveryMs: number, flushAfterMs: number): number {
  return Math.max(flushAfterMs / 2, flushAfterMs - 1.5 * deliveryMs - TICK_MS);
}

/** How often the pump looks at the clock while a batch is open, and while none is. */
export const TICK_MS = 50;
export const IDLE_TICK_MS = 500;

/** When a position without changes is written to the log, so that it may be acknowledged. */
export interface IdlePosition {
  readonly recordedLsn: bigint;
  readonly reachedLsn: bigint;
  readonly recordedAtMs: number;
  /** The server waits for us, as it does before it shuts down. */
  readonly urgent: boolean;
}

const IDLE_WAL_BYTES = 16n * 1024n * 1024n;
const IDLE_SOON_MS = 10_000;
const IDLE_LATE_MS = 120_000;
/** Even without any WAL, so that a bucket rule that expires old objects never finds the log's end among them. */
const IDLE_ALWAYS_MS = 3_600_000;
const URGENT_PAUSE_MS = 1_000;

export function shouldRecordIdle(position: IdlePosition, nowMs: number): boolean {
  const ageMs = nowMs - position.recordedAtMs;
  if (ageMs >= IDLE_ALWAYS_MS) return true;
  const advanced = position.reachedLsn - position.recordedLsn;
  if (advanced <= 0n) return false;
  if (position.urgent && ageMs >= URGENT_PAUSE_MS) return true;
  if (advanced >= IDLE_WAL_BYTES && ageMs >= IDLE_SOON_MS) return true;
  return ageMs >= IDLE_LATE_MS;
}
