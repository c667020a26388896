import { describe, expect, it } from "vitest";
import { METRICS } from "../../src/observe/metrics-table.ts";
import { NOTICES } from "../../src/observe/notices.ts";
import { settingsTable } from "../../src/settings/schema.ts";
import { operatorMessages } from "./operator-errors.ts";
import { anchor, headings, markdownTable, README, readme } from "./readme.ts";

/** What stands between `<!-- begin name -->` and `<!-- end name -->`. */
const SECTIONS: Readonly<Record<string, () => string>> = {
  settings: () =>
    markdownTable(
      ["key", "environment", "default", "meaning"],
      settingsTable().map(({ key, env, default: value, doc }) => [`\`${key}\``, `\`${env}\``, value, doc]),
    ),
  metrics: () =>
    markdownTable(
      ["metric", "type", "unit", "labels", ""],
      METRICS.map(({ name, type, unit, labels, help }) => [
        `\`${name}\``,
        type,
        unit,
        labels.map((label) => `\`${label}\``).join(", "),
        help,
      ]),
    ),
  notices: () =>
    markdownTable(
      ["notice", "level", "says", "what to do"],
      Object.entries(NOTICES).map(([id, { level, title, message, mend }]) => [
        `**${title}** (\`${id}\`)`,
        level,
        message,
        mend,
      ]),
    ),
  errors: () => markdownTable(["message", "what mends it"], errors()),
};

function errors(): string[][] {
  const rows = operatorMessages().found.map(({ message, mend }) => [
    message,
    mend === "…" ? "the message says it" : mend,
  ]);
  const unique = new Map(rows.map((row) => [row.join("\n"), row]));
  return [...unique.values()].toSorted(([a = ""], [b = ""]) => (a < b ? -1 : 1));
}

function contents(text: string): string {
  return headings(text)
    .filter(({ level, title }) => level === 2 && title !== "Contents")
    .map(({ title }) => `- [${title}](#${anchor(title)})`)
    .join("\n");
}

describe("README", () => {
  it("has the tables that the code has, and its own contents", async () => {
    let text = readme();
    for (const [name, make] of Object.entries(SECTIONS)) {
      const section = new RegExp(`<!-- begin ${name} -->\\n[^]*<!-- end ${name} -->`);
      expect(text).toMatch(section);
      text = text.replace(section, () => `<!-- begin ${name} -->\n${make()}\n<!-- end ${name} -->`);
    }
    const list = /(\n## Contents\n\n)[^]*?(?=\n\n## )/;
    expect(text).toMatch(list);
    text = text.replace(list, (_whole, heading: string) => heading + contents(text));
    await expect(text).toMatchFileSnapshot(README);
  });
});

describe("the messages of exit 3", () => {
  const { found, constructed, passedOn } = operatorMessages();

  it("are found in the source, all of them", () => {
    expect(constructed).toBeGreaterThan(40);
    expect(found.length).toBeGreaterThanOrEqual(constructed - passedOn);
    // Texts that are put together elsewhere: those of connections, of the stores, and of checks.
    expect(passedOn).toBeLessThan(15);
  });

  it("say what is wrong and what mends it, in words", () => {
    for (const { message, mend, file } of found) {
      expect(message.length, `${file}: ${message}`).toBeGreaterThan(8);
      expect(mend, `${file}: ${message}`).not.toBe("");
      expect(`${message} ${mend}`, file).not.toMatch(/\bnull\b|undefined|\[object/);
    }
  });
});
