/** What a URL, or libpq's environment, says about a connection. Everything may be missing. */
export interface ConnectionParts {
  readonly host?: string | undefined;
  readonly port?: string | undefined;
  readonly user?: string | undefined;
  readonly password?: string | undefined;
  readonly database?: string | undefined;
  readonly sslmode?: string | undefined;
  readonly sslrootcert?: string | undefined;
}

/** Parameters of libpq URLs that change nothing here: pgstage has its own settings for them. */
const IGNORED_PARAMETERS = new Set([
  "application_name",
  "fallback_application_name",
  "connect_timeout",
  "keepalives",
  "keepalives_idle",
  "keepalives_interval",
  "keepalives_count",
  "target_session_attrs",
  "gssencmode",
  "channel_binding",
]);

const ENCODE_HINT =
  "characters such as % / ? # @ : in user or password are written percent-encoded (%25 %2F %3F %23 %40 %3A), or the password goes into source.password";

/**
 * Reads `postgres://user:password@host:5432/db?…` as libpq does: percent-decoded, `[::1]` addresses, sockets as
 * `postgres://user@%2Fvar%2Frun%2Fpostgresql/db` or `postgres:///db?host=/var/run/postgresql`
 * (https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-URIS).
 * Not by pg-connection-string, which decodes the database's name by half, reads files and has its own idea of sslmode.
 *
 * Throws an Error whose message completes "source.url: " and holds nothing of the URL but parameter names.
 */
export function parseSourceUrl(text: string): ConnectionParts {
  if (!/^postgres(ql)?:\/\//.test(text)) {
    throw new Error("does not begin with postgres:// (expected postgres://user:password@host:5432/db)");
  }
  if (/[\s#]|%(?![0-9a-f]{2})/i.test(text)) {
    throw new Error(`holds a blank, a # or a % that must be encoded: ${ENCODE_HINT}`);
  }
  const url = readUrl(text);
  const parameters = parametersOf(url.search.slice(1));
  const host = url.hostname === NO_HOST ? "" : decode(url.hostname).replace(/^\[(.+)\]$/, "$1");
  return {
    host: parameters.get("host") ?? given(host),
    port: parameters.get("port") ?? given(url.port),
    user: parameters.get("user") ?? given(decode(url.username)),
    password: parameters.get("password") ?? given(decode(url.password)),
    database: parameters.get("dbname") ?? given(decode(url.pathname.slice(1))),
    sslmode: parameters.get("sslmode"),
    sslrootcert: parameters.get("sslrootcert"),
  };
}

const NO_HOST = "no-host.invalid";

function readUrl(text: string): URL {
  // An empty host after credentials (`user@/db`) is libpq's, not WHATWG's.
  const withHost = text.replace(/^(\w+:\/\/[^/?]*@)(?=[/?]|$)/, `$1${NO_HOST}`);
  try {
    return new URL(withHost);
  } catch {
    // Node's error holds the URL, and so the password.
    throw new Error(
      `cannot be read: expected postgres://user:password@host:5432/db with one host, and a port up to 65535; ${ENCODE_HINT}`,
    );
  }
}

const PARAMETERS = new Set(["host", "port", "user", "password", "dbname", "sslmode", "sslrootcert"]);

/** Not by URLSearchParams, which takes a plus sign for a blank. */
function parametersOf(query: string): Map<string, string> {
  const parameters = new Map<string, string>();
  for (const pair of query.split("&").filter((text) => text !== "")) {
    const [name, value] = [decode(pair.split("=", 1)[0] ?? ""), decode(pair.slice(pair.indexOf("=") + 1))];
    if (PARAMETERS.has(name)) {
      if (value !== "") parameters.set(name, value);
    } else if (!IGNORED_PARAMETERS.has(name)) {
      throw new Error(`has a parameter ${JSON.stringify(name)} that pgstage does not know`);
    }
  }
  return parameters;
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new Error(`holds percent-encoded bytes that are not UTF-8`);
  }
}

function given(text: string): string | undefined {
  return text === "" ? undefined : text;
}

/** libpq's environment variables (https://www.postgresql.org/docs/current/libpq-envars.html). */
export function libpqParts(env: Readonly<Record<string, string>>): ConnectionParts {
  return {
    host: env["PGHOST"],
    port: env["PGPORT"],
    user: env["PGUSER"],
    password: env["PGPASSWORD"],
    database: env["PGDATABASE"],
    sslmode: env["PGSSLMODE"],
    sslrootcert: env["PGSSLROOTCERT"],
  };
}
