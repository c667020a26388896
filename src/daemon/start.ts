import type { LogDocument, PipelineIdentity } from "../core/document.ts";
import { OperatorError } from "../core/errors.ts";
import { formatLsn, laterLsn, parseLsn, type Lsn } from "../core/lsn.ts";
import type { State } from "../delivery/state.ts";
import type { SlotInfo } from "../postgres/slot.ts";

/** What a start does about the slot. */
export type StartPlan =
  /** Nothing is there yet, or the log was born and the slot was not: make the slot. */
  | { readonly slot: "create" }
  /** The log was born and the slot made, but its first position was not recorded: it is ours, and this is it. */
  | { readonly slot: "adopt"; readonly from: Lsn; readonly confirmed: Lsn }
  | { readonly slot: "continue"; readonly from: Lsn; readonly confirmed: Lsn }
  /** Another connection uses it: wait. */
  | { readonly slot: "wait"; readonly pid: number | null };

export interface Found {
  readonly state: State | null;
  readonly slot: SlotInfo | null;
  readonly identity: PipelineIdentity;
  /** Where the source's timeline branched off the one that the log knows; null if it is the same. */
  readonly branchedAt: Lsn | null;
  /** How far the source's WAL is flushed. */
  readonly flushedLsn?: Lsn;
  /** The newest document's kind: a birth is written right before a slot is made. */
  readonly lastKind?: LogDocument["kind"] | undefined;
}

/** Compares slot and log. Pure. Throws an OperatorError where only a person can know what is right. */
export function planStart(found: Found): StartPlan {
  const { state, slot, identity } = found;
  if (slot?.active) return { slot: "wait", pid: slot.activePid };
  if (state) refuseOtherSource(state, found);
  if (slot) refuseForeignSlot(slot, identity);
  if (!state) {
    if (!slot) return { slot: "create" };
    throw new OperatorError(
      `slot ${identity.slot} exists, and the stage has no log: the stage is not mounted or was emptied, or the slot belongs to another pipeline`,
      "mount or restore the stage, or choose another source.slot or the right stage.url; or, if nobody needs the slot, run `pgstage teardown --yes` and start again",
    );
  }
  if (!slot) {
    if (state.endLsn === null) return { slot: "create" };
    throw new OperatorError(
      `slot ${identity.slot} is gone, and the log ends at ${state.endLsn}: changes since then may be lost to the stream`,
      "run `pgstage resync --all`: the next start makes a new slot and copies every table afresh",
    );
  }
  refuseLostSlot(slot, identity.slot);
  const confirmed = slot.confirmedFlushLsn;
  if (confirmed === null) throw lostSlot(slot, identity.slot);
  if (state.endLsn === null) {
    if ((found.lastKind ?? "birth") === "birth") return { slot: "adopt", from: confirmed, confirmed };
    throw new OperatorError(
      `slot ${identity.slot} exists, and the stage holds snapshots only: it belongs to another pipeline`,
      "choose another source.slot or the right stage.url; or, if nobody needs the slot, run `pgstage teardown --yes` and start again",
    );
  }
  const from = parseLsn(state.endLsn);
  if (confirmed > from) {
    throw new OperatorError(
      `slot ${identity.slot} was moved on to ${formatLsn(confirmed)} by somebody else; the log ends at ${state.endLsn}, and what is between is lost to the stream`,
      "run `pgstage resync --all`: the next start makes a new slot and copies every table afresh",
    );
  }
  return { slot: "continue", from, confirmed };
}

/** Throws an OperatorError if the server has given the slot up. */
export function refuseLostSlot(slot: SlotInfo, name: string): void {
  if (slot.walStatus === "lost" || slot.invalidation !== null) throw lostSlot(slot, name);
}

function lostSlot(slot: SlotInfo, name: string): OperatorError {
  const why = slot.invalidation ?? (slot.walStatus === "lost" ? "wal_removed" : "no confirmed position");
  return new OperatorError(
    `slot ${name} was invalidated by the server (${why}): the WAL that it needs is gone`,
    "run `pgstage resync --all`: the next start makes a new slot and copies every table afresh. To prevent it, raise max_slot_wal_keep_size",
  );
}

/** Throws an OperatorError if the slot cannot be a pipeline's of this database. */
export function refuseForeignSlot(slot: SlotInfo, identity: PipelineIdentity): void {
  if (slot.slotType === "logical" && slot.plugin === "pgoutput" && slot.database === identity.database)
    return;
  const what =
    slot.slotType === "logical" ? `a ${slot.plugin} slot of database ${slot.database}` : "a physical slot";
  throw new OperatorError(`${identity.slot} is ${what}, not ours`, "choose another source.slot");
}

/** Throws an OperatorError if the log is not that of this database, or this database went back in time. */
export function refuseOtherSource(
  state: State,
  { identity, branchedAt, flushedLsn }: Omit<Found, "state" | "slot">,
): void {
  const { pipeline } = state;
  const differs = (name: keyof PipelineIdentity): boolean => pipeline[name] !== identity[name];
  if (differs("systemIdentifier") || differs("database")) {
    throw new OperatorError(
      `the stage belongs to database ${pipeline.database} of system ${pipeline.systemIdentifier}, and this is ${identity.database} of system ${identity.systemIdentifier}`,
      "use another stage.url for this database, or point source.url at the one that the stage belongs to; if this one has replaced it for good (an upgrade, a switchover), run `pgstage resync --all --new-source`",
    );
  }
  if (differs("slot")) {
    throw new OperatorError(
      `the stage belongs to slot ${pipeline.slot}, and source.slot is ${identity.slot}`,
      `set source.slot = ${pipeline.slot}, or use another stage.url`,
    );
  }
  const staged = stagedUpTo(state);
  if (branchedAt !== null && staged !== null && staged > branchedAt) {
    throw new OperatorError(
      `the source went back in time: its timeline ${identity.timeline} branched at ${formatLsn(branchedAt)}, and the stage holds changes up to ${formatLsn(staged)} of timeline ${pipeline.timeline}`,
      "run `pgstage resync --all` to copy every table afresh onto this stage, or use another stage.url",
    );
  }
  if (staged !== null && flushedLsn !== undefined && flushedLsn < staged) {
    throw new OperatorError(
      `the source went back in time: it stands at ${formatLsn(flushedLsn)}, and the stage holds changes up to ${formatLsn(staged)}. Was it restored from a backup?`,
      "use another stage.url: what this source writes from now on would count as older than what is staged",
    );
  }
}

/** The greatest position that rows on the stage may have: the end of the stream, or of the copies while there is none. */
export function stagedUpTo(state: State): Lsn | null {
  const points = Object.values(state.tables).flatMap(({ copy }) => {
    if (copy.phase === "pending") return [];
    return [copy.phase === "copied" ? copy.lastPoint : copy.firstPoint];
  });
  const texts = state.endLsn === null ? points : [...points, state.endLsn];
  return texts
    .map(parseLsn)
    .reduce<Lsn | null>((most, lsn) => (most === null ? lsn : laterLsn(most, lsn)), null);
}
