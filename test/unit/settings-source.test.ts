import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir, userInfo } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import { loadSettings } from "../../src/settings/load.ts";
import type { SourceSettings } from "../../src/settings/settings.ts";
import { problemsOf } from "./settings-support.ts";

const folder = mkdtempSync(join(tmpdir(), "settings-source-"));
afterAll(() => rmSync(folder, { recursive: true }));

const STAGE = { PGSTAGE_STAGE_URL: "file:///stage", HOME: folder };

type Env = Record<string, string>;

const sourceOf = (env: Env): SourceSettings => loadSettings({ env: { ...STAGE, ...env } }).source;
const ofUrl = (url: string, env: Env = {}): SourceSettings => sourceOf({ PGSTAGE_SOURCE_URL: url, ...env });

const problemsWith = (env: Env): string => problemsOf({ ...STAGE, ...env }).join("\n");

function file(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

describe("source.url", () => {
  it.each([
    ["postgres://u:p@h:6543/d", { host: "h", port: 6543, user: "u", password: "p", database: "d" }],
    ["postgresql://u@h/d", { host: "h", port: 5432, user: "u", database: "d" }],
    ["postgres://u@h", { host: "h", user: "u", database: "u" }],
    ["postgres://u:p%40%2F%23%25%3A%20%C3%A4+@h/d", { password: "p@/#%: ä+" }],
    ["postgres://u:a:b@h/d", { password: "a:b" }],
    ["postgres://us%40er:p@h/my%23d%2Fb", { user: "us@er", database: "my#d/b" }],
    ["postgres://u@[::1]:5433/d", { host: "::1", port: 5433, tls: "disable" }],
    ["postgres://u@%2Fvar%2Frun%2Fpostgresql/d", { host: "/var/run/postgresql", tls: "disable" }],
    [
      "postgres:///d?host=/var/run/postgresql&user=u",
      { host: "/var/run/postgresql", user: "u", database: "d" },
    ],
    ["postgres://u:p@/d?host=/tmp&port=5433", { host: "/tmp", port: 5433, user: "u", password: "p" }],
    ["postgres://u@h/d?password=a+b&dbname=e", { password: "a+b", database: "e" }],
    ["postgres://u@h/d?sslmode=require&channel_binding=require&connect_timeout=5", { tls: "require" }],
    ["postgres://u@h/d?sslmode=verify-ca", { tls: "verify-full" }],
    ["postgres://u@h/d?sslmode=prefer", { tls: "verify-full" }],
    ["postgres://u@localhost/d?sslmode=require", { tls: "require" }],
  ])("%s", (url, expected) => {
    expect(ofUrl(url)).toMatchObject(expected);
  });

  it("gives back whatever was percent-encoded into it", () => {
    const text = fc.string({ unit: "binary", minLength: 1 });
    fc.assert(
      fc.property(text, text, text, (user, password, database) => {
        const [u, p, d] = [user, password, database].map(encodeURIComponent);
        expect(ofUrl(`postgres://${u}:${p}@h/${d}`)).toMatchObject({ user, password, database });
      }),
    );
  });

  it.each([
    ["mysql://u:hunter2@h/d", "does not begin with postgres://"],
    ["postgres://u:hunter2#x@h/d", "a # or a %"],
    ["postgres://u:1#hunter2@h/d", "a # or a %"],
    ["postgres://u:hunter2%zz@h/d", "a % that must be encoded"],
    ["postgres://u:hunter2 @h/d", "holds a blank"],
    ["postgres://u:hunter2/x@h/d", "cannot be read"],
    ["postgres://u:%ff%fehunter2@h/d", "not UTF-8"],
    ["postgres://u:hunter2@h1:5432,h2:5432/d", "one host"],
    ["postgres://u:hunter2@h1,h2/d", "names several hosts"],
    ["postgres://u:hunter2@h/d?options=-c%20x%3D1", 'a parameter "options" that pgstage does not know'],
    ["postgres://u:hunter2@h/d?sslmode=maybe", 'an unknown sslmode "maybe"'],
    ["postgres://u:hunter2@h:0/d", "the port is not a number from 1 to 65535"],
    ["postgres://u:hunter2@h/d?port=hunter2", "the port is not a number"],
  ])("%s is refused without its password", (url, expected) => {
    const found = problemsWith({ PGSTAGE_SOURCE_URL: url });
    expect(found).toContain("source.url (PGSTAGE_SOURCE_URL): ");
    expect(found).toContain(expected);
    expect(found).not.toContain("hunter2");
  });
});

describe("libpq's variables", () => {
  const PG = { PGHOST: "db", PGPORT: "6000", PGUSER: "me", PGPASSWORD: "pw", PGDATABASE: "app" };

  it("are the source where there is no URL", () => {
    const ca = file("ca.pem", "-----BEGIN CERTIFICATE-----\n");
    expect(sourceOf({ ...PG, PGSSLMODE: "require", PGSSLROOTCERT: ca })).toMatchObject({
      host: "db",
      port: 6000,
      user: "me",
      password: "pw",
      database: "app",
      tls: "require",
      ca,
    });
  });

  it("fill in what a URL leaves out, as in psql", () => {
    expect(ofUrl("postgres://you@other/x", PG)).toMatchObject({
      host: "other",
      port: 6000,
      user: "you",
      password: "pw",
      database: "x",
    });
  });

  it("have libpq's defaults", () => {
    const { username } = userInfo();
    expect(sourceOf({ PGHOST: "db" })).toMatchObject({ user: username, database: username, port: 5432 });
    expect(sourceOf({ PGDATABASE: "app" })).toMatchObject({ host: "localhost", tls: "disable" });
  });

  it("or a URL must be there", () => {
    expect(problemsWith({})).toContain("source.url (PGSTAGE_SOURCE_URL): is required");
  });

  it("name the password's file", () => {
    const passFile = file("pgpass", "*:*:*:*:x\n");
    expect(sourceOf({ PGHOST: "db", PGPASSFILE: passFile })).toMatchObject({ passFile });
    expect(sourceOf({ PGHOST: "db", PGPASSFILE: join(folder, "none") })).not.toHaveProperty("passFile");
    expect(sourceOf({ ...PG, PGPASSFILE: passFile })).not.toHaveProperty("passFile");
  });
});

describe("password", () => {
  const url = "postgres://u:fromurl@h/d";

  it("comes from its own settings before the URL", () => {
    const passwordFile = file("password", "x\n");
    expect(ofUrl(url, { PGSTAGE_SOURCE_PASSWORD: " own" })).toMatchObject({ password: " own" });
    const fromFile = ofUrl(url, { PGSTAGE_SOURCE_PASSWORD_FILE: passwordFile });
    expect(fromFile).toMatchObject({ passwordFile });
    expect(fromFile).not.toHaveProperty("password");
  });

  it("is given once, and its file can be read", () => {
    const passwordFile = file("password", "x\n");
    expect(
      problemsWith({
        PGSTAGE_SOURCE_URL: url,
        PGSTAGE_SOURCE_PASSWORD: "hunter2",
        PGSTAGE_SOURCE_PASSWORD_FILE: passwordFile,
      }),
    ).toBe("source.password (PGSTAGE_SOURCE_PASSWORD): is given beside source.passwordFile: set one of them");
    expect(
      problemsWith({ PGSTAGE_SOURCE_URL: url, PGSTAGE_SOURCE_PASSWORD_FILE: join(folder, "none") }),
    ).toContain("none cannot be read (ENOENT)");
    expect(problemsWith({ PGSTAGE_SOURCE_URL: url, PGSTAGE_SOURCE_PASSWORD_FILE: folder })).toContain(
      "is a directory",
    );
  });
});

describe("IAM", () => {
  const env = { PGSTAGE_SOURCE_AUTH: "iam", PGSTAGE_SOURCE_URL: "postgres://u@h/d" };

  it("uses no password, not even one that lies around", () => {
    const source = sourceOf({ ...env, PGPASSWORD: "x", PGSTAGE_SOURCE_REGION: "eu-west-1" });
    expect(source).toMatchObject({ auth: "iam", region: "eu-west-1", tls: "verify-full" });
    expect(source).not.toHaveProperty("password");
  });

  it("verifies the server on loopback, too: a tunnel ends there", () => {
    expect(sourceOf({ ...env, PGSTAGE_SOURCE_URL: "postgres://u@localhost/d" }).tls).toBe("verify-full");
  });

  it.each([
    [
      { PGSTAGE_SOURCE_PASSWORD: "hunter2" },
      "source.auth (PGSTAGE_SOURCE_AUTH): is iam, which makes its own password: remove source.password",
    ],
    [
      { PGSTAGE_SOURCE_TLS: "disable" },
      "source.tls (PGSTAGE_SOURCE_TLS): is disable, but source.auth iam needs TLS",
    ],
  ])("conflicts with %j", (extra, expected) => {
    const found = problemsWith({ ...env, ...extra });
    expect(found).toContain(expected);
    expect(found).not.toContain("hunter2");
  });
});

describe("TLS", () => {
  it.each([
    ["postgres://u@db.example.com/d", "verify-full"],
    ["postgres://u@10.0.0.1/d", "verify-full"],
    ["postgres://u@localhost/d", "disable"],
    ["postgres://u@127.0.0.7/d", "disable"],
    ["postgres://u@127.example.com/d", "verify-full"],
    ["postgres:///d?host=/tmp", "disable"],
  ])("of %s is %s by default", (url, tls) => {
    expect(ofUrl(url).tls).toBe(tls);
  });

  it("is what its setting says before anything else", () => {
    expect(ofUrl("postgres://u@localhost/d?sslmode=disable", { PGSTAGE_SOURCE_TLS: "verify-full" }).tls).toBe(
      "verify-full",
    );
    expect(sourceOf({ PGHOST: "db", PGSSLMODE: "require", PGSTAGE_SOURCE_TLS: "disable" }).tls).toBe(
      "disable",
    );
  });

  it("does not exist on sockets", () => {
    expect(problemsWith({ PGHOST: "/tmp", PGSTAGE_SOURCE_TLS: "verify-full" })).toContain(
      "no TLS on Unix sockets",
    );
  });

  it("trusts a file only if there is a certificate in it", () => {
    const empty = file("empty.pem", "nothing");
    expect(problemsWith({ PGHOST: "db", PGSTAGE_SOURCE_CA: empty })).toContain("holds no PEM certificate");
    expect(problemsWith({ PGHOST: "db", PGSTAGE_SOURCE_CA: join(folder, "none") })).toContain(
      "cannot be read (ENOENT)",
    );
    expect(problemsWith({ PGHOST: "db", PGSSLROOTCERT: join(folder, "none") })).toContain(
      "cannot be read (ENOENT)",
    );
  });
});
