import { spawn, type ChildProcess } from "node:child_process";
import { readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import { freePort } from "../../src/embedded/ports.ts";
import { watchProcess } from "../../src/embedded/watchdog.ts";
import type { StatusJson } from "../../src/observe/status-json.ts";
import { builtMain } from "./build.ts";

/** A line of the daemon's log. */
export interface LogLine {
  readonly level: string;
  readonly msg: string;
  readonly [field: string]: unknown;
}

/** How a daemon ended: by itself with `code`, or by `signal`. */
export interface Ending {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export interface DaemonOptions {
  /** `postgres://…` */
  readonly source: string;
  /** The stage's settings and credentials, as TestStage has them. */
  readonly stage: Readonly<Record<string, string>>;
  /** Settings by their names in the environment, over those that make a test fast. */
  readonly settings?: Readonly<Record<string, string>>;
  /** The command with its options, in place of `run`. */
  readonly command?: readonly string[];
  /** Options for node itself. */
  readonly nodeOptions?: readonly string[];
}

/** Short intervals and small files, so that a test sees in seconds what production sees in hours. */
const FAST: Readonly<Record<string, string>> = {
  PGSTAGE_FLUSH_INTERVAL: "200ms",
  PGSTAGE_DISCOVERY_INTERVAL: "500ms",
  PGSTAGE_SNAPSHOT_RANGE_BYTES: "64KiB",
  PGSTAGE_FILE_MAX_BYTES: "256KiB",
  PGSTAGE_LOG_LAG_INTERVAL: "1s",
  PGSTAGE_LOG_LEVEL: "debug",
};

const WAIT_MS = 60_000;
const POLL_MS = 50;

const running = new Set<Daemon>();

/** Ends every daemon that is left, for `afterEach`: a test that failed has not. */
export async function killDaemons(): Promise<void> {
  await Promise.all([...running].map((daemon) => daemon.kill()));
}

/** `pgstage run` as a child process: the real daemon, compiled, with nothing but its settings. */
export class Daemon {
  readonly lines: LogLine[] = [];
  readonly exited: Promise<Ending>;
  readonly #child: ChildProcess;
  readonly #port: number;
  readonly #said: string[] = [];
  #listeners: (() => void)[] = [];
  #ending: Ending | null = null;

  static async start(options: DaemonOptions): Promise<Daemon> {
    return new Daemon(await builtMain(), await freePort(), options);
  }

  private constructor(main: string, port: number, options: DaemonOptions) {
    this.#port = port;
    const env = {
      PATH: process.env["PATH"],
      NODE_OPTIONS: process.env["NODE_OPTIONS"],
      PGSTAGE_SOURCE_URL: options.source,
      PGSTAGE_HTTP_PORT: String(port),
      // Newer versions of Node start faster with it.
      NODE_COMPILE_CACHE: join(dirname(main), "../../compiled"),
      ...FAST,
      ...options.stage,
      ...options.settings,
    };
    const args = [...(options.nodeOptions ?? []), main, ...(options.command ?? ["run"])];
    const child = spawn(process.execPath, args, { env, stdio: ["ignore", "pipe", "pipe"], detached: true });
    this.#child = child;
    const release = child.pid === undefined ? () => {} : watchProcess(child.pid, 0);
    running.add(this);
    this.exited = new Promise((resolve, reject) => {
      child.on("error", reject);
      child.on("close", (code, signal) => {
        release();
        running.delete(this);
        this.#ending = { code, signal };
        this.#tell();
        resolve(this.#ending);
      });
    });
    for (const stream of [child.stdout, child.stderr]) {
      if (stream) createInterface(stream).on("line", (text) => this.#hear(text));
    }
  }

  #hear(text: string): void {
    this.#said.push(text);
    try {
      const line = JSON.parse(text) as LogLine;
      if (typeof line.msg === "string") this.lines.push(line);
    } catch {
      // Not a log line: it is in `said`.
    }
    this.#tell();
  }

  #tell(): void {
    const listeners = this.#listeners;
    this.#listeners = [];
    for (const listener of listeners) listener();
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  get isRunning(): boolean {
    return this.#ending === null;
  }

  /** Everything that it wrote, or the last lines of it. */
  said(lines = Number.POSITIVE_INFINITY): string {
    return this.#said.slice(-lines).join("\n");
  }

  /** The end of its log without what it says all the time, for a failure's message. */
  story(lines = 40): string {
    const telling = this.#said.filter((text) => !/"level":"debug"|"msg":"lag"/.test(text));
    return telling.slice(-lines).join("\n");
  }

  /** The last line with its error, of a daemon that stopped by itself. */
  get lastError(): string {
    return JSON.stringify(this.lines.findLast((line) => line.level === "error") ?? null);
  }

  /** The first line from the `from`th on that fits; rejects if the daemon ends before it, or after a minute. */
  async line(fits: string | ((line: LogLine) => boolean), from = 0): Promise<LogLine> {
    const test = typeof fits === "string" ? (line: LogLine): boolean => line.msg === fits : fits;
    const deadline = performance.now() + WAIT_MS;
    let at = from;
    for (;;) {
      for (; at < this.lines.length; at++) {
        const line = this.lines[at];
        if (line && test(line)) return line;
      }
      if (!this.isRunning) throw this.#problem(`ended before it said ${String(fits)}`);
      if (performance.now() > deadline) throw this.#problem(`did not say ${String(fits)} in time`);
      await this.#news(deadline - performance.now());
    }
  }

  async #news(patienceMs: number): Promise<void> {
    const given = new AbortController();
    const heard = new Promise<void>((resolve) => this.#listeners.push(resolve));
    await Promise.race([heard, delay(patienceMs, undefined, { signal: given.signal }).catch(() => {})]);
    given.abort();
  }

  /** Where it answers HTTP, without a closing slash. */
  get address(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  /** What `/status` says; null while it is not there. */
  async status(): Promise<StatusJson | null> {
    try {
      const answer = await fetch(`${this.address}/status`, {
        signal: AbortSignal.timeout(2000),
      });
      return answer.ok ? ((await answer.json()) as StatusJson) : null;
    } catch {
      return null;
    }
  }

  /** Polls `/status` until it fits; rejects if the daemon ends before, or in time. */
  async until(fits: (status: StatusJson) => boolean, what: string, withinMs = WAIT_MS): Promise<StatusJson> {
    const deadline = performance.now() + withinMs;
    let last: StatusJson | null = null;
    for (;;) {
      last = (await this.status()) ?? last;
      if (last && fits(last)) return last;
      if (!this.isRunning) throw this.#problem(`ended before ${what}`);
      if (performance.now() > deadline)
        throw this.#problem(`not ${what} in time: ${JSON.stringify(last).slice(0, 2000)}`);
      await delay(POLL_MS);
    }
  }

  async untilState(state: StatusJson["state"], withinMs = WAIT_MS): Promise<StatusJson> {
    return this.until((status) => status.state === state, state, withinMs);
  }

  #problem(text: string): Error {
    return new Error(`the daemon ${text}\n${this.story()}`);
  }

  /** SIGKILL; resolves when it is gone. */
  async kill(): Promise<void> {
    if (this.isRunning) this.#child.kill("SIGKILL");
    await this.exited;
  }

  signal(signal: "SIGTERM" | "SIGSTOP" | "SIGCONT"): void {
    this.#child.kill(signal);
  }

  /** SIGTERM; rejects unless it then drains and exits with 0. */
  async drain(): Promise<void> {
    this.signal("SIGTERM");
    const { code, signal } = await this.exited;
    if (code !== 0) throw this.#problem(`ended with ${code ?? signal} instead of draining`);
  }

  /** Peak resident memory so far, in bytes. */
  async peakBytes(): Promise<number> {
    const status = await readFile(`/proc/${this.pid}/status`, "utf8");
    return Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
  }
}
