import { execFile, spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterEach, beforeEach, expect, test } from "vitest";
import { builtMain } from "../support/build.ts";

let home: string;
let child: ChildProcess | null = null;

beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), "pgstage-test-"));
});
afterEach(async () => {
  child?.kill("SIGKILL");
  child = null;
  await rm(home, { recursive: true, force: true, maxRetries: 20, retryDelay: 500 });
});

interface Demo {
  readonly process: ChildProcess;
  said: string;
  readonly exited: Promise<number | null>;
}

/** The demo as a process of its own, with variables around it that are not its business. */
async function demo(...args: string[]): Promise<Demo> {
  const env = {
    ...process.env,
    PGHOST: "elsewhere",
    PGSTAGE_SOURCE_URL: "postgres://elsewhere/",
    PGSTAGE_FLUSH_INTERVAL: "1h",
  };
  child = spawn(process.execPath, [await builtMain(), "demo", "--dir", join(home, "demo"), ...args], {
    env,
    stdio: ["ignore", "pipe", "pipe"],
  });
  const running: Demo = {
    process: child,
    said: "",
    exited: once(child, "close").then(([code]) => code as number | null),
  };
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding("utf8").on("data", (text: string) => (running.said += text));
  }
  return running;
}

interface Process {
  readonly pid: number;
  readonly parent: number;
  readonly command: string;
}

async function processes(): Promise<Process[]> {
  const { stdout } = await promisify(execFile)("ps", ["-A", "-ww", "-o", "pid=,ppid=,args="], {
    maxBuffer: 1e8,
  });
  return stdout.split("\n").flatMap((line) => {
    const [, pid, parent, command] = /^\s*(\d+)\s+(\d+)\s+(.*)$/.exec(line) ?? [];
    return command === undefined ? [] : [{ pid: Number(pid), parent: Number(parent), command }];
  });
}

/** All that a process has started, and what that has. */
async function descendants(pid: number): Promise<Process[]> {
  const all = await processes();
  const found: Process[] = [];
  const add = (parent: number): void => {
    for (const child of all.filter((each) => each.parent === parent)) {
      found.push(child);
      add(child.pid);
    }
  };
  add(pid);
  return found;
}

async function stillThere(of: readonly Process[]): Promise<string[]> {
  const now = await processes();
  return of
    .filter(({ pid, command }) => now.some((each) => each.pid === pid && each.command === command))
    .map(({ command }) => command);
}

/** Folders that servers had, from their command lines: a process that a server has just forked still has its. */
function serverFolders(of: readonly Process[]): string[] {
  const folders = of.flatMap(
    ({ command }) => /postgres -D (\S+pgstage-postgres-\w+)\/data/.exec(command)?.[1] ?? [],
  );
  return [...new Set(folders)];
}

test("proves every table equal, and leaves its folder only", { timeout: 300_000 }, async () => {
  const running = await demo("--seconds", "10");
  expect(await running.exited, running.said).toBe(0);
  expect(running.said).toContain("300,000 rows");
  expect(running.said).toMatch(/public\.flights +30\d,\d{3}/);
  expect(running.said).toMatch(
    /\nEqual: 1\d tables with 3\d\d,\d{3} rows, compared row by row at [0-9A-F]{8}\/[0-9A-F]{8}/,
  );
  expect(running.said).toMatch(/\nEqual: 1\d views, \d+ files with 3\d\d,\d{3} rows loaded/);
  expect(running.said).not.toContain("\u001b");
  expect((await readdir(join(home, "demo"))).toSorted()).toEqual([
    ".pgstage-demo",
    "daemon.log",
    "pgstage.duckdb",
    "stage",
  ]);
});

for (const [how, signal] of [
  ["Ctrl-C ends it and cleans up", "SIGINT"],
  ["killed, it takes everything with it", "SIGKILL"],
] as const) {
  test(how, { timeout: 300_000 }, async () => {
    const running = await demo();
    await expect.poll(() => running.said, { timeout: 120_000 }).toContain("The daemon starts");
    const started = await descendants(running.process.pid ?? 0);
    const folders = serverFolders(started);
    expect(folders).toHaveLength(1);
    expect(started.map(({ command }) => command)).toContainEqual(expect.stringMatching(/main\.[jt]s run$/));
    running.process.kill(signal);
    expect(await running.exited, running.said).toBe(signal === "SIGINT" ? 0 : null);
    await expect.poll(() => stillThere(started), { timeout: 60_000 }).toEqual([]);
    await expect.poll(() => folders.some((folder) => existsSync(folder)), { timeout: 60_000 }).toBe(false);
  });
}

test("a folder that is not its own is left alone", async () => {
  const running = await demo("--dir", home);
  await writeFile(join(home, "precious"), "");
  expect(await running.exited).toBe(3);
  expect(running.said).toContain("is there already, and not from a demo");
  expect(running.said).not.toContain("    at ");
  expect(existsSync(join(home, "precious"))).toBe(true);
});
