import { execFile } from "node:child_process";
import { chown, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);

/** Options for child_process; empty: as ourselves. */
export type ServerUser = { readonly uid: number; readonly gid: number } | Record<string, never>;

/** `nobody` on Debian, Red Hat and Alpine alike, where `id` cannot tell. */
const NOBODY = 65_534;

/** Postgres refuses to run as root: there it runs as `nobody`, everywhere else as ourselves. */
export async function serverUser(): Promise<ServerUser> {
  if (process.getuid?.() !== 0) return {};
  return { uid: await nobody("-u"), gid: await nobody("-g") };
}

async function nobody(flag: "-u" | "-g"): Promise<number> {
  try {
    const { stdout } = await run("id", [flag, "nobody"]);
    return /^\d+\s*$/.test(stdout) ? Number(stdout) : NOBODY;
  } catch {
    return NOBODY;
  }
}

/** A new folder that belongs to `user`, in the first of `parents` that `user` can enter. */
export async function makeScratch(user: ServerUser, parents: readonly string[]): Promise<string> {
  const tried: string[] = [];
  for (const parent of new Set([...parents, tmpdir(), "/tmp", "/var/tmp"])) {
    const folder = await mkdtemp(join(parent, "pgstage-postgres-")).catch(() => null);
    tried.push(parent);
    if (folder === null) continue;
    if (user.uid !== undefined) await chown(folder, user.uid, user.gid);
    if (await canUse(folder, user)) return folder;
    await rm(folder, { recursive: true, force: true });
  }
  throw new Error(`no folder that the Postgres server's user can use; tried ${tried.join(", ")}`);
}

async function canUse(folder: string, user: ServerUser): Promise<boolean> {
  const probe = 'cd "$1" && mkdir probe && rmdir probe';
  return run("/bin/sh", ["-c", probe, "sh", folder], { ...user, cwd: "/" }).then(
    () => true,
    () => false,
  );
}
