import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { dirname } from "node:path";
import { SERVER_ENV } from "./binaries.ts";
import type { ServerUser } from "./user.ts";

export type StopMode = "smart" | "fast" | "immediate";

/** https://www.postgresql.org/docs/current/server-shutdown.html */
const SIGNALS = { smart: "SIGTERM", fast: "SIGINT", immediate: "SIGQUIT" } as const;

const LOG_CHARS = 8 * 1024 * 1024;
const KILL_AFTER_MS = 10_000;

/** Somebody else listens on the port that was to be ours. */
export class PortTakenError extends Error {
  override readonly name = "PortTakenError";
}

/** The server process of one data directory, over any number of starts and stops. */
export class Postmaster {
  readonly #program: string;
  readonly #dataDir: string;
  readonly #user: ServerUser;
  #child: ChildProcess | null = null;
  #log = "";

  constructor(program: string, dataDir: string, user: ServerUser) {
    this.#program = program;
    this.#dataDir = dataDir;
    this.#user = user;
  }

  get pid(): number | null {
    return this.#child?.pid ?? null;
  }

  log(): string {
    return this.#log;
  }

  /** Resolves when the server accepts connections. */
  async start(port: number): Promise<void> {
    if (this.#child !== null) throw new Error("the server runs already");
    const child = spawn(this.#program, ["-D", this.#dataDir, "-c", `port=${port}`], {
      ...this.#user,
      env: SERVER_ENV,
      cwd: dirname(this.#dataDir),
      stdio: ["ignore", "ignore", "pipe"],
      // In a session of its own: Ctrl-C in a terminal is for whoever uses the server, not for the server.
      detached: true,
    });
    this.#child = child;
    child.on("exit", () => (this.#child = null));
    await this.#ready(child);
  }

  #ready(child: ChildProcess): Promise<void> {
    let said = "";
    return new Promise((resolve, reject) => {
      child.on("error", reject);
      child.stderr?.setEncoding("utf8").on("data", (text: string) => {
        this.#log = (this.#log + text).slice(-LOG_CHARS);
        if (child.exitCode !== null) return;
        said = (said + text).slice(-65_536);
        if (/database system is ready to accept (read.only )?connections/.test(said)) resolve();
      });
      child.on("close", (code, signal) => {
        const taken = said.includes("could not bind") || said.includes("could not create any TCP/IP sockets");
        const problem = `the Postgres server ended with ${code ?? signal} before it was ready:\n${said.slice(-4000)}`;
        reject(taken ? new PortTakenError(problem) : new Error(problem));
      });
    });
  }

  /** Resolves when the server is down; at once if it is. */
  async stop(mode: StopMode): Promise<void> {
    const child = this.#child;
    if (child === null) return;
    const gone = once(child, "exit");
    child.kill(SIGNALS[mode]);
    await gone;
  }

  /** An immediate stop, by force if it takes too long. */
  async kill(): Promise<void> {
    const child = this.#child;
    if (child === null) return;
    const force = setTimeout(() => child.kill("SIGKILL"), KILL_AFTER_MS);
    await this.stop("immediate");
    clearTimeout(force);
  }
}
