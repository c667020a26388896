import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Client } from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { OperatorError, TransientError } from "../../src/core/errors.ts";
import {
  connectSource,
  type ConnectionKind,
  type ConnectOptions,
  type SourceAccess,
} from "../../src/postgres/connect.ts";
import { createAuthority } from "../support/certificates.ts";
import { startPostgres, type EmbeddedPostgres } from "../support/postgres.ts";

const folder = mkdtempSync(join(tmpdir(), "connect-"));
const authority = createAuthority("test authority");
const stranger = createAuthority("another authority");

let pg: EmbeddedPostgres;
let access: SourceAccess;

function file(name: string, text: string, mode = 0o600): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  chmodSync(path, mode);
  return path;
}

beforeAll(async () => {
  const identity = authority.issue(["localhost"]);
  pg = await startPostgres({
    auth: "scram-sha-256",
    password: "s3cret pässword",
    settings: { ssl: "on", ssl_cert_file: "server.crt", ssl_key_file: "server.key" },
    files: { "server.crt": identity.certificate, "server.key": identity.key },
  });
  access = {
    host: "localhost",
    port: pg.port,
    user: "postgres",
    database: "postgres",
    auth: "password",
    password: "s3cret pässword",
    tls: "verify-full",
    ca: file("ca.pem", authority.certificate),
    slot: "pgstage",
  };
  await pg.sql(`CREATE ROLE reader LOGIN PASSWORD 'r'; CREATE ROLE nobody NOLOGIN PASSWORD 'n';
    CREATE ROLE crowded LOGIN REPLICATION CONNECTION LIMIT 0 PASSWORD 'c'`);
  await pg.sql("CREATE DATABASE closed");
  await pg.sql("REVOKE CONNECT ON DATABASE closed FROM public");
});

afterAll(async () => {
  await pg?.destroy();
  rmSync(folder, { recursive: true });
});

async function using<T>(
  source: SourceAccess,
  kind: ConnectionKind,
  work: (client: Client) => Promise<T>,
): Promise<T> {
  const client = await connectSource(source, kind);
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

/** The error that a connection ends with; fails if there is none. */
async function failure(
  change: Partial<SourceAccess>,
  kind: ConnectionKind = "sql",
  options: ConnectOptions = {},
): Promise<OperatorError | TransientError> {
  const client = await connectSource({ ...access, ...change }, kind, options).catch(
    (error: unknown) => error,
  );
  if (client instanceof OperatorError || client instanceof TransientError) {
    expect(JSON.stringify([client.message, "mend" in client ? client.mend : ""])).not.toContain("s3cret");
    return client;
  }
  throw new Error(`no such failure: ${String(client)}`);
}

const ENCRYPTED = "SELECT ssl, version FROM pg_stat_ssl WHERE pid = pg_backend_pid()";

describe("a connection", () => {
  it.each(["sql", "copy", "replication"] as const)("for %s: verified TLS and SCRAM", async (kind) => {
    expect(await using(access, kind, async (client) => (await client.query(ENCRYPTED)).rows)).toEqual([
      { ssl: true, version: "TLSv1.3" },
    ]);
  });

  it("encrypts without verification for require", async () => {
    const { ca: _ca, ...rest } = access;
    const rows = await using(
      { ...rest, host: "127.0.0.1", tls: "require" },
      "sql",
      async (client) => (await client.query(ENCRYPTED)).rows,
    );
    expect(rows).toMatchObject([{ ssl: true }]);
  });

  it("does not encrypt for disable", async () => {
    const rows = await using(
      { ...access, tls: "disable" },
      "sql",
      async (client) => (await client.query(ENCRYPTED)).rows,
    );
    expect(rows).toMatchObject([{ ssl: false }]);
  });

  it("has a name that tells whose it is", async () => {
    const name = (slot: string) =>
      using(
        { ...access, slot },
        "replication",
        async (client) => (await client.query("SHOW application_name")).rows,
      );
    expect(await name("pgstage")).toEqual([{ application_name: "pgstage" }]);
    expect(await name("orders")).toEqual([{ application_name: "pgstage orders" }]);
  });

  it("does not take what it is not told from the environment", async () => {
    Object.assign(process.env, {
      PGOPTIONS: "-c search_path=evil",
      PGAPPNAME: "evil",
      PGSSLNEGOTIATION: "direct",
    });
    try {
      const rows = await using(
        access,
        "sql",
        async (client) => (await client.query("SHOW search_path")).rows,
      );
      expect(rows).toEqual([{ search_path: "pg_catalog" }]);
    } finally {
      for (const name of ["PGOPTIONS", "PGAPPNAME", "PGSSLNEGOTIATION"]) delete process.env[name];
    }
  });

  it("that is cut does not end the process, but the next query", async () => {
    const client = await connectSource(access, "sql");
    const { rows } = await client.query<{ pid: number }>("SELECT pg_backend_pid() AS pid");
    const ended = new Promise<void>((resolve) => void client.once("end", resolve));
    await pg.sql("SELECT pg_terminate_backend($1)", [rows[0]?.pid]);
    await ended;
    await expect(client.query("SELECT 1")).rejects.toThrow();
  });
});

describe("the password", () => {
  const without = (): SourceAccess => {
    const { password: _password, ...rest } = access;
    return rest;
  };

  it("comes from a file that is read for every connection", async () => {
    const passwordFile = file("password", "wrong\n");
    expect(await failure({ ...without(), passwordFile, password: undefined as never })).toMatchObject({
      message: `Postgres at localhost:${pg.port} refused the password of "postgres"`,
      mend: `correct the password in ${passwordFile}`,
    });
    file("password", "s3cret pässword\r\n");
    await using({ ...without(), passwordFile }, "replication", async (client) => client.query("SELECT 1"));
  });

  it("comes from a .pgpass, if nobody else can read it", async () => {
    const line = `*:*:other:*:x\n# comment\nlocalhost:${pg.port}:postgres:postgres:s3cret pässword\n`;
    const passFile = file("pgpass", line);
    await using({ ...without(), passFile }, "sql", async (client) => client.query("SELECT 1"));
    chmodSync(passFile, 0o644);
    expect((await failure({ ...without(), password: undefined as never, passFile })).message).toBe(
      'Postgres asks for the password of "postgres", and there is none',
    );
  });

  it("that is wrong needs an operator if it is a setting, and patience if its file may change", async () => {
    const running = { atStart: false };
    const refused = /^Postgres at localhost:\d+ refused the password of "postgres"/;
    expect(await failure({ password: "wrong" }, "sql", running)).toMatchObject({ name: "OperatorError" });
    const passwordFile = file("password", "wrong");
    const later = await failure({ password: undefined as never, passwordFile }, "sql", running);
    expect(later).toBeInstanceOf(TransientError);
    expect(later.message).toMatch(refused);
  });

  it("file that is gone is named", async () => {
    const passwordFile = join(folder, "none");
    expect(await failure({ password: undefined as never, passwordFile })).toMatchObject({
      message: expect.stringContaining("ENOENT"),
      mend: "set source.passwordFile to a readable file",
    });
  });
});

describe("refusals say what to do", () => {
  it.each([
    ["an unknown role", { user: "ghost" }, ["refused the password", "source.password"]],
    ["a database that is not there", { database: "nope" }, ['there is no database "nope"', "source.url"]],
    [
      "a database that is not for the role",
      { user: "reader", password: "r", database: "closed" },
      ['may not connect to "closed"', 'GRANT CONNECT ON DATABASE "closed" TO "reader"'],
    ],
    ["a role that may not log in", { user: "nobody", password: "n" }, ["may log in", "WITH LOGIN"]],
  ] as const)("%s", async (_case, change, [message, mend]) => {
    const error = await failure(change);
    expect(error).toMatchObject({ name: "OperatorError", mend: expect.stringContaining(mend) });
    expect(error.message).toContain(message);
  });

  it("a role without REPLICATION", async () => {
    expect(await failure({ user: "reader", password: "r" }, "replication")).toMatchObject({
      name: "OperatorError",
      message: expect.stringContaining('the role "reader" may not replicate'),
      mend: 'ALTER ROLE "reader" REPLICATION; on RDS: GRANT rds_replication TO "reader"',
    });
  });

  it("too many connections pass", async () => {
    const error = await failure({ user: "crowded", password: "c" });
    expect(error).toBeInstanceOf(TransientError);
    expect(error.message).toContain("has no connection left");
  });

  it("pg_hba.conf that wants TLS", async () => {
    const own = await startPostgres({ hba: "local all all trust\nhostssl all all all trust\n" });
    try {
      const error = await failure({ port: own.port, host: "127.0.0.1", tls: "disable" });
      expect(error).toMatchObject({
        name: "OperatorError",
        mend: expect.stringContaining("source.tls to verify-full"),
      });
      expect(error.message).toContain("without TLS");
    } finally {
      await own.destroy();
    }
  });

  it("a server without TLS", async () => {
    const own = await startPostgres();
    try {
      expect(await failure({ port: own.port })).toMatchObject({
        name: "OperatorError",
        message: `localhost:${own.port} has no TLS`,
        mend: expect.stringContaining("source.tls disable"),
      });
    } finally {
      await own.destroy();
    }
  });
});

describe("the server's certificate", () => {
  it("of a stranger is refused", async () => {
    const ca = file("stranger.pem", stranger.certificate);
    for (const change of [{ ca }, { ca: undefined as never }]) {
      const error = await failure(change, "sql", { atStart: false });
      expect(error).toMatchObject({ name: "OperatorError", mend: expect.stringContaining("source.ca") });
      expect(error.message).toContain("is not signed by an authority that pgstage trusts");
    }
  });

  it("for another name is refused, and the name said", async () => {
    const error = await failure({ host: "127.0.0.1" });
    expect(error).toMatchObject({ name: "OperatorError", mend: expect.stringContaining("not a CNAME") });
    expect(error.message).toContain("is for another host: DNS:localhost");
  });

  it("that has expired is refused", async () => {
    const old = authority.issue(["localhost"], { from: new Date(0), to: new Date(1e9) });
    const own = await startPostgres({
      settings: { ssl: "on", ssl_cert_file: "old.crt", ssl_key_file: "old.key" },
      files: { "old.crt": old.certificate, "old.key": old.key },
    });
    try {
      const error = await failure({ port: own.port });
      expect(error.message).toContain("is not valid now (CERT_HAS_EXPIRED)");
    } finally {
      await own.destroy();
    }
  });

  it("is trusted by the system's certificates, too", async () => {
    process.env["NODE_EXTRA_CA_CERTS"] = access.ca;
    try {
      const { ca: _ca, ...rest } = access;
      await using(rest, "sql", async (client) => client.query("SELECT 1"));
    } finally {
      delete process.env["NODE_EXTRA_CA_CERTS"];
    }
  });

  it("needs a file with certificates", async () => {
    const ca = file("garbage.pem", "-----BEGIN CERTIFICATE-----\nxx\n-----END CERTIFICATE-----\n");
    expect(await failure({ ca })).toMatchObject({ mend: "set source.ca to a readable PEM file" });
  });
});
