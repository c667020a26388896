import { messageOf, OperatorError, TransientError } from "../../core/errors.ts";
import { formatLsn } from "../../core/lsn.ts";
import { countOf } from "../../observe/units.ts";
import type { Reading } from "../../delivery/log.ts";
import type { ProbeResult } from "../../stores/store.ts";
import { planStart, type Found, type StartPlan } from "../start.ts";
import { fail, ok, warn, type Check } from "./check.ts";

export function checkProbes(results: readonly ProbeResult[]): Check[] {
  return results.map(({ name, verdict, found, mend, passing }) => {
    return { name, verdict, found, mend, ...(passing ? { passing } : {}) };
  });
}

/** What the stage's log says; an error if it could not be read, null if there is none. */
export function checkLog(reading: Reading | null | Error): Check {
  const name = "stage log";
  if (reading instanceof Error) {
    const mend =
      reading instanceof OperatorError ? reading.mend : "see that the stage can be reached, then try again";
    return fail(name, messageOf(reading), mend, reading instanceof TransientError);
  }
  if (reading === null) return ok(name, "none yet: the stage is new");
  const { state, damage } = reading;
  if (damage !== null)
    return warn(
      name,
      damage,
      "nothing: the next start copies all tables afresh. Exempt _pgstage/ from bucket rules that expire objects",
    );
  const { slot, database } = state.pipeline;
  const tables = countOf(Object.keys(state.tables).length, "table");
  if (state.endLsn === null) return ok(name, `database ${database}, ${tables}, no slot yet`);
  return ok(name, `slot ${slot} of database ${database}, ${tables}, up to ${state.endLsn}`);
}

export interface Comparison {
  readonly check: Check;
  /** Null if nothing can be begun. */
  readonly plan: StartPlan | null;
}

/** Whether slot and log fit together, by the same decision as at a start. Pure. */
export function compareSlot(found: Found): Comparison {
  const name = "slot";
  const { slot } = found.identity;
  try {
    const plan = planStart(found);
    return { check: ok(name, planWords(plan, slot)), plan };
  } catch (error) {
    if (!(error instanceof OperatorError)) throw error;
    return { check: fail(name, error.message, error.mend), plan: null };
  }
}

function planWords(plan: StartPlan, slot: string): string {
  switch (plan.slot) {
    case "create":
      return `${slot} is not there yet; the first start makes it`;
    case "adopt":
      return `${slot} was made by a start that did not get further, and is taken over`;
    case "continue":
      return `${slot} and the log fit; streaming goes on at ${formatLsn(plan.from)}`;
    case "wait":
      return `${slot} is in use${plan.pid === null ? "" : ` by pid ${plan.pid}`}: a daemon runs, another one would be its standby`;
    default:
      return plan satisfies never;
  }
}

/** A snapshot makes no slot, and does not go onto a stage that a slot keeps up to date. */
export function checkSnapshotStage(reading: Reading | null): Check {
  const name = "slot";
  if (reading === null || reading.state.endLsn === null)
    return ok(name, "none is needed for a snapshot but for a moment");
  return fail(name, ...refusedSnapshot(reading));
}

/** What is wrong with a snapshot on a streaming pipeline's stage, and what to do instead. */
export function refusedSnapshot({ state }: Reading): [found: string, mend: string] {
  return [
    `the stage belongs to a pipeline that streams (slot ${state.pipeline.slot}, up to ${state.endLsn}): a snapshot would only be older`,
    "to copy tables afresh there: `pgstage resync --all`; for snapshots use another stage.url",
  ];
}
