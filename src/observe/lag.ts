import { laterLsn, NO_LSN, type Lsn } from "../core/lsn.ts";
import type { PipelineState } from "../core/status.ts";

/**
 * How far behind the stage is, and how much WAL may still pile up: pure, clocks and positions come from outside.
 *
 * Times are milliseconds since 1970 by the daemon's clock, positions and sizes of WAL bigint bytes.
 */

/** The source's WAL position at a moment. */
export interface SourceSample {
  readonly atMs: number;
  readonly lsn: Lsn;
}

/** What the stream knows about itself, read whenever it is needed. */
export interface StreamPosition {
  /** Everything that committed before it is published: the end of the newest published log document. */
  readonly stagedLsn: Lsn | null;
  /**
   * WAL end of the newest keepalive that came while nothing was open, in flight or inside a transaction. A
   * logical walsender's keepalive says how far it has decoded and sent, so no unpublished commit is before it.
   */
  readonly quietLsn: Lsn | null;
  /** The oldest transaction that is received and not published: commit LSN, and commit time by the source's clock. */
  readonly oldestOpen: { readonly lsn: Lsn; readonly commitMs: number } | null;
  /** Rows and CSV bytes received and not published. */
  readonly openRows: number;
  readonly openBytes: number;
  /** All rows and CSV bytes received since the daemon started. */
  readonly receivedRows: number;
  readonly receivedBytes: number;
}

export const NO_POSITION: StreamPosition = {
  stagedLsn: null,
  quietLsn: null,
  oldestOpen: null,
  openRows: 0,
  openBytes: 0,
  receivedRows: 0,
  receivedBytes: 0,
};

/** Where every commit of ours is known to be published, acknowledged or not; null before anything is known. */
export function clearLsn(position: StreamPosition): Lsn | null {
  const { stagedLsn, quietLsn, oldestOpen } = position;
  if (stagedLsn === null && quietLsn === null && oldestOpen === null) return null;
  return laterLsn(stagedLsn ?? NO_LSN, laterLsn(quietLsn ?? NO_LSN, oldestOpen?.lsn ?? NO_LSN));
}

/** Samples that are kept; beyond that every second one goes, so a gap of days costs precision and not memory. */
const MAX_SAMPLES = 1_000;

/**
 * Adds a sample and forgets those that are published, but for the newest. Samples come in order of time; a
 * position that went back (failover, point-in-time restore) forgets what was before.
 */
export function addSample(
  samples: readonly SourceSample[],
  sample: SourceSample,
  clear: Lsn | null,
): SourceSample[] {
  const before = samples.filter(({ lsn }) => lsn <= sample.lsn && (clear === null || lsn > clear));
  const last = before.at(-1);
  // The same position again says nothing new: the older sample carries the age.
  const all = last?.lsn === sample.lsn ? before : [...before, sample];
  return all.length <= MAX_SAMPLES
    ? all
    : all.filter((_, index) => index % 2 === 0 || index === all.length - 1);
}

export interface LagInputs {
  readonly nowMs: number;
  readonly state: PipelineState;
  readonly position: StreamPosition;
  readonly samples: readonly SourceSample[];
  /** The source's clock minus ours, so that commit times can be compared with ours. */
  readonly clockSkewMs: number;
  /** When the source last answered, if it does not answer now. */
  readonly silentSinceMs: number | null;
}

export interface LagNumbers {
  readonly lagSeconds: number | null;
  readonly lagBytes: number | null;
  readonly oldestOpenSeconds: number | null;
}

const UNKNOWN: LagNumbers = { lagSeconds: null, lagBytes: null, oldestOpenSeconds: null };

/**
 * The greatest of three ages, because each alone is 0 in a state in which the stage is behind:
 * the oldest received and unpublished commit (a slow store), the oldest position of the source that is not yet
 * clear (a server that is silent because it still decodes a huge transaction), and the time since a source that
 * is away was last heard of (it may have committed anything since).
 *
 * Null where nothing can be known: in standby, and before the first sample.
 */
export function computeLag(inputs: LagInputs): LagNumbers {
  const { nowMs, state, position, samples } = inputs;
  const newest = samples.at(-1);
  const clear = clearLsn(position);
  if (state === "standby" || newest === undefined || clear === null) return UNKNOWN;

  const { oldestOpen } = position;
  const openAgeMs = oldestOpen === null ? 0 : nowMs - (oldestOpen.commitMs - inputs.clockSkewMs);
  const beyond = samples.find(({ lsn }) => lsn > clear);
  const unseenAgeMs = beyond === undefined ? 0 : nowMs - beyond.atMs;
  const silentMs = inputs.silentSinceMs === null ? 0 : nowMs - inputs.silentSinceMs;
  return {
    lagSeconds: seconds(Math.max(openAgeMs, unseenAgeMs, silentMs)),
    lagBytes: newest.lsn > clear ? Number(newest.lsn - clear) : nothingKnown(inputs),
    oldestOpenSeconds: oldestOpen === null ? null : seconds(openAgeMs),
  };
}

/** Nothing that we know of is missing; a source that is silent may have written anything since. */
function nothingKnown({ silentSinceMs }: LagInputs): 0 | null {
  return silentSinceMs === null ? 0 : null;
}

/** Seconds with milliseconds; a commit time slightly in the future is clock noise. */
function seconds(ms: number): number {
  return Math.max(0, Math.round(ms) / 1000);
}
