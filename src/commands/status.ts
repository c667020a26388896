import type { Status } from "../core/status.ts";
import { parseLsn } from "../core/lsn.ts";
import { lookFromOutside } from "../daemon/status.ts";
import { statusJson, type StatusJson } from "../observe/status-json.ts";
import { renderStatus } from "../observe/status-text.ts";
import { wantsColor } from "../observe/terminal.ts";
import { EXIT } from "../report.ts";
import type { Settings } from "../settings/settings.ts";
import { openStore } from "../stores/open.ts";
import type { CommandContext } from "./context.ts";

/** A daemon on this machine answers at once, or not at all. */
const DAEMON_PATIENCE_MS = 2_000;

/** Where the pipeline stands: from the daemon if it answers here, else from stage and slot. */
export async function run(context: CommandContext): Promise<number> {
  const settings = context.settings();
  const { stdout, env, version } = context;
  const store = await openStore(settings.stage);
  try {
    const told = await askDaemon(settings, store.url);
    const status = told === null ? await lookFromOutside({ settings, store, version }) : statusFromJson(told);
    if (context.options["json"] === true)
      stdout.write(`${JSON.stringify(told ?? statusJson(status), null, 2)}\n`);
    else stdout.write(renderStatus(status, { color: wantsColor(stdout, env) }));
    return status.state === "blocked" ? EXIT.operator : EXIT.done;
  } finally {
    store.close();
  }
}

/** What a daemon of this pipeline says at http.host and http.port; null if there is none, or another pipeline's. */
async function askDaemon({ http, source }: Settings, stage: string): Promise<StatusJson | null> {
  if (http.port === 0) return null;
  const anywhere: Readonly<Record<string, string>> = { "0.0.0.0": "127.0.0.1", "::": "::1" };
  const host = anywhere[http.host] ?? http.host;
  try {
    const answer = await fetch(`http://${host.includes(":") ? `[${host}]` : host}:${http.port}/status`, {
      signal: AbortSignal.timeout(DAEMON_PATIENCE_MS),
    });
    const status = (await answer.json()) as StatusJson;
    return answer.ok && status.stage === stage && status.slot === source.slot ? status : null;
  } catch {
    return null;
  }
}

/** The way back of statusJson. */
export function statusFromJson(json: StatusJson): Status {
  const status = camelCased(json) as Status & { lag: { stagedLsn: string | null; sourceLsn: string | null } };
  const { stagedLsn, sourceLsn } = status.lag;
  const lag = {
    ...status.lag,
    stagedLsn: stagedLsn === null ? null : parseLsn(stagedLsn),
    sourceLsn: sourceLsn === null ? null : parseLsn(sourceLsn),
  };
  return { ...status, lag };
}

function camelCased(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(camelCased);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, field]) => [
      name.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase()),
      camelCased(field),
    ]),
  );
}
