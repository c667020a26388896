import type { DuckSession } from "./duck.ts";
import type { Example } from "./result.ts";

export interface Comparison {
  readonly rows: number;
  readonly equal: number;
  readonly missing: number;
  readonly extra: number;
  readonly different: number;
  readonly examples: readonly Example[];
}

const EXAMPLES = 3;
const LONGEST_VALUE = 100;

interface Shape {
  readonly columns: readonly string[];
  readonly key: readonly number[];
}

/** Compares `source` with `rebuilt`, both with columns c0, c1, …, row by row. */
export function compare(session: DuckSession, shape: Shape): Promise<Comparison> {
  return shape.key.length > 0 ? compareByKey(session, shape) : compareBags(session, shape);
}

type Counts = Record<"rows" | "equal" | "missing" | "extra" | "different", number>;

async function compareByKey(session: DuckSession, shape: Shape): Promise<Comparison> {
  const sameKey = shape.key.map((index) => `s.c${index} = r.c${index}`).join(" AND ");
  const sameValues = shape.columns
    .map((_, index) => `s.c${index} IS NOT DISTINCT FROM r.c${index}`)
    .join(" AND ");
  const first = `c${shape.key[0] ?? 0}`;
  const joined = `FROM source s FULL JOIN rebuilt r ON ${sameKey}`;
  const both = `s.${first} IS NOT NULL AND r.${first} IS NOT NULL`;
  const counts = await session.row<Counts>(`
    SELECT (count(s.${first}))::DOUBLE AS rows, (count(*) FILTER (${both} AND ${sameValues}))::DOUBLE AS equal,
      (count(*) FILTER (r.${first} IS NULL))::DOUBLE AS missing,
      (count(*) FILTER (s.${first} IS NULL))::DOUBLE AS extra,
      (count(*) FILTER (${both} AND NOT (${sameValues})))::DOUBLE AS different
    ${joined}`);
  const keyOf = (from: string): string =>
    shape.key.map((index) => `${from}.c${index} AS k${index}`).join(", ");
  const examples: Example[] = [];
  if (counts.missing > 0) {
    const rows = await session.rows<Texts>(
      `SELECT ${keyOf("s")} ${joined} WHERE r.${first} IS NULL LIMIT ${EXAMPLES}`,
    );
    for (const row of rows) examples.push({ kind: "missing", row: named(shape, row) });
  }
  if (counts.extra > 0) {
    const rows = await session.rows<Texts>(
      `SELECT ${keyOf("r")} ${joined} WHERE s.${first} IS NULL LIMIT ${EXAMPLES}`,
    );
    for (const row of rows) examples.push({ kind: "extra", row: named(shape, row) });
  }
  if (counts.different > 0) {
    const values = shape.columns
      .map((_, index) => `s.c${index} AS s${index}, r.c${index} AS r${index}`)
      .join(", ");
    const rows = await session.rows<Texts>(
      `SELECT ${keyOf("s")}, ${values} ${joined} WHERE ${both} AND NOT (${sameValues}) LIMIT ${EXAMPLES}`,
    );
    for (const row of rows)
      examples.push({ kind: "different", row: named(shape, row), columns: differing(shape, row) });
  }
  return { ...counts, examples };
}

/** Without a key there is no "same row, other values": only rows that are there more or less often. */
async function compareBags(session: DuckSession, shape: Shape): Promise<Comparison> {
  const columns = shape.columns.map((_, index) => `c${index}`);
  const list = columns.join(", ");
  await session.run(`CREATE OR REPLACE TEMP TABLE bags AS
    SELECT ${[...columns, "CAST(sum(s) AS BIGINT) AS s", "CAST(sum(r) AS BIGINT) AS r"].join(", ")} FROM (
      SELECT ${[...columns, "1 AS s", "0 AS r"].join(", ")} FROM source
      UNION ALL SELECT ${[...columns, "0 AS s", "copies AS r"].join(", ")} FROM rebuilt)
    ${columns.length > 0 ? `GROUP BY ${list}` : ""}`);
  const counts = await session.row<Counts>(`
    SELECT coalesce(sum(s), 0)::DOUBLE AS rows, coalesce(sum(least(s, greatest(r, 0))), 0)::DOUBLE AS equal,
      coalesce(sum(greatest(s - greatest(r, 0), 0)), 0)::DOUBLE AS missing,
      coalesce(sum(greatest(r - s, 0)), 0)::DOUBLE AS extra, 0::DOUBLE AS different
    FROM bags`);
  const select = `SELECT ${columns.map((column, index) => `${column} AS k${index}`).join(", ") || "1"} FROM bags`;
  const examples: Example[] = [];
  for (const [kind, condition] of [
    ["missing", "s > r"],
    ["extra", "r > s"],
  ] as const) {
    if (counts[kind] === 0) continue;
    const rows = await session.rows<Texts>(`${select} WHERE ${condition} LIMIT ${EXAMPLES}`);
    const all = { ...shape, key: shape.columns.map((_, index) => index) };
    for (const row of rows) examples.push({ kind, row: named(all, row) });
  }
  return { ...counts, examples };
}

type Texts = Record<string, string | null>;

function named(shape: Shape, row: Texts): Record<string, string | null> {
  return Object.fromEntries(
    shape.key.map((index) => [shape.columns[index], short(row[`k${index}`] ?? null)]),
  );
}

function differing(shape: Shape, row: Texts): NonNullable<Example["columns"]> {
  const columns: Record<string, { source: string | null; stage: string | null }> = {};
  for (const [index, name] of shape.columns.entries()) {
    const source = row[`s${index}`] ?? null;
    const stage = row[`r${index}`] ?? null;
    if (source !== stage) columns[name] = { source: short(source), stage: short(stage) };
  }
  return columns;
}

function short(value: string | null): string | null {
  return value !== null && value.length > LONGEST_VALUE ? `${value.slice(0, LONGEST_VALUE)}…` : value;
}
