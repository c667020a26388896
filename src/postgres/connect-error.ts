import { messageOf, OperatorError, TransientError } from "../core/errors.ts";
import { addressOf, rdsRegion, type ConnectionKind, type SourceAccess } from "./source-access.ts";

export interface ConnectSituation {
  readonly kind: ConnectionKind;
  /** At start nobody has seen the connection work, so what looks like a wrong setting is taken for one. */
  readonly atStart: boolean;
}

/**
 * - `lasting`: trying again cannot help.
 * - `probably`: at start a wrong setting, later a failure that passes.
 * - `passing`: the server says that it is busy.
 */
interface Explanation {
  readonly message: string;
  readonly mend: string;
  readonly lasts: "lasting" | "probably" | "passing";
}

interface Failure {
  readonly source: SourceAccess;
  readonly kind: ConnectionKind;
  readonly code: string;
  /** The server's function that refused; unlike the message it is not translated. */
  readonly routine: string;
  readonly text: string;
  /** Subject alternative names of the server's certificate, if the wrong one was the trouble. */
  readonly certificateNames: string;
}

/** What a failed connection means, by codes of Postgres, Node and OpenSSL. Says no secret. */
export function explainConnectError(
  error: unknown,
  source: SourceAccess,
  situation: ConnectSituation,
): OperatorError | TransientError {
  if (error instanceof OperatorError) return error;
  if (error instanceof TransientError) {
    return situation.atStart ? new OperatorError(error.message, AWS_CREDENTIALS, { cause: error }) : error;
  }
  const failure = failureOf(error, source, situation.kind);
  const { message, mend, lasts } =
    fromServer(failure) ?? fromNetwork(failure) ?? fromTls(failure) ?? fromClient(failure);
  if (lasts === "lasting" || (lasts === "probably" && situation.atStart)) {
    return new OperatorError(message, mend, { cause: error });
  }
  return new TransientError(`${message} (${mend})`, { cause: error });
}

const AWS_CREDENTIALS =
  "give the process AWS credentials: a role, a profile or AWS_ACCESS_KEY_ID and its secret";

function failureOf(error: unknown, source: SourceAccess, kind: ConnectionKind): Failure {
  const detail = (error ?? {}) as {
    readonly code?: unknown;
    readonly routine?: unknown;
    readonly cert?: { readonly subjectaltname?: unknown };
  };
  return {
    source,
    kind,
    code: typeof detail.code === "string" ? detail.code : "",
    routine: typeof detail.routine === "string" ? detail.routine : "",
    text: messageOf(error),
    certificateNames: typeof detail.cert?.subjectaltname === "string" ? detail.cert.subjectaltname : "",
  };
}

/** By SQLSTATE (https://www.postgresql.org/docs/current/errcodes-appendix.html). */
function fromServer(failure: Failure): Explanation | undefined {
  const { code, source, text } = failure;
  const where = addressOf(source);
  if (!/^[0-9A-Z]{5}$/.test(code) || /^E[A-Z]+$/.test(code)) return undefined;
  switch (code) {
    case "28P01":
      return source.auth === "iam" ? refusedToken(failure) : refusedPassword(failure);
    case "28000":
      return refusedUser(failure);
    case "3D000":
      return {
        message: `there is no database ${JSON.stringify(source.database)} at ${where}`,
        mend: "correct the database in source.url",
        lasts: "lasting",
      };
    case "42501":
      return missingRight(failure);
    case "08P01":
    case "0A000":
    case "42704":
      return {
        message: `${where} does not take the session settings that pgstage starts with: ${text}`,
        mend: "connect to the database itself: neither RDS Proxy nor a pooler such as PgBouncer passes replication on",
        lasts: "lasting",
      };
    case "53300":
      return {
        message: `${where} has no connection left: ${text}`,
        mend:
          failure.kind === "replication"
            ? "raise max_wal_senders"
            : "raise max_connections or the role's limit",
        lasts: "passing",
      };
    case "57P01":
    case "57P02":
    case "57P03":
      return { message: `${where} is starting up or shutting down`, mend: "wait for it", lasts: "passing" };
    default:
      return {
        message: `Postgres at ${where} refused the connection: ${text} (SQLSTATE ${code})`,
        mend: "look into the server's log",
        lasts: /^(08|53|57|58)/.test(code) ? "passing" : "probably",
      };
  }
}

function refusedPassword({ source }: Failure): Explanation {
  const { user, passwordFile } = source;
  return {
    message: `Postgres at ${addressOf(source)} refused the password of ${JSON.stringify(user)}`,
    mend: passwordFile
      ? `correct the password in ${passwordFile}`
      : "correct the password: source.password, or the one in source.url",
    // The file may be about to change; a password from the settings is read only once.
    lasts: passwordFile ? "probably" : "lasting",
  };
}

/** RDS's answer to a bad token is the same for every reason. */
function refusedToken({ source, kind }: Failure): Explanation {
  const role = quoteName(source.user);
  const forReplication =
    kind === "replication"
      ? `; for replication connections also rds.iam_auth_for_replication = 1 in the parameter group and GRANT rds_replication TO ${role}`
      : "";
  return {
    message: `Postgres at ${addressOf(source)} refused the IAM token of ${JSON.stringify(source.user)}${kind === "replication" ? " for a replication connection" : ""}`,
    mend:
      `check that IAM authentication is on for the instance, GRANT rds_iam TO ${role}, ` +
      `and the IAM policy allows rds-db:connect on …:dbuser:<resource id>/${source.user}${forReplication}; ` +
      `the token is signed for ${addressOf(source)}: use the instance's own host name`,
    lasts: "probably",
  };
}

/** 28000 has three sources, told apart by the function that raised it (src/backend/libpq/auth.c, miscinit.c). */
function refusedUser(failure: Failure): Explanation {
  const { source, routine, text } = failure;
  const where = addressOf(source);
  const user = JSON.stringify(source.user);
  if (routine === "InitializeSessionUserId") {
    return {
      message: `${where} has no role ${user} that may log in`,
      mend: "correct the user in source.url, or create the role WITH LOGIN",
      lasts: "lasting",
    };
  }
  if (routine === "ClientAuthentication" && source.tls === "disable") {
    return {
      message: `${where} does not let ${user} in without TLS: ${text}`,
      mend: "set source.tls to verify-full, or allow the connection in pg_hba.conf",
      lasts: "lasting",
    };
  }
  if (routine === "ClientAuthentication") {
    return {
      message: `${where} does not let ${user} in from here: ${text}`,
      mend: "allow the connection in pg_hba.conf",
      lasts: "lasting",
    };
  }
  if (source.auth === "iam") return refusedToken(failure);
  return {
    message: `${where} refused the login of ${user}: ${text}`,
    mend: "correct user and password; a role with rds_iam needs source.auth iam",
    lasts: "lasting",
  };
}

function missingRight({ source, kind, text }: Failure): Explanation {
  const role = quoteName(source.user);
  return kind === "replication"
    ? {
        message: `the role ${role} may not replicate: ${text}`,
        mend: `ALTER ROLE ${role} REPLICATION; on RDS: GRANT rds_replication TO ${role}`,
        lasts: "lasting",
      }
    : {
        message: `the role ${role} may not connect to ${JSON.stringify(source.database)}: ${text}`,
        mend: `GRANT CONNECT ON DATABASE ${quoteName(source.database)} TO ${role}`,
        lasts: "lasting",
      };
}

/** By Node's codes of system calls and name lookups. */
function fromNetwork({ code, source, text }: Failure): Explanation | undefined {
  const where = source.host.startsWith("/") ? `${source.host}/.s.PGSQL.${source.port}` : addressOf(source);
  const lasts = "probably";
  switch (code) {
    case "ECONNREFUSED":
      return {
        message: `nothing listens at ${where}`,
        mend: "start Postgres, or correct host and port in source.url",
        lasts,
      };
    case "ENOENT":
      return {
        message: `there is no socket ${where}`,
        mend: "start Postgres, or correct the host in source.url",
        lasts,
      };
    case "ENOTFOUND":
      return {
        message: `there is no host ${JSON.stringify(source.host)}`,
        mend: "correct the host in source.url",
        lasts,
      };
    case "EAI_AGAIN":
      return {
        message: `the host ${JSON.stringify(source.host)} cannot be looked up now`,
        mend: "check the network's DNS",
        lasts,
      };
    case "ETIMEDOUT":
    case "EHOSTUNREACH":
    case "ENETUNREACH":
      return noAnswer(where);
    default:
      if (!/^E[A-Z]+$/.test(code) || code === "EPROTO") return undefined;
      return {
        message: `the connection to ${where} failed: ${text} (${code})`,
        mend: "check that Postgres is what answers there",
        lasts,
      };
  }
}

function noAnswer(where: string): Explanation {
  return {
    message: `${where} does not answer`,
    mend: "check host and port, and that security groups, firewalls and routes let this machine through",
    lasts: "probably",
  };
}

/** By OpenSSL's verification codes (https://nodejs.org/api/tls.html#x509-certificate-error-codes) and Node's. */
function fromTls({ code, source, text, certificateNames }: Failure): Explanation | undefined {
  const where = addressOf(source);
  switch (code) {
    case "UNABLE_TO_GET_ISSUER_CERT":
    case "UNABLE_TO_GET_ISSUER_CERT_LOCALLY":
    case "UNABLE_TO_VERIFY_LEAF_SIGNATURE":
    case "SELF_SIGNED_CERT_IN_CHAIN":
    case "DEPTH_ZERO_SELF_SIGNED_CERT":
      return {
        message: `the certificate of ${where} is not signed by an authority that pgstage trusts (${code})`,
        mend: `set source.ca to the PEM file of its authority${rdsBundleHint(source.host)}`,
        lasts: "lasting",
      };
    case "ERR_TLS_CERT_ALTNAME_INVALID":
    case "HOSTNAME_MISMATCH":
      return {
        message: `the certificate of ${where} is for another host${certificateNames === "" ? "" : `: ${certificateNames}`}`,
        mend: "write the name that the certificate has into source.url; on RDS that is the instance's endpoint, not a CNAME of yours",
        lasts: "lasting",
      };
    case "CERT_HAS_EXPIRED":
    case "CERT_NOT_YET_VALID":
    case "CERT_REVOKED":
      return {
        message: `the certificate of ${where} is not valid now (${code})`,
        mend: "renew the server's certificate, or correct this machine's clock",
        lasts: "probably",
      };
    default:
      if (!/^(ERR_(SSL|TLS|OSSL)_|EPROTO$|CERT_|UNABLE_TO_)/.test(code)) return undefined;
      return {
        message: `no TLS connection to ${where}: ${text} (${code})`,
        mend: "check source.tls and source.ca, and the TLS versions that the server offers",
        lasts: "probably",
      };
  }
}

/** https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/UsingWithRDS.SSL.html */
function rdsBundleHint(host: string): string {
  const region = rdsRegion(host) ?? "";
  if (region === "") return "";
  return `; for RDS in ${region}: https://truststore.pki.rds.amazonaws.com/${region}/${region}-bundle.pem`;
}

/** Errors that pg makes itself have no code. The library's version is pinned, and so its texts. */
function fromClient({ source, text }: Failure): Explanation {
  const where = addressOf(source);
  switch (text) {
    case "timeout expired":
      return noAnswer(where);
    case "The server does not support SSL connections":
      return {
        message: `${where} has no TLS`,
        mend: "turn on ssl at the server; only in a network that you trust: source.tls disable",
        lasts: "lasting",
      };
    case "Connection terminated unexpectedly":
    case "Connection terminated":
      return {
        message: `${where} closed the connection`,
        mend: "look into the server's log",
        lasts: "probably",
      };
    default:
      return {
        message: `the connection to ${where} failed: ${text}`,
        mend: "look into the server's log",
        lasts: "probably",
      };
  }
}

function quoteName(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}
