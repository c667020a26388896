import { runDaemon } from "../daemon/daemon.ts";
import { openParts } from "../daemon/open.ts";
import { startHttp } from "../observe/http.ts";
import type { CommandContext } from "./context.ts";

/** The daemon, until it is told to stop. */
export async function run(context: CommandContext): Promise<number> {
  const settings = context.settings();
  const parts = await openParts(settings, context.log(), context.version);
  const { observations, metrics, store } = parts;
  const http = await startHttp({ ...settings.http, status: () => observations.status(), metrics });
  try {
    await runDaemon(parts, context.signal);
    parts.log.info("drained");
    return 0;
  } finally {
    await http?.close();
    store.close();
  }
}
