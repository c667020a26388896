import { execFile } from "node:child_process";
import { existsSync, statSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { chromium, type Browser } from "playwright-core";

const ROOT = join(import.meta.dirname, "../..");
const CHROMIUM = "/usr/bin/chromium";

const run = promisify(execFile);

/** A real Chromium, installed if it is missing and that is possible. */
export async function launchBrowser(): Promise<Browser> {
  if (!existsSync(CHROMIUM)) {
    await run(join(ROOT, ".ci/chromium")).catch((cause: unknown) => {
      throw new Error(`${CHROMIUM} is missing; install it: apt-get install -y chromium`, { cause });
    });
  }
  return chromium.launch({
    executablePath: CHROMIUM,
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });
}

/** The browser gets the page's scripts as the compiler makes them: compiles them if they are older than their source. */
export async function compilePage(): Promise<void> {
  const stale = ["page/main", "page/charts", "page/dom", "page/overview", "page/lists", "units"].some(
    (name) => {
      const made = join(ROOT, "dist/observe", `${name}.js`);
      return (
        !existsSync(made) ||
        statSync(made).mtimeMs < statSync(join(ROOT, "src/observe", `${name}.ts`)).mtimeMs
      );
    },
  );
  if (!stale) return;
  // Also emits if another file has a type error; that is for `npm run types` to say.
  await run(process.execPath, [join(ROOT, "node_modules/typescript/bin/tsc"), "-p", ROOT]).catch(() => {});
}
