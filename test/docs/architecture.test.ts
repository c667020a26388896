import { readdirSync, readFileSync } from "node:fs";
import { join, relative } from "node:path";
import { describe, expect, it } from "vitest";
import { readme, ROOT } from "./readme.ts";

const SRC = join(ROOT, "src");

/** Folder by folder, what it imports of other folders. */
function imports(): Map<string, Set<string>> {
  const found = new Map<string, Set<string>>();
  const files = readdirSync(SRC, { recursive: true, encoding: "utf8" }).filter((name) =>
    name.endsWith(".ts"),
  );
  for (const file of files) {
    const from = file.includes("/") ? file.slice(0, file.indexOf("/")) : "";
    const used = found.get(from) ?? new Set<string>();
    found.set(from, used);
    const text = readFileSync(join(SRC, file), "utf8");
    for (const [, path = ""] of text.matchAll(/(?:from|import)\(? ?"(\.[^"]+)"/g)) {
      const to = relative(SRC, join(SRC, file, "..", path));
      const folder = to.includes("/") ? to.slice(0, to.indexOf("/")) : "";
      if (folder !== from) used.add(folder);
    }
  }
  return found;
}

/** What the README's table allows: folders by the rows that name them first, with the last cell's names. */
function allowed(folders: readonly string[]): Map<string, ReadonlySet<string>> {
  const rules = new Map<string, ReadonlySet<string>>();
  for (const [, cells = ""] of readme().matchAll(/^\| (`src\/.*) \|$/gm)) {
    const [names = "", , rule = ""] = cells.split(" | ");
    const said = [...rule.matchAll(/`([a-z]+)`/g)].map(([, name = ""]) => name);
    const may = new Set(
      rule.startsWith("everything") ? ["", ...folders.filter((folder) => !said.includes(folder))] : said,
    );
    for (const [, name = ""] of names.matchAll(/`src\/([a-z]+)`/g)) rules.set(name, may);
  }
  return rules;
}

describe("imports", () => {
  const found = imports();
  const folders = [...found.keys()].filter((folder) => folder !== "");
  const rules = allowed(folders);

  it("are seen", () => {
    expect(folders.length).toBeGreaterThan(12);
    expect(found.get("daemon")?.size).toBeGreaterThan(5);
  });

  it("have a rule for every folder", () => {
    expect(folders.filter((folder) => !rules.has(folder))).toEqual([]);
  });

  it.each(folders.toSorted())("of src/%s go where the README says", (folder) => {
    const may = rules.get(folder) ?? new Set<string>();
    expect([...(found.get(folder) ?? [])].filter((name) => !may.has(name)).toSorted()).toEqual([]);
  });
});
