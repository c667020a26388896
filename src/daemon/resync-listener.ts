import { setTimeout as delay } from "node:timers/promises";
import { messageOf } from "../core/errors.ts";
import { connectSource } from "../postgres/connect.ts";
import { serveResync } from "../postgres/resync-channel.ts";
import type { CatalogWatch } from "./catalog-watch.ts";
import type { LockParts } from "./slot-lock.ts";

const RECONNECT_MS = 5_000;

/** Takes requests of `pgstage resync` until the attempt is over; a lost connection is made again. */
export async function listenForResync(
  parts: LockParts,
  own: { catalog: CatalogWatch; signal: AbortSignal },
): Promise<void> {
  const { settings, serverVersion, log } = parts;
  const { catalog, signal } = own;
  while (!signal.aborted) {
    try {
      const client = await connectSource(settings.source, "sql", { serverVersion, atStart: false });
      const close = (): void => void client.end().catch(() => {});
      signal.addEventListener("abort", close, { once: true });
      if (signal.aborted) close();
      await serveResync(client, settings.source.slot, async ({ id, tables }) => {
        log.info({ tables }, "resync asked for");
        try {
          return { id, unknown: await catalog.resync(tables) };
        } catch (error) {
          return { id, unknown: [], error: messageOf(error) };
        }
      });
      signal.removeEventListener("abort", close);
    } catch (error) {
      log.debug({ err: error }, "no connection for resync requests");
    }
    await delay(RECONNECT_MS, undefined, { signal }).catch(() => {});
  }
}
