import { describe, expect, it } from "vitest";
import { OperatorError, TransientError } from "../../src/core/errors.ts";
import { explainConnectError, type ConnectionKind, type SourceAccess } from "../../src/postgres/connect.ts";

const SOURCE: SourceAccess = {
  host: "orders.c1abcd.il-central-1.rds.amazonaws.com",
  port: 5432,
  user: 'odd"user',
  database: "app",
  auth: "password",
  password: "hunter2",
  tls: "verify-full",
  slot: "pgstage",
};

type Situation = { kind: ConnectionKind; atStart: boolean };

/** The error that pg would give, with the fields that matter. */
function explained(
  fields: {
    readonly message?: string;
    readonly code?: string;
    readonly routine?: string;
    readonly cert?: object;
  },
  change: Partial<SourceAccess> = {},
  situation: Partial<Situation> = {},
): OperatorError | TransientError {
  const error = Object.assign(new Error(fields.message ?? "text"), fields);
  return explainConnectError(error, { ...SOURCE, ...change }, { kind: "sql", atStart: true, ...situation });
}

describe("what lasts and what passes", () => {
  it.each([
    ["28P01", "operator", "operator"],
    ["28000", "operator", "operator"],
    ["3D000", "operator", "operator"],
    ["42501", "operator", "operator"],
    ["08P01", "operator", "operator"],
    ["0A000", "operator", "operator"],
    ["42704", "operator", "operator"],
    ["53300", "transient", "transient"],
    ["53400", "transient", "transient"],
    ["57P01", "transient", "transient"],
    ["57P02", "transient", "transient"],
    ["57P03", "transient", "transient"],
    ["08006", "transient", "transient"],
    ["55000", "operator", "transient"],
    ["XX000", "operator", "transient"],
    ["ECONNREFUSED", "operator", "transient"],
    ["ECONNRESET", "operator", "transient"],
    ["EPIPE", "operator", "transient"],
    ["ETIMEDOUT", "operator", "transient"],
    ["EHOSTUNREACH", "operator", "transient"],
    ["ENOTFOUND", "operator", "transient"],
    ["EAI_AGAIN", "operator", "transient"],
    ["SELF_SIGNED_CERT_IN_CHAIN", "operator", "operator"],
    ["UNABLE_TO_GET_ISSUER_CERT_LOCALLY", "operator", "operator"],
    ["ERR_TLS_CERT_ALTNAME_INVALID", "operator", "operator"],
    ["CERT_HAS_EXPIRED", "operator", "transient"],
    ["ERR_SSL_WRONG_VERSION_NUMBER", "operator", "transient"],
    ["EPROTO", "operator", "transient"],
    ["SOMETHING_NEW", "operator", "transient"],
  ])("%s: %s at start, %s later", (code, atStart, later) => {
    const kinds = { operator: OperatorError, transient: TransientError };
    expect(explained({ code })).toBeInstanceOf(kinds[atStart as "operator"]);
    expect(explained({ code }, {}, { atStart: false })).toBeInstanceOf(kinds[later as "operator"]);
  });

  it("keeps errors that are explained already, and the cause of the others", () => {
    const known = new OperatorError("a", "b");
    expect(explainConnectError(known, SOURCE, { kind: "sql", atStart: true })).toBe(known);
    const passing = new TransientError("no credentials");
    expect(explainConnectError(passing, SOURCE, { kind: "sql", atStart: false })).toBe(passing);
    expect(explained({ code: "3D000" }).cause).toMatchObject({ code: "3D000" });
  });

  it("takes anything for an error", () => {
    for (const thing of [undefined, null, "text", { code: 5 }]) {
      expect(explainConnectError(thing, SOURCE, { kind: "copy", atStart: true })).toBeInstanceOf(
        OperatorError,
      );
    }
  });
});

const said = (error: OperatorError | TransientError): string =>
  error instanceof OperatorError ? `${error.message} → ${error.mend}` : error.message;

describe("what is said", () => {
  it.each([
    [{ code: "08P01" }, "neither RDS Proxy nor a pooler such as PgBouncer"],
    [{ code: "53300" }, "raise max_connections"],
    [{ code: "57P03" }, "is starting up or shutting down (wait for it)"],
    [
      { code: "UNABLE_TO_GET_ISSUER_CERT_LOCALLY" },
      "https://truststore.pki.rds.amazonaws.com/il-central-1/il-central-1-bundle.pem",
    ],
    [{ code: "SELF_SIGNED_CERT_IN_CHAIN" }, "set source.ca"],
    [
      { code: "ERR_TLS_CERT_ALTNAME_INVALID", cert: { subjectaltname: "DNS:x.y.rds.amazonaws.com" } },
      "is for another host: DNS:x.y.rds.amazonaws.com",
    ],
    [{ code: "28000", routine: "auth_failed" }, "a role with rds_iam needs source.auth iam"],
    [{ message: "timeout expired" }, "security groups"],
    [{ message: "Connection terminated unexpectedly" }, "closed the connection"],
  ])("%j: %s", (fields, text) => {
    const message = said(explained(fields));
    expect(message).toContain(text);
    expect(message).toContain("orders.c1abcd.il-central-1.rds.amazonaws.com:5432");
    expect(message).not.toContain("hunter2");
  });

  it("names the limit of replication connections", () => {
    expect(said(explained({ code: "53300" }, {}, { kind: "replication" }))).toContain("max_wal_senders");
  });

  it("quotes names as SQL does", () => {
    const message = said(explained({ code: "42501" }, {}, { kind: "replication" }));
    expect(message).toContain('GRANT rds_replication TO "odd""user"');
  });

  it("writes IPv6 addresses in brackets", () => {
    expect(said(explained({ code: "ECONNREFUSED" }, { host: "::1" }))).toContain(
      "nothing listens at [::1]:5432",
    );
  });
});
