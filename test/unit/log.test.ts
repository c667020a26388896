import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { OperatorError, SettingsError, TransientError } from "../../src/core/errors.ts";
import { FailureLog, RepeatedFailure } from "../../src/observe/failures.ts";
import { lagLine, progressBar } from "../../src/observe/lag-line.ts";
import { createLogger, type Log, type LogOptions } from "../../src/observe/log.ts";
import { scrub, serializeError } from "../../src/observe/log-errors.ts";
import { StatusLine } from "../../src/observe/status-line.ts";

const ESC = "\u001B";

class Screen {
  text = "";
  readonly isTTY: boolean;
  readonly columns = 60;

  constructor(isTTY = false) {
    this.isTTY = isTTY;
  }

  write(text: string): void {
    this.text += text;
  }
}

function logTo(screen: Screen, options: Partial<LogOptions> = {}): Log {
  return createLogger({ level: "info", format: "json", version: "1.2.3", to: screen, env: {}, ...options });
}

/** The JSON lines that `work` logs. */
function linesOf(work: (log: Log) => void): Record<string, unknown>[] {
  const screen = new Screen();
  work(logTo(screen));
  return screen.text
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as Record<string, unknown>);
}

describe("JSON", () => {
  it("is one object a line, with level, time and constant message", () => {
    const lines = linesOf((log) => {
      log.info({ rows: 3, files: ["a"] }, "staged");
      log.debug("not said");
      log.warn("soon");
    });
    expect(lines).toEqual([
      { level: "info", time: expect.any(String), version: "1.2.3", rows: 3, files: ["a"], msg: "staged" },
      { level: "warn", time: expect.any(String), version: "1.2.3", msg: "soon" },
    ]);
    const { time } = lines[0] ?? {};
    expect(new Date(String(time)).toISOString()).toBe(time);
  });

  it("writes LSNs as the contract does and other bigints as numbers", () => {
    const [line] = linesOf((log) =>
      log.info({ staged_lsn: 0x152c0a8n, lastLsn: 1n, slot_bytes: 12n }, "lag"),
    );
    expect(line).toMatchObject({
      staged_lsn: "00000000/0152C0A8",
      lastLsn: "00000000/00000001",
      slot_bytes: 12,
    });
  });

  it("keeps secrets out, even where nobody should have put them", () => {
    const source = { url: "postgres://u:hunter2@h/d", password: "hunter2" };
    const screen = new Screen();
    const log = logTo(screen);
    log.info({ password: "hunter2", source, deep: { source } }, "x");
    log.error({ err: new Error("no way to postgres://u:hunter2@h/d?a=b") }, "x");
    log.error({ err: new TransientError("x", { cause: new Error("s3://k:hunter2@bucket") }) }, "x");
    // The URL of settings is no field that is ever logged; the fields called password are cut.
    expect(screen.text.replaceAll('"url":"postgres://u:hunter2@h/d"', "")).not.toContain("hunter2");
  });
});

describe("errors", () => {
  it("have type, code, what mends them and their causes, and a stack only if they are bugs", () => {
    const cause = Object.assign(new Error("connect ECONNREFUSED"), { code: "ECONNREFUSED" });
    expect(serializeError(new OperatorError("no source", "start it", { cause }))).toEqual({
      type: "OperatorError",
      message: "no source",
      mend: "start it",
      cause: { type: "Error", message: "connect ECONNREFUSED", code: "ECONNREFUSED" },
    });
    for (const error of [new TransientError("x"), new SettingsError(["x"])]) {
      expect(serializeError(error)).not.toHaveProperty("stack");
    }
    expect(serializeError(new TypeError("bug")).stack).toContain("log.test.ts");
  });

  it("of any kind are taken, and a ring of causes ends", () => {
    expect(serializeError("text")).toEqual({ type: "string", message: "text" });
    expect(serializeError(undefined)).toEqual({ type: "undefined", message: "undefined" });
    const ring = new TransientError("ring");
    Object.assign(ring, { cause: ring });
    expect(JSON.stringify(serializeError(ring)).match(/"ring"/g)).toHaveLength(5);
  });

  it.each([
    ["postgres://user:p@ss@host/db", "postgres://user:…@host/db"],
    ["to s3://id:secret@bucket/x and http://a/b", "to s3://id:…@bucket/x and http://a/b"],
    [
      "h:5432/?Action=connect&X-Amz-Signature=abc123&X-Amz-Security-Token=tok",
      "h:5432/?Action=connect&X-Amz-Signature=…&X-Amz-Security-Token=…",
    ],
    ["postgres://user:p/w#@host/db", "postgres://user:…@host/db"],
    ["expected postgres://user:password@host:5432/db", "expected postgres://user:password@host:5432/db"],
    ["http://localhost:8080/a b@c", "http://localhost:8080/a b@c"],
    ["nothing to hide: 12:30 me@example.com", "nothing to hide: 12:30 me@example.com"],
  ])("scrub(%j)", (text, expected) => {
    expect(scrub(text)).toBe(expected);
  });
});

const LAG = {
  state: "streaming",
  lag_seconds: 0.42,
  lag_bytes: 12_288,
  staged_lsn: 0x152c0a8n,
  open_rows: 1234,
  open_bytes: 99_999,
};

describe("pretty", () => {
  it("is for people: no colours, nothing in place, if it is not a terminal", () => {
    const screen = new Screen();
    const log = logTo(screen, { format: "pretty" });
    log.info({ rows: 3 }, "staged");
    log.info(LAG, "lag");
    expect(screen.text).not.toContain(ESC);
    expect(screen.text).toMatch(
      /^\[\d\d:\d\d:\d\d\] INFO: staged {"rows":3}\n\[.*\] INFO: lag {.*"state":"streaming"/,
    );
  });

  it("says what is wrong and what mends it, without a stack", () => {
    const screen = new Screen();
    logTo(screen, { format: "pretty" }).error(
      { err: new OperatorError("no slot", "run it"), exit_code: 3 },
      "stopped",
    );
    expect(screen.text).toMatch(/ERROR: stopped {"exit_code":3}\n {4}no slot\n {4}→ run it\n$/);
  });

  it("says a notice in its own words, and what mends it, with nothing of a name that a terminal obeys", () => {
    const screen = new Screen();
    const table = `public.${ESC}[31mred`;
    logTo(screen, { format: "pretty" }).warn(
      { notice: "x", table, name: table, message: `Nothing identifies ${table}.`, mend: "Do it", count: 4 },
      "table without identity",
    );
    logTo(screen, { format: "pretty" }).warn({ check: "WAL limit", found: "none", mend: "set it" }, "check");
    expect(screen.text).toMatch(
      /^\[.*\] WARN: table without identity: Nothing identifies public\.\\u\{1b\}\[31mred\. \(4 times\)\n {4}→ Do it\n\[.*\] WARN: check: WAL limit: none\n {4}→ set it\n$/,
    );
  });

  it("keeps the lag in one place on a terminal, with the other lines above", () => {
    const screen = new Screen(true);
    const log = logTo(screen, { format: "pretty" });
    log.info(LAG, "lag");
    log.info({ rows: 3 }, "staged");
    log.info({ ...LAG, lag_seconds: 0 }, "lag");
    const erase = `\r${ESC}[2K`;
    const [empty, first, staged, last] = screen.text.split(erase);
    expect(empty).toBe("");
    expect(first).toBe("streaming · 0.4 s, 12 KiB behind · staged to 00000000/0152C");
    expect(staged).toMatch(/staged.*\n/);
    expect(staged?.endsWith(`\n${first}`)).toBe(true);
    expect(last).toMatch(/^streaming · all staged/);
  });

  it.each([
    [{}, true],
    [{ NO_COLOR: "1" }, false],
    [{ NO_COLOR: "" }, true],
    [{ TERM: "dumb" }, false],
  ])("has colours with %j: %s", (env, colours) => {
    const screen = new Screen(true);
    logTo(screen, { format: "pretty", env }).info("x");
    expect(screen.text.includes(`${ESC}[3`)).toBe(colours);
  });
});

describe("the status line", () => {
  it("never takes more than one line, and ends on one of its own", () => {
    const screen = new Screen(true);
    const status = new StatusLine(screen);
    status.end();
    status.show("x".repeat(500));
    status.end();
    status.end();
    expect(screen.text).toBe(`\r${ESC}[2K${"x".repeat(59)}\n`);
  });

  it("goes when what it says is over", () => {
    const screen = new Screen(true);
    const status = new StatusLine(screen);
    status.show("streaming");
    status.clear();
    status.clear();
    expect(screen.text).toBe(`\r${ESC}[2Kstreaming\r${ESC}[2K`);
  });

  it("says what people look for", () => {
    expect(
      lagLine({ state: "copying", ranges: 40, ranges_done: 10, lag_seconds: 90, lag_bytes: 2 ** 31 }),
    ).toBe("copying · █████░░░░░░░░░░░░░░░ 10/40 ranges · 1 min 30 s, 2 GiB behind");
    expect(lagLine({ state: "starting", lag_seconds: null, staged_lsn: null })).toBe("starting");
    expect(
      lagLine({
        state: "streaming",
        lag_seconds: 0,
        slot_retained_bytes: 2 ** 24,
        wal_exhausted_in_seconds: 7200,
      }),
    ).toBe("streaming · all staged · slot holds 16 MiB · slot lost in 2 h");
    // The source was asked a moment before what is behind was committed.
    expect(lagLine({ state: "streaming", lag_seconds: 0.4, lag_bytes: 0 })).toBe("streaming · 0.4 s behind");
    // What is wrong is not what a narrow terminal cuts off.
    expect(lagLine({ state: "streaming", lag_seconds: 90, problems: ["store-failing"] })).toBe(
      "streaming · store failing · 1 min 30 s behind",
    );
  });

  it("has bars that are never too long", () => {
    fc.assert(
      fc.property(fc.integer({ min: -5, max: 100 }), fc.integer({ min: 0, max: 90 }), (done, total) => {
        expect(progressBar(done, total, 12)).toMatch(/^█*░*$/);
        expect(progressBar(done, total, 12)).toHaveLength(12);
      }),
    );
  });
});

describe("repeated failures", () => {
  it("are said at once, then more and more rarely, and in the end", () => {
    const failure = new RepeatedFailure();
    const said: number[] = [];
    for (let second = 0; second < 3600; second++) {
      const report = failure.failed("refused", second * 1000);
      if (report !== null) {
        expect(report).toEqual({ count: second + 1, sinceMs: second * 1000 });
        said.push(second);
      }
    }
    expect(said.slice(0, 6)).toEqual([0, 5, 15, 35, 75, 155]);
    const gaps = said.slice(1).map((second, index) => second - (said[index] ?? 0));
    expect(Math.max(...gaps)).toBe(300);
    expect(failure.recovered(3_600_000)).toEqual({ count: 3600, sinceMs: 3_600_000 });
    expect(failure.recovered(3_600_001)).toBeNull();
  });

  it("of another kind are said at once", () => {
    const failure = new RepeatedFailure();
    expect(failure.failed("refused", 0)).not.toBeNull();
    expect(failure.failed("refused", 1)).toBeNull();
    expect(failure.failed("no such host", 2)).toEqual({ count: 3, sinceMs: 2 });
    expect(failure.recovered(3)).toEqual({ count: 3, sinceMs: 3 });
    expect(failure.failed("refused", 4)).toEqual({ count: 1, sinceMs: 0 });
  });

  it("stand in the log with their number", () => {
    const lines = linesOf((log) => {
      const failures = new FailureLog(log, "source connection failed");
      failures.recovered();
      for (let time = 0; time < 100; time++)
        failures.failed(new TransientError("refused"), { state: "copying" });
      failures.recovered();
    });
    expect(lines).toMatchObject([
      {
        level: "warn",
        msg: "source connection failed",
        failures: 1,
        state: "copying",
        err: { message: "refused" },
      },
      { level: "info", msg: "works again", part: "source connection failed", failures: 100 },
    ]);
  });
});
