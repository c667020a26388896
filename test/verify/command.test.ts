import { pathToFileURL } from "node:url";
import { expect, test } from "vitest";
import { runCli } from "../../src/cli.ts";
import { verifyOptions } from "../../src/commands/verify.ts";
import { SettingsError } from "../../src/core/errors.ts";
import type { Verdict } from "../../src/verify/result.ts";
import { FAR, Fixture } from "./fixture.ts";
import { known } from "./stage-builder.ts";

const at = new Fixture();

async function verify(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  let out = "";
  let err = "";
  const code = await runCli(["verify", ...args], {
    env: { PGSTAGE_SOURCE_URL: at.url, PGSTAGE_STAGE_URL: pathToFileURL(at.directory).href },
    stdout: { write: (text) => (out += text) },
    stderr: { write: (text) => (err += text) },
    signal: new AbortController().signal,
    modules: { verify: () => import("../../src/commands/verify.ts") },
  });
  return { code, out, err };
}

async function twoTables(): Promise<void> {
  const good = await at.table("id int PRIMARY KEY, v text", ["id"], "good");
  const bad = await at.table("id int PRIMARY KEY, v text", ["id"], "bad");
  await at.sql(
    "INSERT INTO good SELECT i, 'v' FROM generate_series(1, 1234) i; INSERT INTO bad VALUES (1, NULL), (2, 'x')",
  );
  const rows = Array.from({ length: 1234 }, (_, i) => ["r", "0/1", 0, [String(i + 1), "v"]] as const);
  const files = [
    await at.stage.file(good, [["t", "0/1", 0, [null, null]], ...rows]),
    await at.stage.file(bad, [
      ["t", "0/1", 0, [null, null]],
      ["r", "0/1", 0, ["1", ""]],
      ["r", "0/1", 0, ["3", "y"]],
    ]),
  ];
  await at.stage.batch({ files, events: [known(good, "0/1"), known(bad, "0/1")], endLsn: FAR });
}

test("says per table what is equal and what differs; 3 if something does", async () => {
  await twoTables();
  const { code, out, err } = await verify();
  expect(err).toBe("");
  expect(code).toBe(3);
  const [head, ...rest] = out.split("\n");
  expect(head).toBe("table         rows  equal  missing  extra  different");
  expect(rest.slice(0, 2)).toEqual([
    "public.bad       2      0        1      1          1  DIFFERENT",
    "public.good  1,234  1,234        0      0          0  equal",
  ]);
  expect(out).toContain(
    '\npublic.bad: different\n  only in the source: id = "2"\n  only on the stage: id = "3"\n',
  );
  expect(out).toContain('  different: id = "1"; v is NULL in the source, "" on the stage\n');
  expect(out).toMatch(
    /\nNOT PROVEN EQUAL: 1 of 2 tables, compared at [0-9A-F]{8}\/[0-9A-F]{8}, in .*; the stage has 2 files, .*, 1 log document\.\n$/,
  );
});

test("one table only, as JSON, and 0 if it is equal", async () => {
  await twoTables();
  const { code, out } = await verify("--table", "good", "--json");
  expect(code).toBe(0);
  const verdict = JSON.parse(out) as Verdict;
  expect(verdict).toMatchObject({
    ok: true,
    tables: [{ table: "public.good", outcome: "equal", rows: 1234, examples: [] }],
  });
  expect((await verify("--table", "public.g*", "--sample", "50%")).out).toMatch(
    /^Equal: 1 table with \d+ rows \(a sample of 50 % of the keys\)/m,
  );
});

test("what stands in the way is said with what mends it", async () => {
  expect(await verify()).toMatchObject({
    code: 3,
    err: expect.stringMatching(/there is no log at file:.*\n.*To mend it: .*pgstage run/),
  });
  await twoTables();
  expect(await verify("--table", "none")).toMatchObject({
    code: 3,
    err: expect.stringContaining("no captured table of the source matches none"),
  });
  expect(await verify("--sample", "all")).toMatchObject({
    code: 2,
    err: expect.stringContaining("--sample"),
  });
});

test("options: every problem at once", () => {
  expect(verifyOptions({})).toEqual({
    tables: [],
    sample: 1,
    timeoutMs: 300_000,
    memoryBytes: 2 ** 30,
    json: false,
  });
  expect(verifyOptions({ sample: "0.5 %", timeout: "90s", memory: "256MiB" })).toMatchObject({
    sample: 0.005,
    timeoutMs: 90_000,
  });
  const wrong = (): unknown => verifyOptions({ sample: "0", timeout: "soon", memory: "1MiB" });
  expect(wrong).toThrow(SettingsError);
  expect(wrong).toThrow(/--sample: "0"[^]*--timeout: "soon"[^]*--memory: at least 128MiB/);
});
