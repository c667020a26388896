import { setTimeout as delay } from "node:timers/promises";
import { messageOf } from "../core/errors.ts";
import { tableName } from "../core/table.ts";
import type { Delivery } from "../delivery/delivery.ts";
import { sqlState } from "../postgres/quote.ts";
import { isBeyondRowLimit, rowLimitError } from "../postgres/row-limit.ts";
import { readBack } from "../postgres/read-back.ts";
import type { ReadBack } from "../stream/deferred.ts";
import type { LockParts } from "./slot-lock.ts";

const AGAIN_AFTER_MS = 1_000;

/**
 * Reads values back however long somebody has the table locked: the batch that needs them waits. Where the server
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
        return await sql.use((client) => readBack(client, table, keys));
      } catch (error) {
        if (own.signal.aborted) throw error;
        const about = own.delivery.state.tables[table.oid];
        const name = about ? tableName(about.catalog) : `relation ${table.oid}`;
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

async function copyAgain(delivery: Delivery, oid: number, reason: string): Promise<void> {
  const record = delivery.state.tables[oid];
  if (!record || record.copy.phase === "pending") return;
  await delivery.record([{ event: "table", table: { ...record, copy: { phase: "pending", reason } } }]);
}
