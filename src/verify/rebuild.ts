import { literal, type DuckSession } from "./duck.ts";
import { positionOf } from "./load.ts";

export interface RebuildPlan {
  /** Columns of the table; cN in `staged` is columns[N]. */
  readonly columns: readonly string[];
  /** Their numbers that identify a row; empty: the table is a bag of rows. */
  readonly key: readonly number[];
  /** An LSN. Changes that committed before it count, and copies up to it: those are at (LSN, 0). */
  readonly before: bigint;
}

export interface Rebuilt {
  /** What the rows break of the contract; empty if nothing. */
  readonly problems: readonly string[];
}

/**
 * Makes the temporary view `rebuilt` (c0, c1, …) from `staged`: the table as the contract's rules for
 * reading the stage say it was at `before`. A table without a key has one more column, `copies`.
 */
export async function rebuild(session: DuckSession, plan: RebuildPlan): Promise<Rebuilt> {
  await session.run(`CREATE OR REPLACE TEMP VIEW visible AS SELECT rowid AS id, * FROM staged
    WHERE position <= ${positionOf(plan.before)}`);
  // The newest truncation voids every row with a smaller position; a copy's rows stand at its own.
  const { since } = await session.row<{ since: string | null }>(
    `SELECT CAST(max(position) AS VARCHAR) AS since FROM visible WHERE op = 't'`,
  );
  await session.run(`CREATE OR REPLACE TEMP VIEW living AS SELECT * FROM visible
    WHERE op <> 't' AND position >= ${since ?? "0"}`);
  if (plan.key.length === 0) {
    await rebuildBag(session, plan);
    return { problems: since === null ? [NO_COPY] : await bagProblems(session) };
  }
  await newestRows(session, plan);
  const problems = [...(await copyProblems(session, plan)), ...(await fillUnchanged(session, plan))];
  return { problems: since === null ? [NO_COPY, ...problems] : problems };
}

const NO_COPY = "no copy of the table begins before the comparison";

/** Rows that came by, less those that went, per distinct row. */
async function rebuildBag(session: DuckSession, plan: RebuildPlan): Promise<void> {
  const columns = plan.columns.map((_, index) => `c${index}`);
  const sum = "sum(CASE WHEN op = 'd' THEN -1 ELSE 1 END)";
  await session.run(`CREATE OR REPLACE TEMP TABLE bag AS
    SELECT ${[...columns, `CAST(${sum} AS BIGINT) AS copies`].join(", ")} FROM living
    ${columns.length > 0 ? `GROUP BY ${columns.join(", ")}` : ""} HAVING ${sum} <> 0`);
  await session.run("CREATE OR REPLACE TEMP VIEW rebuilt AS SELECT * FROM bag");
}

async function bagProblems(session: DuckSession): Promise<string[]> {
  const { negative } = await session.row<{ negative: number }>(
    "SELECT count(*)::INTEGER AS negative FROM rebuilt WHERE copies < 0",
  );
  return negative > 0 ? [`${negative} distinct row(s) were deleted more often than they came`] : [];
}

/** `newest`: for every key its newest row. The row as such is fetched by id later: only keys and numbers are sorted. */
async function newestRows(session: DuckSession, plan: RebuildPlan): Promise<void> {
  const key = plan.key.map((index) => `c${index}`).join(", ");
  await session.run(`CREATE OR REPLACE TEMP TABLE newest AS
    SELECT ${key}, arg_max(id, position) AS id, max(position) AS position,
      max(position) FILTER (op = 'd') AS deleted
    FROM living GROUP BY ${key}`);
  const columns = plan.columns.map((_, index) => `s.c${index}`);
  await session.run(`CREATE OR REPLACE TEMP VIEW rebuilt AS SELECT ${columns.join(", ")}
    FROM staged s JOIN newest n ON s.rowid = n.id WHERE s.op <> 'd'`);
}

/** A copy that holds a key twice at one consistent point could not be told which is right. */
async function copyProblems(session: DuckSession, plan: RebuildPlan): Promise<string[]> {
  const key = plan.key.map((index) => `c${index}`).join(", ");
  const { twice } = await session.row<{ twice: number }>(`SELECT count(*)::INTEGER AS twice FROM (
    SELECT 1 FROM living WHERE op = 'r' GROUP BY ${key}, position HAVING count(*) > 1)`);
  return twice > 0 ? [`${twice} key(s) are there twice in one copy`] : [];
}

/** Gives the newest rows with `_unchanged` columns the values that those columns had in the row before. */
async function fillUnchanged(session: DuckSession, plan: RebuildPlan): Promise<string[]> {
  await session.run(`CREATE OR REPLACE TEMP TABLE partial AS
    SELECT s.rowid AS id, from_json(s.unchanged, '["VARCHAR"]') AS names
    FROM staged s JOIN newest n ON s.rowid = n.id WHERE s.op <> 'd' AND s.unchanged IS NOT NULL`);
  const names = await session.rows<{ name: string }>("SELECT DISTINCT unnest(names) AS name FROM partial");
  const filled = names.map(({ name }) => plan.columns.indexOf(name)).filter((index) => index >= 0);
  if (filled.length === 0) return [];
  await session.run(`CREATE OR REPLACE TEMP TABLE filled AS ${earlierValues(plan, filled)}`);
  await fillIn(session, plan, filled);
  const lost = filled.map((index) => `(f.u${index} AND f.v${index} IS NULL)`).join(" OR ");
  const { rows } = await session.row<{ rows: number }>(
    `SELECT count(*)::INTEGER AS rows FROM filled f WHERE ${lost}`,
  );
  return rows > 0 ? [`${rows} row(s) have an unchanged column that no earlier row has`] : [];
}

/** Makes `rebuilt` from `filled`, a table at a time: of one join's values, not of all, some have to be in memory. */
async function fillIn(session: DuckSession, plan: RebuildPlan, filled: readonly number[]): Promise<void> {
  for (const index of filled) {
    await session.run(`CREATE OR REPLACE TEMP TABLE value${index} AS SELECT f.id, s.c${index} AS value
      FROM filled f JOIN staged s ON s.rowid = f.v${index} WHERE f.u${index}`);
  }
  const columns = plan.columns.map((_, index) =>
    filled.includes(index)
      ? `CASE WHEN v${index}.id IS NULL THEN s.c${index} ELSE v${index}.value END AS c${index}`
      : `s.c${index}`,
  );
  const values = filled.map((index) => `LEFT JOIN value${index} v${index} ON v${index}.id = n.id`);
  await session.run(`CREATE OR REPLACE TEMP TABLE whole AS SELECT ${columns.join(", ")}
    FROM staged s JOIN newest n ON s.rowid = n.id ${values.join(" ")} WHERE s.op <> 'd'`);
  await session.run("CREATE OR REPLACE TEMP VIEW rebuilt AS SELECT * FROM whole");
}

/**
 * uN: the newest row does not have column N. vN: the newest row that has it, by id, because an aggregate keeps what it
 * has found in memory, and a value may be large.
 */
function earlierValues(plan: RebuildPlan, filled: readonly number[]): string {
  const sameKey = plan.key.map((index) => `l.c${index} = n.c${index}`).join(" AND ");
  const values = filled.map((index) => {
    const name = literal(plan.columns[index] ?? "");
    return `coalesce(bool_or(list_contains(p.names, ${name})), FALSE) AS u${index},
      arg_max(l.id, l.position)
        FILTER (l.unchanged IS NULL OR NOT list_contains(from_json(l.unchanged, '["VARCHAR"]'), ${name})) AS v${index}`;
  });
  return `SELECT n.id, ${values.join(", ")} FROM partial p JOIN newest n ON p.id = n.id
    JOIN living l ON ${sameKey} AND l.op <> 'd' AND (n.deleted IS NULL OR l.position > n.deleted) GROUP BY n.id`;
}
