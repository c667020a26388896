const PREFIX = "PGSTAGE_";

/** Addresses that Kubernetes puts into every pod for a service that is named pgstage, or pgstage-something. */
const SERVICE_LINK = /_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PORT|PROTO|ADDR))?)$/;

/**
 * The variables that count: empty ones are dropped, so that `PGSTAGE_X=` unsets, and so are Kubernetes' service
 * links, which would otherwise be unknown settings, or `tcp://10.0.0.1:80` as PGSTAGE_HTTP_PORT.
 */
export function relevantEnvironment(
  env: Readonly<Record<string, string | undefined>>,
): Record<string, string> {
  const relevant: Record<string, string> = {};
  for (const [name, value] of Object.entries(env)) {
    if (value === undefined || value === "" || isServiceLink(name, value)) continue;
    relevant[name] = value;
  }
  return relevant;
}

function isServiceLink(name: string, value: string): boolean {
  if (!name.startsWith(PREFIX)) return false;
  return SERVICE_LINK.test(name) || (name.endsWith("_PORT") && /^(tcp|udp|sctp):\/\//.test(value));
}

/** Names that begin like settings and are none. */
export function unknownVariables(env: Readonly<Record<string, string>>, known: readonly string[]): string[] {
  return Object.keys(env).filter((name) => name.startsWith(PREFIX) && !known.includes(name));
}
