/**
 * Changes of a table's shape, as steps of SQL. `%T` is the table, `%N` its name alone.
 */
export interface ShapeCase {
  readonly name: string;
  /** Columns and constraints; the usual ones if not given. */
  readonly columns?: string;
  /** Run after the table is made and before it is filled, or instead of it if `columns` is empty. */
  readonly setup?: string;
  /** The table as an INSERT fills it; the usual rows if not given. */
  readonly fill?: string;
  /** One after the other, with changes of rows in between. */
  readonly steps: readonly string[];
  /** Changes of rows after step `k` (from 0); the usual ones if not given. Null: none. */
  readonly touch?: ((k: number) => string) | null;
  /** Why the table is copied again, once for each step that asks for it; none if it is not. */
  readonly reasons: readonly RegExp[];
  readonly since?: number;
  readonly before?: number;
}

const USUAL_COLUMNS = "id int PRIMARY KEY, a int, b text, v varchar(10), big text";
const USUAL_FILL =
  "INSERT INTO %T SELECT i, i * 10, 'b' || i, 'v' || i, repeat(md5(i::text), 200) FROM generate_series(1, 40) AS i";

/** Inserts, updates of all values and deletes that do not name a column but `id`. */
export function usualTouch(k: number): string {
  return `INSERT INTO %T (id) VALUES (${1000 + k}); UPDATE %T SET id = id WHERE id % 4 = ${k % 4}; DELETE FROM %T WHERE id = ${10 + k}`;
}

/** The statements of a case for one table. */
export function statementsFor(
  shape: ShapeCase,
  names: { table: string; publication: string },
): { create: string; steps: string[]; touch: (k: number) => string } {
  const { table, publication } = names;
  const put = (text: string): string =>
    text
      .replaceAll("%T", `"${table}"`)
      .replaceAll("%N", table)
      .replaceAll("%C", `"${table}_pkey"`)
      .replaceAll("%I", `"${table}_unique"`)
      .replaceAll("%D", `"${table}_type"`)
      .replaceAll("%K", `"${table}_child"`)
      .replaceAll("%P", `"${publication}"`);
  const create = [
    `CREATE TABLE %T (${shape.columns ?? USUAL_COLUMNS})`,
    shape.setup ?? "",
    shape.fill ?? fillFor(shape),
  ]
    .filter(Boolean)
    .join(";\n");
  const touch = shape.touch === undefined ? usualTouch : (shape.touch ?? (() => ""));
  return { create: put(create), steps: shape.steps.map(put), touch: (k) => put(touch(k)) };
}

function fillFor(shape: ShapeCase): string {
  return shape.columns === undefined ? USUAL_FILL : "";
}
