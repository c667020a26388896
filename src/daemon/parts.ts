import type { Log } from "../observe/log.ts";
import type { Metrics } from "../observe/metrics.ts";
import type { Observations } from "../observe/observations.ts";
import type { Settings } from "../settings/settings.ts";
import type { Store } from "../stores/store.ts";

/** What lives as long as the process, whatever happens to connections. */
export interface DaemonParts {
  readonly settings: Settings;
  readonly store: Store;
  readonly log: Log;
  readonly observations: Observations;
  readonly metrics: Metrics;
  readonly version: string;
}
