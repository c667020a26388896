import { setTimeout as delay } from "node:timers/promises";
import { messageOf } from "../core/errors.ts";
import { tableName } from "../core/table.ts";
import type { Delivery } from "../delivery/delivery.ts";
import { sqlState } from "../postgres/quote.ts";
import { isBeyondRowLimit, rowLimitError } from "../postgres/row-limit.ts";
import { invisibleAmong, readBack } from "../postgres/read-back.ts";
import type { ReadBack } from "../stream/deferred.ts";
import type { LockParts } from "./slot-lock.ts";

const AGAIN_AFTER_MS = 1_000;
/** A commit is usually visible microseconds after it was sent. */
const VISIBLE_AFTER_MS = 10;
/** When it is said first that it is not; each time twice as late. */
const INVISIBLE_TOLD_MS = 1_000;

/**
 * Reads values back however long their commit stays invisible, or somebody has the table locked: the batch that needs
 * them waits. Where the server
 * refuses (no right, row security), the values stay unsaid and the table is to be copied afresh, which says why not.
 */
export function patientReadBack(
  parts: LockParts,
  own: { delivery: Delivery; signal: AbortSignal },
): ReadBack {
  const { sql, log } = parts;
  return async (table, keys) => {
    for (;;) {
      try {
        await untilVisible(parts, own, table);
        return await sql.use((client) => readBack(client, table, keys));
      } catch (error) {
        if (own.signal.aborted) throw error;
        const name = nameOf(own.delivery, table.oid);
        if (isBeyondRowLimit(error)) throw rowLimitError(name, error);
        switch (sqlState(error)) {
          case "55P03": // lock_not_available
          case "57014": // query_canceled
            log.warn({ err: error, table: name }, "unchanged values cannot be read back; it is tried again");
            await delay(AGAIN_AFTER_MS, undefined, { signal: own.signal });
            break;
          case "42501": // insufficient_privilege
            await copyAgain(own.delivery, table.oid, `its values may not be read back: ${messageOf(error)}`);
            log.error(
              { err: error, table: name },
              "unchanged values may not be read back: the table is copied afresh",
            );
            return keys.map(() => null);
          default:
            throw error;
        }
      }
    }
  };
}

/** An older snapshot may show another row under the key, or none. */
async function untilVisible(
  { sql, log }: LockParts,
  own: { delivery: Delivery; signal: AbortSignal },
  { oid, xids }: Parameters<ReadBack>[0],
): Promise<void> {
  const startedAtMs = performance.now();
  let tellAfterMs = INVISIBLE_TOLD_MS;
  for (let left = xids; ;) {
    left = await sql.use((client) => invisibleAmong(client, left));
    if (left.length === 0) return;
    const waitedMs = Math.round(performance.now() - startedAtMs);
    if (waitedMs >= tellAfterMs) {
      tellAfterMs *= 2;
      log.warn(
        { table: nameOf(own.delivery, oid), xids: left, waited_ms: waitedMs },
        "a commit is not visible to other sessions yet, perhaps because a synchronous standby does not confirm it: values are read back once it is",
      );
    }
    await delay(Math.min(waitedMs + VISIBLE_AFTER_MS, AGAIN_AFTER_MS), undefined, { signal: own.signal });
  }
}

function nameOf({ state }: Delivery, oid: number): string {
  const record = state.tables[oid];
  return record ? tableName(record.catalog) : `relation ${oid}`;
}

async function copyAgain(delivery: Delivery, oid: number, reason: string): Promise<void> {
  const record = delivery.state.tables[oid];
  if (!record || record.copy.phase === "pending") return;
  await delivery.record([{ event: "table", table: { ...record, copy: { phase: "pending", reason } } }]);
}
