import { messageOf, OperatorError, TransientError } from "../../core/errors.ts";
import { addressOf, type SourceAccess } from "../../postgres/source-access.ts";
import { fail, ok, skip, warn, type Check } from "./check.ts";

const STEPS = ["reachable", "TLS", "login"] as const;
type Step = (typeof STEPS)[number];

/** A connection that failed: the steps before the one that failed were good, those after it were not reached. */
export function checkFailedConnection(error: unknown, source: SourceAccess): Check[] {
  const failed = stepOf(error);
  const mend = error instanceof OperatorError ? error.mend : "see that the server is up, then try again";
  return STEPS.map((step, index) => {
    if (step === failed) return fail(step, messageOf(error), mend, error instanceof TransientError);
    if (index > STEPS.indexOf(failed)) return skip(step, "not reached");
    return step === "reachable" ? ok(step, addressOf(source)) : checkTls(source, null);
  });
}

/** By the error that connecting gave, which the explained one carries as its cause. */
function stepOf(error: unknown): Step {
  const { cause } = error as Error;
  const code = (cause as { code?: unknown } | undefined)?.code;
  if (cause instanceof Error && cause.message === "The server does not support SSL connections") return "TLS";
  if (typeof code !== "string") return cause === undefined ? "login" : "reachable";
  if (/^(ERR_(SSL|TLS|OSSL)_|EPROTO$|CERT_|UNABLE_TO_|SELF_SIGNED|DEPTH_ZERO|HOSTNAME_MISMATCH)/.test(code))
    return "TLS";
  return /^[0-9A-Z]{5}$/.test(code) && !/^E[A-Z]+$/.test(code) ? "login" : "reachable";
}

export interface SessionFacts {
  readonly user: string;
  readonly database: string;
  /** TLS version of the connection, or null without TLS. */
  readonly tlsVersion: string | null;
}

export function checkConnected(source: SourceAccess, session: SessionFacts): Check[] {
  return [
    ok("reachable", addressOf(source)),
    checkTls(source, session.tlsVersion),
    ok("login", `as ${session.user} to database ${session.database}, ${loginWords(source)}`),
  ];
}

function loginWords(source: SourceAccess): string {
  if (source.auth === "iam") return "with an IAM token";
  if (source.password !== undefined) return "with a password";
  if (source.passwordFile !== undefined) return "with the password in source.passwordFile";
  return source.passFile === undefined ? "without a password" : "with the password file, if the server asks";
}

function checkTls(source: SourceAccess, version: string | null): Check {
  const how = version === null ? "" : ` (${version})`;
  switch (source.tls) {
    case "verify-full":
      return ok("TLS", `verified, certificate and name${how}`);
    case "require":
      return warn(
        "TLS",
        `encrypted${how}, but to whoever answers: source.tls is require`,
        "set source.tls to verify-full, with source.ca if the authority is your own",
      );
    case "disable": {
      const isLocal = source.host.startsWith("/") || /^(localhost|127\.|::1$)/.test(source.host);
      if (isLocal) return ok("TLS", "off, on this machine");
      return warn(
        "TLS",
        "off: passwords and rows pass the network in the clear",
        "set source.tls to verify-full",
      );
    }
    default:
      return source.tls satisfies never;
  }
}
