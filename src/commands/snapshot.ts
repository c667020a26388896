import { keepBelow } from "../core/garbage.ts";
import { openParts } from "../daemon/open.ts";
import { preflight, refuseFailed } from "../daemon/preflight.ts";
import { runSnapshot } from "../daemon/snapshot.ts";
import { unlessStopped } from "../delivery/patience.ts";
import { EXIT } from "../report.ts";
import type { CommandContext } from "./context.ts";

/** One full copy, then the end. */
export async function run(context: CommandContext): Promise<number> {
  const settings = context.settings();
  const release = keepBelow(settings.memory.maxBytes);
  const parts = await openParts(settings, context.log(), context.version);
  const { store, log } = parts;
  try {
    const checks = await unlessStopped(preflight({ settings, store, purpose: "snapshot" }), context.signal);
    context.signal.throwIfAborted();
    refuseFailed(checks);
    for (const { name, found, mend } of checks.filter(
      ({ verdict }) => verdict === "warn" || verdict === "fail",
    )) {
      log.warn({ check: name, found, mend }, "check");
    }
    await runSnapshot(parts, context.signal);
    return EXIT.done;
  } finally {
    store.close();
    release();
  }
}
