import { setTimeout as delay } from "node:timers/promises";
import { OperatorError, ReplacedError, TransientError, UploadLostError } from "../core/errors.ts";
import { FailureLog } from "../observe/failures.ts";
import { lagJson } from "../observe/status-json.ts";
import { connectSource } from "../postgres/connect.ts";
import { explainSqlError, SqlConnection } from "../postgres/sql-connection.ts";
import { runAttempt } from "./attempt.ts";
import type { DaemonParts } from "./parts.ts";
import { takeSlot } from "./slot-lock.ts";

/** How often a standby looks whether the slot is free: it has to take over within 5 s of a clean exit. */
const STANDBY_LOOK_MS = 1_000;
const FIRST_PAUSE_MS = 250;
const LONGEST_PAUSE_MS = 10_000;
/** An attempt that lived so long was healthy: the next failure is a new one. */
const HEALTHY_MS = 60_000;

/**
 * Runs until `stop`: takes the slot, streams, and after a loss of anything does both again. Resolves when drained;
 * rejects with an OperatorError, or with what must be a mistake of ours.
 */
export async function runDaemon(parts: DaemonParts, stop: AbortSignal): Promise<void> {
  const { observations, log, settings } = parts;
  const failures = new FailureLog(log, "the pipeline starts again");
  const lagLines = setInterval(() => log.info(lagFields(parts), "lag"), settings.log.lagIntervalMs).unref();
  observations.start();
  let pauseMs = FIRST_PAUSE_MS;
  try {
    while (!stop.aborted) {
      const startedAtMs = performance.now();
      try {
        if (await attempt(parts, stop)) return;
        failures.recovered();
        pauseMs = STANDBY_LOOK_MS;
      } catch (error) {
        if (stop.aborted && isPassing(error)) return;
        if (!isPassing(error)) throw error;
        failures.failed(error);
        parts.metrics.reconnected();
        if (error instanceof TransientError) observations.sourceDown(error.message);
        if (performance.now() - startedAtMs > HEALTHY_MS) pauseMs = FIRST_PAUSE_MS;
      }
      await delay(pauseMs, undefined, { signal: stop }).catch(() => {});
      pauseMs = Math.min(LONGEST_PAUSE_MS, pauseMs * 2);
    }
  } catch (error) {
    if (error instanceof OperatorError) observations.blocked(error.message, error.mend);
    throw error;
  } finally {
    clearInterval(lagLines);
    observations.stop();
  }
}

/** Worth another attempt from the log on. */
function isPassing(error: unknown): boolean {
  return error instanceof TransientError || error instanceof ReplacedError || error instanceof UploadLostError;
}

function lagFields({ observations }: DaemonParts): object {
  const { tableCounts } = observations.status();
  const copying = tableCounts.ranges > 0 ? { ranges: tableCounts.ranges, ranges_done: tableCounts.rangesDone } : {};
  return { ...lagJson(observations.lag()), ...copying };
}

/** True when drained, false when another daemon holds the slot. */
async function attempt(parts: DaemonParts, stop: AbortSignal): Promise<boolean> {
  const { settings, observations } = parts;
  const serverVersion = await versionOf(parts);
  const sql = new SqlConnection(settings.source, serverVersion);
  const lock = { ...parts, sql, serverVersion };
  try {
    const held = await takeSlot(lock);
    if (!held) {
      observations.stateChanged("standby");
      return false;
    }
    observations.sourceUp();
    await runAttempt(lock, held, stop);
    return true;
  } finally {
    sql.close();
  }
}

/** 13 … 18 */
async function versionOf({ settings }: DaemonParts): Promise<number> {
  const client = await connectSource(settings.source, "sql", { atStart: false });
  try {
    const { rows } = await client.query<{ version: number }>("SELECT pg_catalog.current_setting('server_version_num')::int4 / 10000 AS version");
    return rows[0]?.version ?? 0;
  } catch (error) {
    throw explainSqlError(error);
  } finally {
    await client.end().catch(() => {});
  }
}
