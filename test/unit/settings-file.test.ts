import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { loadSettings } from "../../src/settings/load.ts";
import { BASE, problemsOf } from "./settings-support.ts";

const folder = mkdtempSync(join(tmpdir(), "settings-"));
afterAll(() => rmSync(folder, { recursive: true }));

function file(text: string, name = "pgstage.yaml"): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

describe("where values come from", () => {
  it("the environment wins over the file, the file over the default; empty variables do not count", () => {
    const path = file("flush: { interval: 5s, maxBytes: 1MiB }\nlog: { level: debug }\n");
    const settings = loadSettings({
      env: { ...BASE, PGSTAGE_FLUSH_INTERVAL: "7s", PGSTAGE_LOG_LEVEL: "" },
      file: path,
    });
    expect(settings.flush).toEqual({ intervalMs: 7000, maxBytes: 2 ** 20 });
    expect(settings.log.level).toBe("debug");
  });

  it.each([
    ["nested YAML", "source:\n  schemas: [public, 'with,comma']\nhttp:\n  port: 0\n", "a.yaml"],
    ["keys with a dot", "source.schemas:\n  - public\n  - with,comma\nhttp.port: 0\n", "b.yml"],
    [
      "JSON with tabs",
      '{\n\t"source": {"schemas": ["public", "with,comma"]},\n\t"http": {"port": 0}\n}',
      "c.json",
    ],
    ["anchors", "source.schemas: [&p public, 'with,comma']\nsource.slot: *p\nhttp.port: 0\n", "d.yaml"],
  ])("%s", (_kind, text, name) => {
    const settings = loadSettings({ env: BASE, file: file(text, name) });
    expect(settings.source.schemas).toEqual(["public", "with,comma"]);
    expect(settings.http.port).toBe(0);
  });

  it("a file's values are its text, not YAML's idea of it", () => {
    const path = file("source:\n  password: 0123\n  slot: 1e3\n  region:\n  ca: null\n");
    const { source } = loadSettings({ env: BASE, file: path });
    expect(source).toMatchObject({ password: "0123", slot: "1e3" });
    expect(source).not.toHaveProperty("region");
    expect(source).not.toHaveProperty("ca");
  });

  it.each([
    ["a: [1\n", /:\d+:\d+: not valid YAML or JSON/],
    ["source: { password: hunter2\n", /not valid YAML or JSON/],
    ["flush: 60s\n", /line 1: flush: there is no such setting/],
    ["just text\n", /expected settings/],
    ["flush: {interval: 1s}\nflush.interval: 2s\n", /line 2: flush.interval is given twice/],
    ["flush: {interval: 1s}\nflush: {maxBytes: 2MiB}\n", /not valid YAML/],
    [
      "flush: {interval: {a: 1s}}\n",
      /flush.interval.a: there is no such setting; did you mean flush.interval\?/,
    ],
    [
      "flush: {interval: [1s]}\n",
      /flush.interval \(.*line 1; PGSTAGE_FLUSH_INTERVAL\): \["1s"\] is not a duration/,
    ],
    ["source: {slot: [a]}\n", /source.slot .*: \["a"\] is not text/],
    [
      "__proto__: {polluted: 1s}\nconstructor: {prototype: {x: 1}}\n",
      /__proto__.polluted: there is no such setting/,
    ],
  ])("a file with %j is refused", (text, expected) => {
    const found = problemsOf(BASE, file(text)).join("\n");
    expect(found).toMatch(expected);
    expect(found).not.toContain("hunter2");
    expect({}).not.toHaveProperty("polluted");
  });

  it("a file that is not there is named", () => {
    expect(problemsOf(BASE, join(folder, "none.yaml"))).toEqual([
      `--config ${join(folder, "none.yaml")}: there is no such file`,
    ]);
    expect(problemsOf(BASE, folder)).toEqual([`--config ${folder}: it is a directory`]);
  });

  it("an empty file is one without settings", () => {
    expect(loadSettings({ env: BASE, file: file("# nothing\n") }).flush.intervalMs).toBe(60_000);
  });
  it("unknown names get a suggestion, in file and environment", () => {
    const path = file(
      "flush:\n  intervall: 5s\nsnapshot.range_bytes: 1MiB\nflusch: {}\nmemory: { maximum: 1GiB }\n",
    );
    expect(
      problemsOf({ ...BASE, PGSTAGE_FLUSH_INTERVALL: "5s", PGSTAGE_NONSENSE_OF_OURS: "1" }, path),
    ).toEqual([
      `${path} line 2: flush.intervall: there is no such setting; did you mean flush.interval?`,
      `${path} line 3: snapshot.range_bytes: there is no such setting; did you mean snapshot.rangeBytes?`,
      `${path} line 5: memory.maximum: there is no such setting; did you mean memory.max?`,
      "PGSTAGE_FLUSH_INTERVALL: there is no such setting; did you mean PGSTAGE_FLUSH_INTERVAL?",
      "PGSTAGE_NONSENSE_OF_OURS: there is no such setting",
    ]);
  });
});
