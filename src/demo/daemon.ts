import { spawn, type ChildProcess } from "node:child_process";
import { createWriteStream } from "node:fs";
import { extname } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { watchProcess } from "../embedded/watchdog.ts";
import type { StatusJson } from "../observe/status-json.ts";

/** More than shutdown.timeout. */
const DRAIN_SECONDS = 30;
const LAST_LINES = 5;

/** A line of the daemon's log. */
export interface LogLine {
  readonly level: string;
  readonly msg: string;
  readonly [field: string]: unknown;
}

export interface DaemonOptions {
  readonly env: Readonly<Record<string, string>>;
  /** File that gets all it says. */
  readonly log: string;
  readonly port: number;
  readonly onLine: (line: LogLine) => void;
}

/** `pgstage run` as a child process: the real daemon, with settings from the environment. */
export class DaemonProcess {
  readonly exited: Promise<number | null>;
  readonly #child: ChildProcess;
  readonly #port: number;
  readonly #last: string[] = [];

  constructor(options: DaemonOptions) {
    this.#port = options.port;
    const self = fileURLToPath(new URL(`../main${extname(import.meta.url)}`, import.meta.url));
    this.#child = spawn(process.execPath, [...process.execArgv, self, "run"], {
      env: { ...options.env },
      stdio: ["ignore", "pipe", "pipe"],
      // Ctrl-C is for the demo, which then drains the daemon.
      detached: true,
    });
    const release = this.#child.pid === undefined ? () => {} : watchProcess(this.#child.pid, DRAIN_SECONDS);
    this.exited = new Promise((resolve, reject) => {
      this.#child.on("error", reject);
      this.#child.on("close", (code) => {
        release();
        resolve(code);
      });
    });
    this.exited.catch(() => {});
    this.#read(options);
  }

  #read({ log, onLine }: DaemonOptions): void {
    const file = createWriteStream(log);
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      if (!stream) continue;
      createInterface(stream).on("line", (text) => {
        file.write(`${text}\n`);
        this.#last.push(text);
        if (this.#last.length > LAST_LINES) this.#last.shift();
        const line = parse(text);
        if (line) onLine(line);
      });
    }
  }

  /** What `/status` says; null while it is not there. */
  async status(): Promise<StatusJson | null> {
    try {
      const answer = await fetch(`http://127.0.0.1:${this.#port}/status`, {
        signal: AbortSignal.timeout(2000),
      });
      return answer.ok ? ((await answer.json()) as StatusJson) : null;
    } catch {
      return null;
    }
  }

  get isRunning(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** The last lines that it wrote. */
  lastWords(): string {
    return this.#last.join("\n");
  }

  /** The error that it stopped with, if that was one for an operator. */
  lastError(): { readonly message?: string; readonly mend?: string } | null {
    const error = parse(this.#last.findLast((text) => text.includes('"err"')) ?? "")?.["err"];
    return typeof error === "object" ? error : null;
  }

  /** Drains it. Resolves with its exit code. */
  async stop(): Promise<number | null> {
    if (this.isRunning) this.#child.kill("SIGTERM");
    return this.exited;
  }

  /** Ends it at once. */
  async kill(): Promise<void> {
    if (this.isRunning) this.#child.kill("SIGKILL");
    await this.exited.catch(() => {});
  }
}

function parse(text: string): LogLine | null {
  try {
    const line = JSON.parse(text) as LogLine;
    return typeof line === "object" && typeof line.msg === "string" ? line : null;
  } catch {
    return null;
  }
}
