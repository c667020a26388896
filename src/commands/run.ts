import { keepBelow } from "../core/garbage.ts";
import { OperatorError } from "../core/errors.ts";
import { runDaemon } from "../daemon/daemon.ts";
import { openParts } from "../daemon/open.ts";
import type { DaemonParts } from "../daemon/parts.ts";
import { preflight, refuseFailed } from "../daemon/preflight.ts";
import { startHttp } from "../observe/http.ts";
import { EXIT } from "../report.ts";
import type { CommandContext } from "./context.ts";

/** The daemon, until it is told to stop. */
export async function run(context: CommandContext): Promise<number> {
  const settings = context.settings();
  const release = keepBelow(settings.memory.maxBytes);
  const parts = await openParts(settings, context.log(), context.version);
  const { observations, metrics, store } = parts;
  const http = await startHttp({ ...settings.http, status: () => observations.status(), metrics });
  try {
    await checkFirst(parts, context.signal);
    if (!(await runDaemon(parts, context.signal))) return EXIT.unexpected;
    parts.log.info("drained");
    return EXIT.done;
  } catch (error) {
    if (error instanceof OperatorError) {
      observations.blocked(error.message, error.mend);
      await http?.lastWord(context.signal);
    }
    throw error;
  } finally {
    await http?.close();
    store.close();
    release();
  }
}

/** Checks that notices repeat for as long as they hold. */
const TOLD_BY_NOTICES: ReadonlySet<string> = new Set(["replica identity", "not captured"]);

/** What `check` does. What may pass by itself is left to the daemon, which tries again. */
async function checkFirst({ settings, store, log }: DaemonParts, signal: AbortSignal): Promise<void> {
  const told = new Promise<null>((resolve) =>
    signal.addEventListener("abort", () => resolve(null), { once: true }),
  );
  const checks = await Promise.race([preflight({ settings, store, purpose: "run" }), told]);
  if (checks === null) return;
  refuseFailed(checks);
  for (const { name, verdict, found, mend } of checks) {
    const isWarning = (verdict === "warn" || verdict === "fail") && !TOLD_BY_NOTICES.has(name);
    if (isWarning) log.warn({ check: name, found, mend }, "check");
    else log.debug({ check: name, verdict, found }, "check");
  }
}
