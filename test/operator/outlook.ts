import { execFile } from "node:child_process";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import type { Browser, Page } from "playwright-core";
import type { StatusJson } from "../../src/observe/status-json.ts";
import { builtMain } from "../support/build.ts";
import type { Daemon, LogLine } from "../support/daemon.ts";

const run = promisify(execFile);

/** What one of the places says that an operator looks at. */
export interface Account {
  readonly state: string;
  /** Ids of the notices that are errors, in order; null where the place does not have ids. */
  readonly problems: readonly string[] | null;
  /** The words about what is wrong, numbers and names of requests left out. */
  readonly text: string;
  /** Seconds; null where it is not known. */
  readonly lagSeconds: number | null;
}

export interface Look {
  readonly page: Account;
  readonly log: Account;
  readonly status: Account;
  readonly command: Account;
  readonly metrics: Account;
}

/** Everything that an operator has in front of him: the page, the log, `/status`, `pgstage status` and `/metrics`. */
export class Outlook {
  readonly daemon: Daemon;
  readonly page: Page;
  readonly #env: Readonly<Record<string, string | undefined>>;

  private constructor(daemon: Daemon, page: Page, env: Readonly<Record<string, string | undefined>>) {
    this.daemon = daemon;
    this.page = page;
    this.#env = env;
  }

  /** `settings`: those that the daemon was started with, source and stage among them. */
  static async open(
    daemon: Daemon,
    browser: Browser,
    settings: Readonly<Record<string, string>>,
  ): Promise<Outlook> {
    const page = await browser.newPage({ viewport: { width: 1_180, height: 800 } });
    await page.goto(daemon.address);
    const port = new URL(daemon.address).port;
    return new Outlook(daemon, page, { PATH: process.env["PATH"], ...settings, PGSTAGE_HTTP_PORT: port });
  }

  /** Looks everywhere until `fits` everywhere, and says how long that took; rejects with the last look. */
  async until(fits: (account: Account, place: keyof Look) => boolean, withinMs: number): Promise<number> {
    const started = performance.now();
    for (;;) {
      const look = await this.look();
      const wrong = (Object.keys(look) as (keyof Look)[]).filter((place) => !fits(look[place], place));
      if (wrong.length === 0) return performance.now() - started;
      if (performance.now() - started > withinMs) {
        throw new Error(
          `${wrong.join(", ")} did not say so in time: ${JSON.stringify(look, null, 1)}\n${this.daemon.story()}`,
        );
      }
      await delay(100);
    }
  }

  async look(): Promise<Look> {
    const [page, status, command, metrics] = await Promise.all([
      this.#readPage(),
      this.daemon.status(),
      this.command("--json").then((text) => accountOf(JSON.parse(text) as StatusJson)),
      this.#readMetrics(),
    ]);
    return {
      page,
      log: logAccount(this.daemon.lines),
      status: status === null ? NOTHING : accountOf(status),
      command,
      metrics,
    };
  }

  /** What `pgstage status` prints, however it exits. */
  async command(...options: string[]): Promise<string> {
    const child = run(process.execPath, [await builtMain(), "status", ...options], { env: this.#env });
    return child.then(
      ({ stdout }) => stdout,
      (error: { stdout?: string }) => error.stdout ?? "",
    );
  }

  async #readPage(): Promise<Account> {
    const seen = await this.page.evaluate(() => {
      const text = (selector: string): string => document.querySelector(selector)?.textContent ?? "";
      return {
        state: text("#state"),
        summary: text("#summary"),
        lag: text("#figures dd"),
        problems: document.querySelectorAll("#notices li.error").length,
      };
    });
    const state = STATES_ON_PAGE[seen.state] ?? seen.state;
    return {
      state,
      problems: null,
      text: `${seen.problems} errors: ${seen.summary}`,
      lagSeconds: secondsOf(seen.lag),
    };
  }

  async #readMetrics(): Promise<Account> {
    const text = await fetch(`${this.daemon.address}/metrics`)
      .then((answer) => answer.text())
      .catch(() => "");
    const value = (name: string): number | null => {
      const found = new RegExp(`^${name} (\\S+)$`, "m").exec(text);
      return found === null ? null : Number(found[1]);
    };
    const problems = [
      ...(value("pgstage_source_up") === 0 ? ["source-unreachable"] : []),
      ...(value("pgstage_store_up") === 0 ? ["store-failing"] : []),
    ];
    return {
      state: /^pgstage_state\{state="(\w+)"\} 1$/m.exec(text)?.[1] ?? "",
      problems,
      text: "",
      lagSeconds: value("pgstage_lag_seconds"),
    };
  }
}

const NOTHING: Account = { state: "", problems: null, text: "", lagSeconds: null };

const STATES_ON_PAGE: Readonly<Record<string, string | undefined>> = {
  Starting: "starting",
  "Copying and streaming": "copying",
  Streaming: "streaming",
  Standby: "standby",
  Blocked: "blocked",
};

function accountOf({ state, summary, notices, lag }: StatusJson): Account {
  const problems = notices.filter(({ level }) => level === "error").map(({ id }) => id);
  return { state, problems, text: summary, lagSeconds: lag.lag_seconds };
}

/** The newest lag line; or the last line of a daemon that stopped. */
function logAccount(lines: readonly LogLine[]): Account {
  const stopped = lines.findLast(({ msg }) => msg === "stopped");
  if (stopped !== undefined) {
    const { message = "", mend = "" } = stopped["err"] as { message?: string; mend?: string };
    return { state: "blocked", problems: ["blocked"], text: `${message} ${mend}`, lagSeconds: null };
  }
  const lag = lines.findLast(({ msg }) => msg === "lag");
  const problems = (lag?.["problems"] as string[] | undefined) ?? [];
  const told = lines.filter(
    ({ notice, msg }) => problems.includes(String(notice)) && !msg.startsWith("over"),
  );
  return {
    state: typeof lag?.["state"] === "string" ? lag["state"] : "",
    problems,
    text: said(told.at(-1)),
    lagSeconds: (lag?.["lag_seconds"] as number | null | undefined) ?? null,
  };
}

const UNITS: Readonly<Record<string, number | undefined>> = { s: 1, min: 60, h: 3600 };

/** `1 min 30 s` on the page; null if it is not known. */
function secondsOf(words: string): number | null {
  const parts = [...words.matchAll(/([\d.]+) (s|min|h)\b/g)];
  if (parts.length === 0) return null;
  return parts.reduce((sum, [, number, unit]) => sum + Number(number) * (UNITS[unit ?? ""] ?? 0), 0);
}

/** A line's sentence for people. */
function said(line: LogLine | undefined): string {
  const message = line?.["message"];
  return typeof message === "string" ? message : "";
}
