import { clean } from "../observe/terminal.ts";
import { countOf } from "../observe/units.ts";
import type { Check, Verdict } from "../daemon/preflight.ts";

export interface TextOptions {
  /** Only on terminals, and not with NO_COLOR. */
  readonly color: boolean;
  /** Columns of the terminal; lines are not broken without it. */
  readonly width?: number | undefined;
}

const COLORS: Readonly<Record<Verdict, number>> = { ok: 32, warn: 33, fail: 31, skip: 2 };
const DIM = 2;
/** Narrower is not worth breaking lines for. */
const LEAST_WIDTH = 40;

/** One line a prerequisite, below it what to do; the sentence that counts at the end. Ends with a line feed. */
export function renderChecks(checks: readonly Check[], options: TextOptions): string {
  const paint = (code: number, text: string): string =>
    options.color ? `\u001b[${code}m${text}\u001b[0m` : text;
  const shown = foldSkipped(checks);
  const width = Math.max(...shown.map(({ name }) => name.length), 1);
  const lines = shown.flatMap(({ name, verdict, found, mend }) => {
    const indent = 4 + 2 + width + 2;
    const first = `${paint(COLORS[verdict], verdict.padEnd(4))}  ${name.padEnd(width)}  `;
    const mending =
      mend === ""
        ? []
        : [`${" ".repeat(indent)}${paint(DIM, "→")} ${wrapped(mend, indent + 2, options.width)}`];
    return [`${first}${wrapped(found, indent, options.width)}`, ...mending];
  });
  return `${lines.join("\n")}\n\n${verdictOf(checks)}\n`;
}

/** What was not looked at for one reason is one line. */
function foldSkipped(checks: readonly Check[]): Check[] {
  const skipped = checks.filter(({ verdict }) => verdict === "skip");
  const reasons = [...new Set(skipped.map(({ found }) => found))];
  const folded = reasons.map((reason): Check => {
    const names = skipped.filter(({ found }) => found === reason).map(({ name }) => name);
    const [only] = names;
    const name = names.length === 1 && only !== undefined ? only : `${names.length} others`;
    return {
      name,
      verdict: "skip",
      found: names.length === 1 ? reason : `${reason}: ${names.join(", ")}`,
      mend: "",
    };
  });
  return [...checks.filter(({ verdict }) => verdict !== "skip"), ...folded];
}

function verdictOf(checks: readonly Check[]): string {
  const count = (verdict: Verdict): number => checks.filter((check) => check.verdict === verdict).length;
  const warnings = count("warn") === 0 ? "" : `, ${countOf(count("warn"), "warning")}`;
  if (count("fail") > 0)
    return `${countOf(count("fail"), "check")} failed${warnings}. What stands behind → mends it.`;
  return `All that pgstage needs is there${warnings}.`;
}

/** Breaks at spaces; a word that is too long stays whole, so that it can be copied. Control characters are shown. */
function wrapped(text: string, indent: number, width: number | undefined): string {
  const room =
    width === undefined || width - indent < LEAST_WIDTH ? Number.POSITIVE_INFINITY : width - indent;
  return text
    .split("\n")
    .flatMap((line) => broken(clean(line), room))
    .join(`\n${" ".repeat(indent)}`);
}

function broken(line: string, room: number): string[] {
  const lines: string[] = [];
  let current = "";
  for (const word of line.split(" ")) {
    if (current !== "" && current.length + 1 + word.length > room) {
      lines.push(current);
      current = word;
    } else current = current === "" ? word : `${current} ${word}`;
  }
  return [...lines, current];
}
