import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { OperatorError, TransientError } from "../../src/core/errors.ts";
import { connectSource, type ConnectionKind, type SourceAccess } from "../../src/postgres/connect.ts";
import { rdsToken } from "../../src/postgres/rds-token.ts";
import { rdsRegion } from "../../src/postgres/source-access.ts";
import { createAuthority } from "../support/certificates.ts";
import { startPostgres, type EmbeddedPostgres } from "../support/postgres.ts";
import { startRdsFront, type RdsFront } from "../support/rds-front.ts";

const SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const AWS_ENV = {
  AWS_ACCESS_KEY_ID: "AKIDEXAMPLE",
  AWS_SECRET_ACCESS_KEY: SECRET,
  AWS_SESSION_TOKEN: "session/token+with=signs",
  AWS_EC2_METADATA_DISABLED: "true",
  AWS_CONFIG_FILE: "/nonexistent",
  AWS_SHARED_CREDENTIALS_FILE: "/nonexistent",
};
const AWS_NAMES = [...Object.keys(AWS_ENV), "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"];

const folder = mkdtempSync(join(tmpdir(), "iam-"));
const saved = Object.fromEntries(AWS_NAMES.map((name) => [name, process.env[name]]));
let pg: EmbeddedPostgres;
let front: RdsFront;
let access: SourceAccess;

beforeAll(async () => {
  const authority = createAuthority("test authority");
  const ca = join(folder, "ca.pem");
  writeFileSync(ca, authority.certificate);
  pg = await startPostgres();
  await pg.sql("CREATE ROLE pgstage LOGIN REPLICATION");
  front = await startRdsFront({
    identity: authority.issue(["localhost"]),
    serverPort: pg.port,
    rules: {
      secretAccessKey: SECRET,
      region: "eu-west-3",
      host: "localhost",
      users: ["pgstage"],
      replication: true,
      now: Date.now,
    },
  });
  access = {
    host: "localhost",
    port: front.port,
    user: "pgstage",
    database: "postgres",
    auth: "iam",
    region: "eu-west-3",
    tls: "verify-full",
    ca,
    slot: "pgstage",
  };
});

afterAll(async () => {
  await front?.close();
  await pg?.destroy();
  rmSync(folder, { recursive: true });
});

beforeEach(() => {
  for (const name of AWS_NAMES) delete process.env[name];
  Object.assign(process.env, AWS_ENV);
});

afterEach(() => {
  for (const [name, value] of Object.entries(saved)) {
    if (value === undefined) delete process.env[name];
    else process.env[name] = value;
  }
});

async function whoAmI(
  kind: ConnectionKind,
  change: Partial<SourceAccess> = {},
  atStart = true,
): Promise<unknown> {
  const client = await connectSource({ ...access, ...change }, kind, { atStart });
  try {
    return (await client.query("SELECT current_user::text AS name")).rows[0];
  } finally {
    await client.end();
  }
}

/** Changes the rules for one login that must fail. */
async function refusedWith(
  rules: Partial<RdsFront["rules"]>,
  kind: ConnectionKind,
  atStart = true,
): Promise<Error> {
  const before = { ...front.rules };
  Object.assign(front.rules, rules);
  try {
    const result = await whoAmI(kind, {}, atStart).catch((error: unknown) => error);
    if (result instanceof Error) return result;
    throw new Error("the login was taken");
  } finally {
    Object.assign(front.rules, before);
  }
}

describe("an RDS token", () => {
  it("is what the documentation says", async () => {
    const host = "orders.c1abcd.eu-central-1.rds.amazonaws.com";
    const { region: _region, ...source } = access;
    const token = await rdsToken({ ...source, host, port: 5432, user: "me & you" });
    const url = new URL(`https://${token}`);
    expect(url.host).toBe(`${host}:5432`);
    expect(url.pathname).toBe("/");
    expect(Object.fromEntries(url.searchParams)).toMatchObject({
      Action: "connect",
      DBUser: "me & you",
      "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
      "X-Amz-Expires": "900",
      "X-Amz-Security-Token": "session/token+with=signs",
      "X-Amz-SignedHeaders": "host",
      "X-Amz-Signature": expect.stringMatching(/^[0-9a-f]{64}$/),
      "X-Amz-Credential": expect.stringMatching(/^AKIDEXAMPLE\/\d{8}\/eu-central-1\/rds-db\/aws4_request$/),
    });
  });

  it.each(["sql", "copy", "replication"] as const)("logs in for %s, by its signature", async (kind) => {
    expect(await whoAmI(kind)).toEqual({ name: "pgstage" });
  });

  it("is made anew for every connection", async () => {
    const before = front.tokens.length;
    const times = [Date.now(), Date.now() + 2000];
    const { Date: RealDate } = globalThis;
    try {
      for (const time of times) {
        // The signer dates a token by the clock, in seconds.
        globalThis.Date = class extends RealDate {
          constructor(...args: [] | [number]) {
            super(...((args.length === 0 ? [time] : args) as [number]));
          }
        } as DateConstructor;
        await whoAmI("sql");
      }
    } finally {
      globalThis.Date = RealDate;
    }
    expect(new Set(front.tokens.slice(before)).size).toBe(2);
  });
});

describe("the region", () => {
  it("is the setting's, else the host name's, else AWS's", async () => {
    const { region: _region, ...source } = access;
    const regionOf = async (change: Partial<SourceAccess>): Promise<string | undefined> =>
      /X-Amz-Credential=[^&]*%2F\d{8}%2F([^%]+)/.exec(await rdsToken({ ...source, ...change }))?.[1];
    process.env["AWS_REGION"] = "us-east-2";
    const host = "x.cluster-abc.ap-southeast-5.rds.amazonaws.com";
    expect(await regionOf({ host, region: "sa-east-1" })).toBe("sa-east-1");
    expect(await regionOf({ host })).toBe("ap-southeast-5");
    expect(await regionOf({ host: "db.example.com" })).toBe("us-east-2");
  });

  it.each([
    ["x.abc.eu-west-1.rds.amazonaws.com", "eu-west-1"],
    ["x.cluster-ro-abc.us-gov-west-1.rds.amazonaws.com", "us-gov-west-1"],
    ["x.abc.cn-north-1.rds.amazonaws.com.cn", "cn-north-1"],
    ["X.ABC.EU-WEST-1.RDS.AMAZONAWS.COM", "eu-west-1"],
    ["eu-west-1.rds.amazonaws.com.evil.example", undefined],
    ["db.example.com", undefined],
  ])("of %s is %s", (host, region) => {
    expect(rdsRegion(host)).toBe(region);
  });

  it("that nobody tells is asked for", async () => {
    const { region: _region, ...source } = access;
    const error = await connectSource(source, "sql").catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(OperatorError);
    expect(error).toMatchObject({ mend: "set source.region" });
  });
});

describe("a refused token", () => {
  const HOUR_MS = 3_600_000;

  it.each([
    ["wrong", { secretAccessKey: "another" }],
    ["expired", { now: () => Date.now() + HOUR_MS }],
    ["revoked", { users: [] }],
  ])("that is %s names what may be missing", async (_case, rules) => {
    const error = await refusedWith(rules, "sql");
    expect(error).toBeInstanceOf(OperatorError);
    expect(error.message).toBe(`Postgres at localhost:${front.port} refused the IAM token of "pgstage"`);
    const { mend } = error as OperatorError;
    for (const part of ['GRANT rds_iam TO "pgstage"', "rds-db:connect", "/pgstage"])
      expect(mend).toContain(part);
    expect(mend).not.toContain("rds_replication");
    expect(`${error.message} ${mend}`).not.toMatch(/X-Amz|AKID/);
  });

  it.each([
    ["revoked", { users: [] }],
    ["not meant for replication", { replication: false }],
  ])("for a replication connection that is %s names the parameter, too", async (_case, rules) => {
    const error = await refusedWith(rules, "replication");
    expect(error.message).toContain("for a replication connection");
    const { mend } = error as OperatorError;
    for (const part of [
      "rds.iam_auth_for_replication = 1",
      'GRANT rds_replication TO "pgstage"',
      "rds_iam",
      "rds-db:connect",
    ]) {
      expect(mend).toContain(part);
    }
  });

  it("is tried again while the daemon runs, and taken when it is good again", async () => {
    const error = await refusedWith({ users: [] }, "replication", false);
    expect(error).toBeInstanceOf(TransientError);
    expect(error.message).toContain("rds.iam_auth_for_replication");
    expect(await whoAmI("replication")).toEqual({ name: "pgstage" });
  });
});

describe("no AWS credentials", () => {
  it("are an operator's business at start, and may come back later", async () => {
    for (const name of ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"])
      delete process.env[name];
    const atStart = await whoAmI("sql").catch((error: unknown) => error);
    expect(atStart).toBeInstanceOf(OperatorError);
    expect(atStart).toMatchObject({ mend: expect.stringContaining("AWS credentials") });
    expect(await whoAmI("sql", {}, false).catch((error: unknown) => error)).toBeInstanceOf(TransientError);
  });
});

it("a token is never sent in the clear", async () => {
  const before = front.tokens.length;
  const error = await whoAmI("sql", { tls: "disable" }).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(OperatorError);
  expect(error).toMatchObject({ mend: expect.stringContaining("source.tls") });
  expect(front.tokens.length).toBe(before);
});
