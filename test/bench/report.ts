/** One line of the benchmark's table. */
export interface Figure {
  readonly group: string;
  readonly what: string;
  /** Ours, in `unit`. */
  readonly value: number;
  readonly unit: string;
  /** What it is compared with, in the same unit, measured in alternation with it. */
  readonly reference?: { readonly name: string; readonly value: number } | undefined;
  /** Ours over the reference, the median of the rounds' ratios; more is better. */
  readonly ratio?: number | undefined;
  readonly note?: string | undefined;
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  if (sorted.length === 0) return Number.NaN;
  if (sorted.length % 2 === 1) return sorted[middle] as number;
  return ((sorted[middle - 1] as number) + (sorted[middle] as number)) / 2;
}

/** The value below which `share` of the values lie. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN;
}

/** A rate against a reference, from rounds that were measured in alternation: [ours, reference] each. */
export function against(
  about: Pick<Figure, "group" | "what" | "unit" | "note">,
  name: string,
  rounds: readonly (readonly [number, number])[],
): Figure {
  return {
    ...about,
    value: median(rounds.map(([ours]) => ours)),
    reference: { name, value: median(rounds.map(([, reference]) => reference)) },
    ratio: median(rounds.map(([ours, reference]) => ours / reference)),
  };
}

function shown(value: number): string {
  if (value === 0) return "0";
  if (value >= 1000) return Math.round(value).toLocaleString("en-US");
  return value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2);
}

const HEAD = ["", "pgstage", "unit", "reference", "", "ratio", "floor", ""] as const;

/** The figures as a table of text. `floors` are what each figure must keep, as text, by `group: what`. */
export function table(figures: readonly Figure[], floors: ReadonlyMap<Figure, string>): string {
  const lines: (readonly string[])[] = [HEAD];
  let group = "";
  for (const figure of figures) {
    if (figure.group !== group) lines.push([(group = figure.group).toUpperCase()]);
    const { what, value, unit, reference, ratio, note } = figure;
    const referenceText = reference ? [shown(reference.value), reference.name] : ["", ""];
    const ratioText = ratio === undefined ? "" : ratio.toFixed(2);
    lines.push([
      `  ${what}`,
      shown(value),
      unit,
      ...referenceText,
      ratioText,
      floors.get(figure) ?? "",
      note ?? "",
    ]);
  }
  const widths = HEAD.map((_, column) => Math.max(...lines.map((line) => line[column]?.length ?? 0)));
  const rightAligned = new Set([1, 3, 5, 6]);
  const cell = (text: string, column: number): string =>
    rightAligned.has(column) ? text.padStart(widths[column] ?? 0) : text.padEnd(widths[column] ?? 0);
  return lines.map((line) => line.map(cell).join("  ").trimEnd()).join("\n");
}
