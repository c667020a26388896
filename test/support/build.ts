import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { access, cp, mkdir, mkdtemp, readdir, readFile, rename, rm, stat } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join, resolve } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);

const ROOT = resolve(import.meta.dirname, "../..");
/** Inside the project, so that packages resolve; ignored by git. */
const CACHE = join(ROOT, "node_modules/.cache/pgstage-test");
const OLD_MS = 86_400_000;

let built: Promise<string> | null = null;

/**
 * Compiles `src` into a folder of its own, once for every state of the sources, and resolves with its `main.js`: child
 * processes start in half the time that they need with tsx, and dist/ is left alone.
 */
export function builtMain(): Promise<string> {
  built ??= build();
  return built;
}

async function build(): Promise<string> {
  const home = join(CACHE, await hashOfSources());
  const main = join(home, "dist/main.js");
  if (await isThere(main)) return main;
  await mkdir(CACHE, { recursive: true });
  const making = await mkdtemp(join(CACHE, "making-"));
  await cp(join(ROOT, "package.json"), join(making, "package.json"));
  const tsc = join(dirname(createRequire(import.meta.url).resolve("typescript/package.json")), "bin/tsc");
  const args = [tsc, "-p", join(ROOT, "tsconfig.json"), "--outDir", join(making, "dist")];
  const said = await run(process.execPath, args, { cwd: ROOT }).then(
    () => "",
    (error: Error & { stdout?: string }) => error.stdout ?? error.message,
  );
  // Types are not this function's business: tsc writes all the same.
  if (!(await isThere(join(making, "dist/main.js")))) throw new Error(`src does not compile:\n${said}`);
  await rename(making, home).catch(async (error: unknown) => {
    // Another test process was faster.
    if (!(await isThere(main))) throw error;
    await rm(making, { recursive: true, force: true });
  });
  await forgetOld();
  return main;
}

async function hashOfSources(): Promise<string> {
  const hash = createHash("sha256");
  const entries = await readdir(join(ROOT, "src"), { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  for (const file of [join(ROOT, "tsconfig.json"), join(ROOT, "package.json"), ...files.toSorted()]) {
    hash.update(`${file}\0`).update(await readFile(file));
  }
  return hash.digest("hex").slice(0, 16);
}

async function forgetOld(): Promise<void> {
  for (const name of await readdir(CACHE)) {
    const folder = join(CACHE, name);
    const { mtimeMs } = await stat(folder).catch(() => ({ mtimeMs: Date.now() }));
    if (Date.now() - mtimeMs > OLD_MS) await rm(folder, { recursive: true, force: true });
  }
}

async function isThere(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
