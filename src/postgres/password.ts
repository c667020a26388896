import { readFile, stat } from "node:fs/promises";
import { messageOf, OperatorError } from "../core/errors.ts";
import { rdsToken } from "./rds-token.ts";
import type { SourceAccess } from "./source-access.ts";

/** The password for one connection. Called only when the server asks for one. */
export async function passwordFor(source: SourceAccess): Promise<string> {
  if (source.auth === "iam") return rdsToken(source);
  const password = source.password ?? (await fromFile(source)) ?? (await fromPassFile(source));
  if (password !== undefined && password !== "") return password;
  throw new OperatorError(
    `Postgres asks for the password of ${JSON.stringify(source.user)}, and there is none`,
    "set source.password or source.passwordFile, or source.auth to iam",
  );
}

/** One line; its end does not count, because editors and secret managers add one. */
async function fromFile({ passwordFile }: SourceAccess): Promise<string | undefined> {
  if (passwordFile === undefined) return undefined;
  try {
    return (await readFile(passwordFile, "utf8")).replace(/\r?\n$/, "");
  } catch (error) {
    throw new OperatorError(
      `the password's file cannot be read: ${messageOf(error)}`,
      "set source.passwordFile to a readable file",
      { cause: error },
    );
  }
}

async function fromPassFile(source: SourceAccess): Promise<string | undefined> {
  if (source.passFile === undefined) return undefined;
  const { passFile } = source;
  const info = await stat(passFile).catch(() => undefined);
  // libpq ignores the file then, too.
  if (!info?.isFile() || (info.mode & 0o077) !== 0) return undefined;
  return findPassword(await readFile(passFile, "utf8"), source);
}

/**
 * The password of the first fitting line `host:port:database:user:password`, where `*` fits all and a backslash
 * takes the meaning from `:` and `\` (https://www.postgresql.org/docs/current/libpq-pgpass.html).
 */
export function findPassword(
  passFile: string,
  source: Pick<SourceAccess, "host" | "port" | "database" | "user">,
): string | undefined {
  const wanted = [
    source.host.startsWith("/") ? "localhost" : source.host,
    String(source.port),
    source.database,
    source.user,
  ];
  for (const line of passFile.split(/\r?\n/)) {
    if (line.startsWith("#")) continue;
    const fields = [...line.matchAll(/((?:\\.|[^:\\])*)(?::|$)/g)].map((match) => match[1] ?? "");
    const plain = fields.map((field) => field.replaceAll(/\\(.)/g, "$1"));
    const fits = wanted.every((value, index) => fields[index] === "*" || plain[index] === value);
    if (fits && plain[4]) return plain[4];
  }
  return undefined;
}
