import { spawn, type ChildProcess } from "node:child_process";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import { watchProcess } from "../../src/embedded/watchdog.ts";

/** A line of JSON that a child printed; `atMs` is when it arrived, by performance.now(). */
export interface Line {
  readonly msg?: string;
  readonly atMs: number;
  readonly [field: string]: unknown;
}

/** Clock ticks a second in /proc (USER_HZ), the same on every Linux that Node runs on. */
const TICKS_PER_SECOND = 100;

/** A process whose JSON lines, memory and CPU time are looked at; it never outlives this one. */
export class Child {
  readonly lines: Line[] = [];
  readonly ended: Promise<number | null>;
  readonly #child: ChildProcess;
  readonly #said: string[] = [];
  #over = false;
  #wake: () => void = () => {};

  constructor(command: string, args: readonly string[], env: Readonly<Record<string, string>>) {
    this.#child = spawn(command, args, {
      env: {
        PATH: process.env["PATH"],
        HOME: process.env["HOME"],
        NODE_OPTIONS: process.env["NODE_OPTIONS"],
        ...env,
      },
      stdio: ["pipe", "pipe", "pipe"],
      detached: true,
    });
    const release = watchProcess(this.pid, 0);
    this.ended = new Promise((resolve, reject) => {
      this.#child.on("error", reject).on("close", (code) => {
        release();
        this.#over = true;
        this.#wake();
        resolve(code);
      });
    });
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      if (stream) createInterface(stream).on("line", (text) => this.#hear(text));
    }
  }

  #hear(text: string): void {
    this.#said.push(text);
    if (this.#said.length > 2000) this.#said.splice(0, 1000);
    if (text.startsWith("{")) this.lines.push({ ...(JSON.parse(text) as object), atMs: performance.now() });
    this.#wake();
  }

  get isOver(): boolean {
    return this.#over;
  }

  /** Its last lines. */
  get said(): string {
    return this.#said.slice(-20).join("\n");
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** The first line that fits, from the `from`th on. Rejects if the process ends before. */
  async line(fits: string | ((line: Line) => boolean), withinMs = 600_000): Promise<Line> {
    const test = typeof fits === "string" ? (line: Line): boolean => line.msg === fits : fits;
    const deadline = performance.now() + withinMs;
    for (let at = 0; ;) {
      for (; at < this.lines.length; at++) {
        const line = this.lines[at];
        if (line && test(line)) return line;
      }
      if (this.#over || performance.now() > deadline) {
        const why = this.#over ? "ended" : "was silent";
        throw new Error(`a child ${why} before ${String(fits)}:\n${this.said}`);
      }
      const woken = new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      await Promise.race([woken, delay(1000)]);
    }
  }

  /** Peak resident memory so far, in bytes (VmHWM of proc(5)). */
  peakBytes(): number {
    return 1024 * Number(/^VmHWM:\s+(\d+) kB$/m.exec(this.#proc("status"))?.[1]);
  }

  /** Resident memory now, in bytes. */
  residentBytes(): number {
    return 1024 * Number(/^VmRSS:\s+(\d+) kB$/m.exec(this.#proc("status"))?.[1]);
  }

  /** CPU time of all its threads so far, in seconds (fields 14 and 15 of proc_pid_stat(5)). */
  cpuSeconds(): number {
    const fields = this.#proc("stat")
      .replace(/^.*\) /, "")
      .split(" ");
    return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
  }

  #proc(file: string): string {
    return readFileSync(`/proc/${this.pid}/${file}`, "utf8");
  }

  /** SIGTERM, and resolves when it is gone. */
  async stop(): Promise<void> {
    if (!this.#over) this.#child.kill("SIGTERM");
    await this.ended;
  }

  async kill(): Promise<void> {
    if (!this.#over) this.#child.kill("SIGKILL");
    await this.ended;
  }
}
