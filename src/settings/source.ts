import { accessSync, constants, existsSync, readFileSync, statSync } from "node:fs";
import { homedir, userInfo } from "node:os";
import { isIP } from "node:net";
import { join } from "node:path";
import { messageOf } from "../core/errors.ts";
import type { SourceSettings } from "./settings.ts";
import { libpqParts, parseSourceUrl, type ConnectionParts } from "./source-url.ts";
import type { Values } from "./values.ts";

const MAX_NAME_BYTES = 63;
/** Room for what the name of the second publication adds. */
const MAX_PUBLICATION_BYTES = 48;

/** The `source.*` settings, checked together; what is wrong goes into `values`. */
export function sourceSettings(values: Values, env: Readonly<Record<string, string>>): SourceSettings {
  const parts = connectionParts(values, env);
  const host = parts.host ?? "localhost";
  const user = parts.user ?? osUser(values);
  const auth = values.text("source.auth") === "iam" ? "iam" : "password";
  checkNames(values);
  const ca = readableFile(values, "source.ca") ?? parts.sslrootcert;
  const region = values.text("source.region");
  return {
    host,
    port: portOf(values, parts.port),
    user,
    database: parts.database ?? user,
    auth,
    ...credentials(values, auth, parts.password, env),
    ...(region === undefined ? {} : { region }),
    tls: tlsMode(values, { host, auth, sslmode: parts.sslmode }),
    ...(ca === undefined ? {} : { ca: checkedCertificates(values, ca) }),
    slot: values.text("source.slot") ?? "",
    publication: values.text("source.publication") ?? "",
    schemas: values.list("source.schemas"),
    include: values.list("source.include"),
    exclude: values.list("source.exclude"),
    manage: values.flag("source.manage") ?? true,
  };
}

/** What the URL says; what it leaves out is libpq's environment, as in psql. */
function connectionParts(values: Values, env: Readonly<Record<string, string>>): ConnectionParts {
  const fromEnv = libpqParts(env);
  const url = values.text("source.url");
  if (url === undefined) {
    if (fromEnv.host === undefined && fromEnv.database === undefined) {
      values.refuse(
        "source.url",
        "is required: postgres://user:password@host:5432/db, or libpq's PGHOST, PGUSER, PGDATABASE",
      );
    }
    return checkedHost(values, fromEnv);
  }
  try {
    const fromUrl = Object.entries(parseSourceUrl(url)).filter(([, value]) => value !== undefined);
    return checkedHost(values, { ...fromEnv, ...Object.fromEntries(fromUrl) });
  } catch (error) {
    values.refuse("source.url", messageOf(error));
    return {};
  }
}

function checkedHost(values: Values, parts: ConnectionParts): ConnectionParts {
  if (parts.host?.includes(","))
    values.refuse("source.url", "names several hosts: name the one that can be written to");
  return parts;
}

function portOf(values: Values, text = "5432"): number {
  const port = /^\d{1,5}$/.test(text) ? Number(text) : 0;
  if (port < 1 || port > 65_535) values.refuse("source.url", "the port is not a number from 1 to 65535");
  return port;
}

function osUser(values: Values): string {
  try {
    return userInfo().username;
  } catch {
    // A container's user without an entry in /etc/passwd.
    values.refuse("source.url", "names no user");
    return "";
  }
}

type Credentials = Pick<SourceSettings, "password" | "passwordFile" | "passFile">;

function credentials(
  values: Values,
  auth: SourceSettings["auth"],
  given: string | undefined,
  env: Readonly<Record<string, string>>,
): Credentials {
  const password = values.text("source.password");
  const passwordFile = readableFile(values, "source.passwordFile");
  if (password !== undefined && passwordFile !== undefined) {
    values.refuse("source.password", "is given beside source.passwordFile: set one of them");
  }
  if (auth === "iam") {
    const extra = password === undefined ? passwordFile && "source.passwordFile" : "source.password";
    if (extra) values.refuse("source.auth", `is iam, which makes its own password: remove ${extra}`);
    return {};
  }
  if (passwordFile !== undefined) return { passwordFile };
  const known = password ?? given;
  return known === undefined ? passFileOf(env) : { password: known };
}

function passFileOf(env: Readonly<Record<string, string>>): Credentials {
  const path = env["PGPASSFILE"] ?? join(env["HOME"] ?? homedir(), ".pgpass");
  return existsSync(path) ? { passFile: path } : {};
}

function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || (isIP(host) === 4 && host.startsWith("127."));
}

/** libpq's modes as ours; `prefer` and `allow` promise nothing, so they count as not said. */
const TLS_BY_SSLMODE: Readonly<Record<string, SourceSettings["tls"] | undefined>> = {
  disable: "disable",
  require: "require",
  "verify-ca": "verify-full",
  "verify-full": "verify-full",
};

function tlsMode(
  values: Values,
  source: { host: string; auth: SourceSettings["auth"]; sslmode: string | undefined },
): SourceSettings["tls"] {
  const isSocket = source.host.startsWith("/");
  const local = isSocket || isLoopback(source.host);
  const said = values.text("source.tls") as SourceSettings["tls"] | undefined;
  const { sslmode } = source;
  if (
    sslmode !== undefined &&
    !["allow", "prefer"].includes(sslmode) &&
    TLS_BY_SSLMODE[sslmode] === undefined
  ) {
    values.refuse("source.url", `has an unknown sslmode ${JSON.stringify(sslmode)}`);
  }
  if (isSocket && said !== undefined && said !== "disable") {
    values.refuse("source.tls", `is ${said}, but Postgres has no TLS on Unix sockets`);
  }
  if (isSocket) return "disable";
  const mode =
    said ??
    TLS_BY_SSLMODE[sslmode ?? ""] ??
    (local && source.auth === "password" ? "disable" : "verify-full");
  if (mode === "disable" && source.auth === "iam") {
    values.refuse("source.tls", "is disable, but source.auth iam needs TLS: RDS refuses tokens in the clear");
  }
  return mode;
}

function checkNames(values: Values): void {
  const slot = values.text("source.slot") ?? "";
  if (!/^[a-z0-9_]{1,63}$/.test(slot)) {
    values.refuse(
      "source.slot",
      `${JSON.stringify(slot)} is not a slot name: 1 to ${MAX_NAME_BYTES} of a-z, 0-9 and _`,
    );
  }
  const publication = values.text("source.publication") ?? "";
  if (publication === "" || Buffer.byteLength(publication) > MAX_PUBLICATION_BYTES) {
    values.refuse("source.publication", `is not a name of 1 to ${MAX_PUBLICATION_BYTES} bytes`);
  }
  if (values.list("source.schemas").length === 0) values.refuse("source.schemas", "names no schema");
  for (const key of ["source.include", "source.exclude"] as const) {
    for (const glob of values.list(key)) {
      if (!/[.*]/.test(glob)) {
        values.refuse(
          key,
          `${JSON.stringify(glob)} matches no table: write schema.table, for instance public.${glob}`,
        );
      }
    }
  }
}

/** The path, if it is set and the file can be read; an unreadable one is a problem. */
function readableFile(values: Values, key: "source.passwordFile" | "source.ca"): string | undefined {
  const path = values.text(key);
  if (path === undefined) return undefined;
  try {
    accessSync(path, constants.R_OK);
    if (!statSync(path).isDirectory()) return path;
    values.refuse(key, `${path} is a directory`);
  } catch (error) {
    values.refuse(
      key,
      `${path} cannot be read (${(error as NodeJS.ErrnoException).code ?? "unknown error"})`,
    );
  }
  return undefined;
}

/** A file without certificates would not be an error of TLS: it would just trust nobody. */
function checkedCertificates(values: Values, path: string): string {
  try {
    if (!readFileSync(path, "utf8").includes("-----BEGIN CERTIFICATE-----")) {
      values.refuse("source.ca", `${path} holds no PEM certificate`);
    }
  } catch (error) {
    values.refuse(
      "source.ca",
      `${path} cannot be read (${(error as NodeJS.ErrnoException).code ?? "unknown error"})`,
    );
  }
  return path;
}
