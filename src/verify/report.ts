import { clean } from "../observe/terminal.ts";
import { countOf, humanBytes, humanCount, humanSeconds } from "../observe/units.ts";
import type { Example, TableResult, Verdict } from "./result.ts";

const PROBLEMS_SHOWN = 20;

/** A verdict for a person: a line per table, what differs, what is wrong with the stage, and the sentence that counts. */
export function renderVerdict(verdict: Verdict): string {
  const lines = [
    ...table(verdict.tables),
    ...verdict.tables.flatMap(details),
    ...stageProblems(verdict),
    "",
    summary(verdict),
  ];
  return `${lines.map(clean).join("\n")}\n`;
}

const HEADINGS = ["table", "rows", "equal", "missing", "extra", "different", ""] as const;

function table(results: readonly TableResult[]): string[] {
  const rows = results.map((result) => [
    result.table,
    ...[result.rows, result.equal, result.missing, result.extra, result.different].map(humanCount),
    result.outcome === "equal" ? "equal" : result.outcome.toUpperCase(),
  ]);
  const widths = HEADINGS.map((heading, index) =>
    Math.max(heading.length, ...rows.map((row) => row[index]?.length ?? 0)),
  );
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, index) =>
        index === 0 || index === cells.length - 1
          ? cell.padEnd(widths[index] ?? 0)
          : cell.padStart(widths[index] ?? 0),
      )
      .join("  ")
      .trimEnd();
  return [line(HEADINGS), ...rows.map(line)];
}

function details(result: TableResult): string[] {
  if (result.outcome === "equal") return [];
  const note = result.note === "" ? [] : [`  ${result.note}`];
  return [
    "",
    `${result.table}: ${result.outcome}`,
    ...note,
    ...result.examples.map((example) => `  ${describe(example)}`),
  ];
}

const KINDS = { missing: "only in the source", extra: "only on the stage", different: "different" } as const;

function describe({ kind, row, columns }: Example): string {
  const values = Object.entries(columns ?? {}).map(
    ([name, { source, stage }]) => `${name} is ${shown(source)} in the source, ${shown(stage)} on the stage`,
  );
  const key = Object.entries(row).map(([name, value]) => `${name} = ${shown(value)}`);
  return [`${KINDS[kind]}: ${key.join(", ")}`, ...values].join("; ");
}

function shown(value: string | null): string {
  return value === null ? "NULL" : JSON.stringify(value);
}

function stageProblems({ stage }: Verdict): string[] {
  if (stage.problems.length === 0) return [];
  const first = stage.problems.slice(0, PROBLEMS_SHOWN);
  const more = stage.problems.length - first.length;
  return [
    "",
    `${countOf(stage.problems.length, "problem")} with the stage itself:`,
    ...first.map(({ key, problem }) => `  ${[key, problem].filter(Boolean).join(" ")}`),
    ...(more > 0 ? [`  … and ${humanCount(more)} more`] : []),
  ];
}

function summary({ ok, lsn, tables, stage, sample, tookMs }: Verdict): string {
  const equal = tables.filter(({ outcome }) => outcome === "equal");
  const rows = equal.reduce((sum, result) => sum + result.rows, 0);
  const sampled = sample < 1 ? ` (a sample of ${Number((sample * 100).toPrecision(3))} % of the keys)` : "";
  const read = `${countOf(stage.files, "file")}, ${humanBytes(stage.bytes)}, ${countOf(stage.documents, "log document")}`;
  const where = `at ${lsn}, in ${humanSeconds(tookMs / 1000)}; the stage has ${read}.`;
  if (ok)
    return `Equal: ${countOf(equal.length, "table")} with ${countOf(rows, "row")}${sampled}, compared row by row ${where}`;
  const unequal = tables.length - equal.length;
  const whats = [
    ...(unequal > 0 ? [`${unequal} of ${countOf(tables.length, "table")}`] : []),
    ...(stage.problems.length > 0 ? ["the stage's files"] : []),
  ];
  return `NOT PROVEN EQUAL: ${whats.join(" and ")}${sampled}, compared ${where}`;
}
