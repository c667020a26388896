import { readFileSync } from "node:fs";
import { join } from "node:path";

export const ROOT = join(import.meta.dirname, "../..");
export const README = join(ROOT, "README.md");

export function readme(): string {
  return readFileSync(README, "utf8");
}

/** A Markdown table; cells are texts in which a bar would end the cell. */
export function markdownTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell) => cell.replaceAll("|", "\\|").replaceAll("\n", " ")).join(" | ")} |`.replaceAll(
      "|  |",
      "| |",
    );
  return [line(head), `|${head.map(() => "---").join("|")}|`, ...rows.map(line)].join("\n");
}

/** GitHub's anchor of a heading. */
export function anchor(heading: string): string {
  return heading
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N}\s_-]/gu, "")
    .replaceAll(" ", "-");
}

/** Headings with their level, those in code blocks left out. */
export function headings(text: string): { level: number; title: string }[] {
  return [...withoutCode(text).matchAll(/^(#+) (.*)$/gm)].map(([, marks = "", title = ""]) => ({
    level: marks.length,
    title,
  }));
}

export function withoutCode(text: string): string {
  return text.replaceAll(/^( *)```[^]*?^\1```$/gm, "");
}

/** The commands of all `sh` blocks, one string each; a line that ends in a backslash goes on. */
export function commands(text: string): string[] {
  return [...text.matchAll(/^( *)```sh\n([^]*?)^\1```$/gm)]
    .flatMap(([, , block = ""]) => block.replaceAll(/\\\n\s*/g, " ").split("\n"))
    .map((line) => line.trim())
    .filter((line) => line !== "" && !line.startsWith("#"));
}
