import type { Log } from "../observe/log.ts";
import { createMetrics } from "../observe/metrics.ts";
import { Observations } from "../observe/observations.ts";
import { describeSource, type Settings } from "../settings/settings.ts";
import { meteredStore } from "../stores/metered.ts";
import { openStore } from "../stores/open.ts";
import type { DaemonParts } from "./parts.ts";

/** What lives as long as the process. Touches neither source nor stage. */
export async function openParts(settings: Settings, log: Log, version: string): Promise<DaemonParts> {
  const store = await openStore(settings.stage);
  const observations = new Observations({
    version,
    stage: store.url,
    source: describeSource(settings),
    slot: settings.source.slot,
    publication: settings.source.publication,
    flushIntervalMs: settings.flush.intervalMs,
    onNotice: ({ id, level, title, facts, message, mend, count }) => {
      // The process ends with a line of its own that says the same.
      if (id === "blocked") return;
      // What somebody else said is all of the message already.
      const { problem: _problem, todo: _todo, ...own } = facts;
      log[level]({ notice: id, ...own, message, ...(mend === "" ? {} : { mend }), count }, title);
    },
    onCleared: (id, title, lastedSeconds) =>
      log.info({ notice: id, lasted_seconds: lastedSeconds }, `over: ${title}`),
  });
  const metrics = createMetrics(() => observations.status());
  const metered = meteredStore(store, (operation, request) => metrics.timed(operation, request));
  return { settings, store: metered, log, observations, metrics, version };
}
