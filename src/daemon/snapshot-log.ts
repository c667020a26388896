import { OperatorError, ReplacedError, UploadLostError } from "../core/errors.ts";
import { Log, readDocument, readLog, type Reading } from "../delivery/log.ts";
import { findLeftovers as lookForLeftovers, publishLast, type Leftovers } from "../delivery/recover.ts";
import { unborn } from "../delivery/state.ts";
import { connectSource } from "../postgres/connect.ts";
import { refusedSnapshot } from "./preflight/stage.ts";
import type { LockParts } from "./slot-lock.ts";
import { branchPoint, identifySystem, identityOf } from "./source-facts.ts";
import { refuseOtherSource } from "./start.ts";

/** The log, to be written once. A stage of snapshots has no birth document: that is for a slot. */
export async function openLog(parts: LockParts): Promise<Log> {
  const { settings, store, patiently, serverVersion } = parts;
  const replication = await connectSource(settings.source, "replication", { serverVersion });
  try {
    const server = await identifySystem(replication);
    const { flushedLsn } = server;
    const identity = identityOf(server, settings.source);
    const reading = await patiently("read the log", () => readLog(store));
    if (!reading) return new Log(store, unborn(identity), []);
    const { state, stateKeys } = reading;
    const branchedAt = await branchPoint(replication, identity.timeline, state.pipeline.timeline);
    refuseOtherSource(state, { identity, branchedAt, flushedLsn });
    await finishEarlier(parts, reading);
    return new Log(store, { ...state, pipeline: identity }, stateKeys);
  } finally {
    await replication.end().catch(() => {});
  }
}

/** A snapshot that was killed while it published has recorded everything: it is published now. */
async function finishEarlier({ store, patiently, log }: LockParts, reading: Reading): Promise<void> {
  if (reading.state.endLsn !== null) throw new OperatorError(...refusedSnapshot(reading));
  const lost = await publishLast(store, reading.last, patiently);
  if (lost.length === 0) return;
  const keys = lost.map(({ key }) => key);
  log.warn({ files: keys }, "files of the snapshot before are gone; this one replaces them");
}

/** Staged and not recorded by others when we began. */
export async function findLeftovers({ store, patiently }: LockParts): Promise<Leftovers> {
  return patiently("look for leftovers", () => lookForLeftovers(store));
}

/** Only after a document of ours stands: those who had begun before us can no longer record theirs. */
export async function discardLeftovers(
  { store, log }: LockParts,
  { uploads, packs }: Leftovers,
): Promise<void> {
  try {
    await store.discardUploads((id) => !uploads.has(id));
    if (packs.length > 0) await store.delete(packs);
  } catch (error) {
    log.warn({ err: error }, "uploads of an earlier run could not be discarded");
  }
}

/** Whether somebody else has written to the log, as the reason of an error. */
export async function isReplaced({ store }: LockParts, error: unknown, log: Log): Promise<boolean> {
  if (error instanceof ReplacedError) return true;
  if (!(error instanceof UploadLostError)) return false;
  return (await readDocument(store, log.state.sequence + 1)) !== null;
}

export function replaced(cause: unknown): OperatorError {
  return new OperatorError(
    "another snapshot, or a daemon, wrote to the stage meanwhile; nothing of this snapshot was published",
    "let one of them run at a time; `pgstage status` says what is on the stage",
    { cause },
  );
}
