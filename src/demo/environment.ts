import { pathToFileURL } from "node:url";
import type { DemoFolder } from "./folder.ts";

/** Settings of the daemon that make things happen while one looks. */
const FLUSH = "1s";
export const DISCOVERY_MS = 2000;
const RANGE = "2MiB";

/** The daemon's variables: nothing of the user's own pipeline but how to reach a bucket. */
export function daemonEnvironment(
  folder: DemoFolder,
  given: {
    readonly env: Readonly<Record<string, string | undefined>>;
    /** Null: in the folder. */
    readonly stageUrl: string | null;
    readonly sourceUrl: string;
    readonly port: number;
  },
): Record<string, string> {
  const { env, stageUrl, sourceUrl, port } = given;
  const kept = Object.entries(env).filter(([name, value]) => value !== undefined && isKept(name)) as [
    string,
    string,
  ][];
  const run = new Date().toISOString().replaceAll(/[-:]|\..*/g, "");
  return {
    ...Object.fromEntries(kept),
    PGSTAGE_SOURCE_URL: sourceUrl,
    PGSTAGE_STAGE_URL:
      stageUrl === null ? pathToFileURL(folder.stage).href : `${stageUrl.replace(/\/+$/, "")}/demo-${run}`,
    PGSTAGE_FLUSH_INTERVAL: FLUSH,
    PGSTAGE_DISCOVERY_INTERVAL: `${DISCOVERY_MS}ms`,
    PGSTAGE_SNAPSHOT_RANGE_BYTES: RANGE,
    PGSTAGE_HTTP_PORT: String(port),
    PGSTAGE_LOG_FORMAT: "json",
    PGSTAGE_LOG_LAG_INTERVAL: "2s",
  };
}

/** libpq's variables and pgstage's own are the user's pipeline's, but for the settings of a bucket. */
function isKept(name: string): boolean {
  return !name.startsWith("PG") || /^PGSTAGE_(STAGE|FORMAT)_/.test(name);
}
