import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { describe, expect, it } from "vitest";
import { runCli, type CliEnvironment, type CommandModules } from "../../src/cli.ts";
import { COMMANDS, COMMAND_NAMES } from "../../src/commands/catalog.ts";
import type { CommandContext } from "../../src/commands/context.ts";
import { OperatorError, ReplacedError, SettingsError, TransientError } from "../../src/core/errors.ts";
import { VERSION } from "../../src/version.ts";

const run = promisify(execFile);

class Screen {
  text = "";
  readonly columns = 100;

  write(text: string): void {
    this.text += text;
  }
}

interface Outcome {
  readonly code: number;
  readonly out: string;
  readonly err: string;
  /** Name of the command that ran, and what it got. */
  readonly ran: readonly { readonly name: string; readonly context: CommandContext }[];
}

const GOOD_ENV = { PGSTAGE_SOURCE_URL: "postgres://u:secret@db/app", PGSTAGE_STAGE_URL: "file:///stage" };

async function cli(
  argv: readonly string[],
  given: {
    readonly act?: (context: CommandContext) => Promise<number> | number;
    readonly env?: CliEnvironment["env"];
    readonly signal?: AbortSignal;
    readonly loaded?: string[];
  } = {},
): Promise<Outcome> {
  const [stdout, stderr] = [new Screen(), new Screen()];
  const ran: { name: string; context: CommandContext }[] = [];
  const modules = Object.fromEntries(
    COMMAND_NAMES.map((name) => [
      name,
      async () => {
        given.loaded?.push(name);
        return {
          ...(name === "sql"
            ? {
                configure: (command: { option(flags: string): unknown }) =>
                  void command.option("--role <arn>"),
              }
            : {}),
          run: async (context: CommandContext) => {
            ran.push({ name, context });
            return (await given.act?.(context)) ?? 0;
          },
        };
      },
    ]),
  ) as CommandModules;
  const signal = given.signal ?? new AbortController().signal;
  const code = await runCli(argv, { env: given.env ?? {}, stdout, stderr, signal, modules });
  return { code, out: stdout.text, err: stderr.text, ran };
}

describe("which command runs", () => {
  it.each([
    [[], "run"],
    [["--config", "check"], "run"],
    [["--config=x.yaml"], "run"],
    [["run", "--config", "x.yaml"], "run"],
    [["--config", "x.yaml", "snapshot"], "snapshot"],
    [["status"], "status"],
  ])("%j is %s", async (argv, name) => {
    const { code, ran, err } = await cli(argv);
    expect(err).toBe("");
    expect(ran.map((each) => each.name)).toEqual([name]);
    expect(code).toBe(0);
  });

  it("loads the code of no other command", async () => {
    const loaded: string[] = [];
    await cli(["teardown"], { loaded });
    expect(loaded).toEqual(["teardown"]);
  });

  it("hands on options and arguments", async () => {
    expect((await cli(["check", "--json"])).ran[0]?.context.options).toEqual({ json: true });
    expect((await cli(["resync", "public.a", "public.b"])).ran[0]?.context.args).toEqual([
      "public.a",
      "public.b",
    ]);
    expect((await cli(["sql", "--role", "arn:x"])).ran[0]?.context.options).toEqual({ role: "arn:x" });
  });

  it("hands on the command's own exit code", async () => {
    expect((await cli(["check"], { act: () => 3 })).code).toBe(3);
  });
});

describe("help", () => {
  it("names every command, and the exit codes", async () => {
    const { code, out } = await cli(["--help"]);
    expect(code).toBe(0);
    for (const { name, summary } of COMMANDS) {
      expect(out).toContain(name);
      expect(out.replaceAll(/\s+/g, " ")).toContain(summary);
    }
    expect(out).toContain("Exit codes: 0 done");
  });

  it.each(COMMANDS.map(({ name }) => name))(
    "of %s has a description, an example and --config",
    async (name) => {
      for (const argv of [
        [name, "--help"],
        ["help", name],
      ]) {
        const { code, out, ran } = await cli(argv);
        expect(code).toBe(0);
        expect(ran).toEqual([]);
        expect(out).toMatch(/\nExamples:\n {2}\S/);
        expect(out).toContain("--config <file>");
        expect(out.length).toBeGreaterThan(300);
      }
    },
  );

  it("holds the options that a command's module adds", async () => {
    expect((await cli(["help", "sql"])).out).toContain("--role <arn>");
  });

  it("prints the version", async () => {
    expect(await cli(["--version"])).toMatchObject({ code: 0, out: `${VERSION}\n` });
  });
});

describe("wrong command lines", () => {
  it.each([
    [["chekc"], "(Did you mean check?)"],
    [["check", "--jsn"], "(Did you mean --json?)"],
    [["--confg", "x"], "(Did you mean --config?)"],
    [["status", "now"], "too many arguments"],
    [["run", "--config"], "argument missing"],
  ])("%j: exit 2 and %s", async (argv, text) => {
    const { code, err, out, ran } = await cli(argv);
    expect(code).toBe(2);
    expect(err).toContain(text);
    expect(out).toBe("");
    expect(ran).toEqual([]);
  });
});

describe("errors of a command", () => {
  const failing = (error: unknown) => () => {
    throw error;
  };

  it("lists all problems of the settings on stderr and exits with 2", async () => {
    const { code, err } = await cli(["run"], {
      act: (context) => (context.settings(), 0),
      env: { PGSTAGE_FLUSH_INTERVAL: "soon", PGSTAGE_STAGE_URL: "ftp://x" },
    });
    expect(code).toBe(2);
    expect(err).toContain("The settings have 3 problems:");
    for (const key of ["flush.interval", "stage.url", "source.url"]) expect(err).toContain(key);
    expect(err).not.toContain(" at ");
  });

  it("says what mends it and exits with 3", async () => {
    const { code, err } = await cli(["status"], {
      act: failing(new OperatorError("no slot", "run pgstage run")),
    });
    expect(code).toBe(3);
    expect(err).toBe("Error: no slot\n  To mend it: run pgstage run\n");
  });

  it("takes passwords out of whatever a library says", async () => {
    const error = new OperatorError("cannot reach postgres://u:secret@db/app", "check it");
    expect((await cli(["status"], { act: failing(error) })).err).not.toContain("secret");
  });

  it("exits with 1 and shows a stack only for a bug", async () => {
    const bug = await cli(["status"], { act: failing(new TypeError("undefined is not a function")) });
    expect(bug.code).toBe(1);
    expect(bug.err).toContain("cli.test.ts");
    for (const error of [new TransientError("the store is slow"), new ReplacedError("replaced")]) {
      const known = await cli(["status"], { act: failing(error) });
      expect(known).toMatchObject({ code: 1, err: `Error: ${error.message}\n` });
    }
  });

  it("ends the log of a daemon with a line that says it", async () => {
    const { code, out, err } = await cli(["run"], {
      env: GOOD_ENV,
      act(context) {
        context.log().info("started");
        throw new OperatorError("the slot is lost", "pgstage resync");
      },
    });
    expect(code).toBe(3);
    expect(err).toBe("");
    const last = JSON.parse(out.trim().split("\n").at(-1) ?? "");
    expect(last).toMatchObject({
      level: "error",
      msg: "stopped",
      exit_code: 3,
      err: { type: "OperatorError", message: "the slot is lost", mend: "pgstage resync" },
    });
    expect(last.err).not.toHaveProperty("stack");
  });

  it("is short about a command that was stopped", async () => {
    const stop = new AbortController();
    const { code, err } = await cli(["verify"], {
      signal: stop.signal,
      act(context) {
        stop.abort(new Error("stopped by SIGINT"));
        throw context.signal.reason;
      },
    });
    expect({ code, err }).toEqual({ code: 1, err: "Stopped before it was done.\n" });
  });

  it("does not take a settings error for another one", async () => {
    expect((await cli(["status"], { act: failing(new SettingsError(["a", "b"])) })).code).toBe(2);
  });
});

it("the entry point runs as a process of its own", async () => {
  const main = new URL("../../src/main.ts", import.meta.url).pathname;
  const { stdout, stderr } = await run(process.execPath, ["--import", "tsx", main, "--version"]);
  expect(stdout).toBe(`${VERSION}\n`);
  expect(stderr).toBe("");
});
