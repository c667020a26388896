import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { COMMANDS } from "../../src/commands/catalog.ts";
import { loadSettings } from "../../src/settings/load.ts";
import { ALL_SETTINGS } from "../../src/settings/schema.ts";
import { parse } from "yaml";
import { anchor, commands, headings, readme, ROOT, withoutCode } from "./readme.ts";

const text = readme();

/**
 * Where each command of this page is run: the begin of the command, the file that runs it, and what stands there. A test
 * that runs a command in another way (with a file of its own, on a stage of its own) counts.
 */
const RUN_BY: readonly (readonly [command: string, file: string, there: string])[] = [
  ["npm ci", ".ci/run", "npm ci"],
  ["npm run demo -- --seconds 30", ".ci/run", "npm run demo -- --seconds 30"],
  ["npm test", ".ci/run", "npm test"],
  ["npm run check", ".ci/run", "npm run types"],
  ["npm run bench -- --quick", ".ci/run", "npm run bench -- --quick"],
  [
    "npm sbom --sbom-format cyclonedx --omit dev",
    ".ci/package",
    "npm sbom --sbom-format cyclonedx --omit dev",
  ],
  ["npm audit --omit=dev", ".ci/package", "npm audit --omit=dev"],
  ["export PGSTAGE_", "test/support/daemon.ts", "PGSTAGE_SOURCE_URL"],
  ["pgstage check", "test/commands/checks.ts", '"check"'],
  ["pgstage run", "test/support/daemon.ts", '"run"'],
  ["pgstage sql", "test/snowflake/command.test.ts", "--role-arn"],
  ["docker build", ".ci/image", "run bud"],
  ["docker run --read-only", ".ci/try-image.mjs", "remount,bind,ro"],
  ["kubectl apply -k config/kubernetes/base", "test/config/kubernetes.test.ts", "names all its resources"],
  ["aws ecs register-task-definition", "test/config/ecs.test.ts", "RegisterTaskDefinitionCommand"],
  ["aws ecs create-service", "test/config/ecs.test.ts", "CreateServiceCommand"],
  [
    "aws s3api put-bucket-lifecycle-configuration",
    "test/config/buckets.test.ts",
    "PutBucketLifecycleConfigurationCommand",
  ],
  [
    "aws s3api put-bucket-notification-configuration",
    "test/config/buckets.test.ts",
    "PutBucketNotificationConfigurationCommand",
  ],
];

describe("README", () => {
  it("has no command that nothing runs", () => {
    const all = commands(text);
    expect(all.length).toBeGreaterThan(12);
    const unrun = all.filter((command) => !RUN_BY.some(([start]) => command.startsWith(start)));
    expect(unrun).toEqual([]);
    expect(RUN_BY.filter(([start]) => !all.some((command) => command.startsWith(start)))).toEqual([]);
  });

  it.each(RUN_BY)("%s is run by %s", (_command, file, there) => {
    expect(readFileSync(join(ROOT, file), "utf8").includes(there)).toBe(true);
  });

  it("names only commands that there are", () => {
    const names = new Set<string>(COMMANDS.map(({ name }) => name));
    const named = [...text.matchAll(/`(?:docker run … )?pgstage ([a-z]+)/g)].map(([, name = ""]) => name);
    expect(named.length).toBeGreaterThan(20);
    expect(named.filter((name) => !names.has(name) && name !== "help")).toEqual([]);
  });

  it("says what each command of the command line does", () => {
    const untold = COMMANDS.filter(({ name }) => !new RegExp(`^\\| \`${name}[ \`]`, "m").test(text));
    expect(untold).toEqual([]);
  });

  it("names only settings that there are", () => {
    const sections = new Set(ALL_SETTINGS.map(({ key }) => key.split(".")[0]));
    const named = [...withoutCode(text).matchAll(/`([a-z]+)\.([a-zA-Z]+)\b/g)].filter(([, section]) =>
      sections.has(section),
    );
    expect(named.length).toBeGreaterThan(30);
    const keys = new Set<string>(ALL_SETTINGS.map(({ key }) => key));
    expect(named.map(([, section, name]) => `${section}.${name}`).filter((key) => !keys.has(key))).toEqual(
      [],
    );
  });

  it("has settings files that load", () => {
    const blocks = [...text.matchAll(/```yaml\n([^]*?)```/g)].map(
      ([, block = ""]) => parse(block) as Record<string, Record<string, string>>,
    );
    expect(blocks.length).toBeGreaterThan(0);
    for (const block of blocks) {
      const entries = Object.entries(block).flatMap(([section, values]) =>
        Object.entries(values).map(([name, value]) => [`${section}.${name}`, value] as const),
      );
      const env = Object.fromEntries(
        entries.map(([key, value]) => {
          const setting = ALL_SETTINGS.find((one) => one.key === key);
          // A file that is there in a test.
          return [setting?.env ?? key, key === "source.passwordFile" ? import.meta.filename : value];
        }),
      );
      expect(loadSettings({ env }).stage.url).toMatch(/^s3:/);
    }
  });

  it("names only files and folders that there are", () => {
    const paths = [...text.matchAll(/`((?:src|test|config|\.ci)(?:\/[\w.-]+)*)`/g)].map(
      ([, path = ""]) => path,
    );
    expect(paths.length).toBeGreaterThan(40);
    expect(paths.filter((path) => !existsSync(join(ROOT, path)))).toEqual([]);
  });

  it("tells of every folder of src and test", () => {
    for (const folder of ["src", "test"]) {
      const folders = readdirSync(join(ROOT, folder), { withFileTypes: true }).filter((entry) =>
        entry.isDirectory(),
      );
      const untold = folders
        .map(({ name }) => `${folder}/${name}`)
        .filter((path) => !text.includes(`\`${path}\``));
      expect(untold).toEqual([]);
    }
  });

  it("has links that lead to a heading", () => {
    const anchors = new Set(headings(text).map(({ title }) => anchor(title)));
    const links = [...text.matchAll(/\]\(#([^)]+)\)/g)].map(([, link = ""]) => link);
    expect(links.length).toBeGreaterThan(15);
    expect(links.filter((link) => !anchors.has(link))).toEqual([]);
  });

  it("says what each check looks at", () => {
    const folder = join(ROOT, "src/daemon/preflight");
    const source = [
      ...readdirSync(folder).map((name) => join(folder, name)),
      join(ROOT, "src/stores/probe.ts"),
    ]
      .map((file) => readFileSync(file, "utf8"))
      .join("\n");
    const names = [
      ...source.matchAll(/const name = "([^"]+)"|\b(?:ok|warn|fail|skip|probeStep)\("([^"]+)"/g),
    ].map(([, named, given]) => named ?? given ?? "");
    expect(new Set(names).size).toBeGreaterThan(25);
    const rows = text.slice(text.indexOf("### What `check` looks at"));
    const told = (name: string): boolean =>
      rows.includes(`\`${name}\``) || (name.startsWith("stage ") && rows.includes("`stage …`"));
    expect(names.filter((name) => !told(name))).toEqual([]);
  });
});
