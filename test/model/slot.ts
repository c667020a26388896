import { TransientError } from "../../src/core/errors.ts";
import type { Lsn } from "../../src/core/lsn.ts";
import { planStart } from "../../src/daemon/start.ts";
import type { Patiently } from "../../src/delivery/file-writer.ts";
import { Log, type Reading } from "../../src/delivery/log.ts";
import { unborn } from "../../src/delivery/state.ts";
import type { SlotInfo } from "../../src/postgres/slot.ts";
import type { Store } from "../../src/stores/store.ts";
import { turns } from "../support/faulty-store.ts";
import type { World } from "./world.ts";

const IDENTITY = {
  systemIdentifier: "7",
  timeline: 1,
  database: "db",
  slot: "pgstage",
  publication: "pgstage",
};
/** Compares log and slot, and makes what is missing, as src/daemon/slot-lock.ts does. */
export async function takeSlot(
  parts: { store: Store; world: World },
  reading: Reading | null,
): Promise<{ log: Log; from: Lsn }> {
  const { store, world } = parts;
  const state = reading?.state ?? null;
  const slot = slotOf(world);
  const plan = planStart({ state, slot, identity: IDENTITY, branchedAt: null });
  const log = new Log(store, state ?? unborn(IDENTITY), reading?.stateKeys ?? []);
  if (plan.slot === "wait") throw new TransientError("somebody streams");
  if (plan.slot !== "create") return { log, from: plan.from };
  if (!reading) {
    const nothing = { files: [], tables: [], endLsn: null, firstLsn: null, committedAt: null };
    await log.append(log.next({ kind: "birth", ...nothing }));
  }
  return { log, from: world.server.createSlot() };
}

function slotOf({ server }: World): SlotInfo | null {
  if (server.confirmed === null) return null;
  return {
    plugin: "pgoutput",
    slotType: "logical",
    database: IDENTITY.database,
    active: server.stream !== null,
    activePid: null,
    restartLsn: server.confirmed,
    confirmedFlushLsn: server.confirmed,
    walStatus: "reserved",
    safeWalBytes: null,
    invalidation: null,
  };
}

/** As src/delivery/patience.ts, without its pauses. */
export function impatience(signal: AbortSignal): Patiently {
  return async (_what, attempt) => {
    for (;;) {
      signal.throwIfAborted();
      try {
        return await attempt();
      } catch (error) {
        if (!(error instanceof TransientError)) throw error;
        await turns(2);
      }
    }
  };
}
