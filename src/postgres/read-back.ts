import type { Client } from "pg";
import { ident, literal, sqlState } from "./quote.ts";
import { RAW_TYPES } from "./connect.ts";

export interface ReadBackTable {
  readonly oid: number;
  readonly columns: readonly string[];
  readonly key: readonly string[];
}

type Row = readonly (string | null)[];

/**
 * The keys are no values of the column's type as it is now (data exceptions: it was altered), or cannot be compared
 * as such: undefined_function, feature_not_supported and their kin (an extension's equality, which our search_path
 * does not show; composite types). Their texts always can.
 */
const NO_VALUE = /^(22|0A|42883|42804|42P18|42725)/;
/** undefined_table, undefined_column, invalid_schema_name: altered between the question for its name and the one for rows. */
const ALTERED = /^(42P01|42703|3F000)$/;
const TRIES = 5;

/**
 * Those of these committed transactions that no snapshot shows yet. A walsender sends a commit once its record is on disk;
 * the backend then waits for synchronous standbys, leaves the list of running transactions, and gives back its locks,
 * in this order. Source: PostgreSQL, xact.c, CommitTransaction; twophase.c, FinishPreparedTransaction.
 */
export async function invisibleAmong(client: Client, xids: readonly number[]): Promise<number[]> {
  const { rows } = await client.query<{ xid: string }>(
    `SELECT transactionid::text AS xid FROM pg_catalog.pg_locks
      WHERE locktype = 'transactionid' AND granted AND mode = 'ExclusiveLock'
        AND transactionid = ANY ($1::text[]::xid[])`,
    [xids],
  );
  return rows.map(({ xid }) => Number(xid));
}

/**
 * Current values of rows, by key, as Postgres prints them; null for a row that is not there, and undefined values
 * (holes) for columns that are not there any more. The answers are in the order of `keys`.
 */
export async function readBack(
  client: Client,
  table: ReadBackTable,
  keys: readonly (readonly string[])[],
): Promise<(Row | null)[]> {
  for (let tries = 1; ; tries++) {
    try {
      return await readOnce(client, table, keys);
    } catch (error) {
      if (tries === TRIES || !ALTERED.test(sqlState(error) ?? "")) throw error;
    }
  }
}

async function readOnce(
  client: Client,
  table: ReadBackTable,
  keys: readonly (readonly string[])[],
): Promise<(Row | null)[]> {
  const now = await currentTable(client, table.oid);
  if (!now || !table.key.every((name) => now.columns.has(name))) return keys.map(() => null);
  const there = table.columns.filter((name) => now.columns.has(name));
  const rows = await select(client, { name: now.name, there, key: table.key, keys });
  const found = new Map(
    rows.map((row) => [JSON.stringify(row.slice(0, table.key.length)), row.slice(table.key.length)]),
  );
  return keys.map((key) => {
    const row = found.get(JSON.stringify(key));
    if (!row) return null;
    const values = new Map(there.map((name, i) => [name, row[i] ?? null]));
    return table.columns.map((name) => values.get(name) as string | null);
  });
}

async function currentTable(
  client: Client,
  oid: number,
): Promise<{ name: string; columns: Set<string> } | null> {
  const { rows } = await client.query<{ name: string; columns: string[] }>(
    `SELECT CASE c.relkind WHEN 'r' THEN 'ONLY ' ELSE '' END || pg_catalog.format('%I.%I', n.nspname, c.relname) AS name,
            pg_catalog.array_agg(a.attname::text) AS columns
       FROM pg_catalog.pg_class c
       JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
       JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
      WHERE c.oid = $1::oid GROUP BY 1`,
    [oid],
  );
  const [row] = rows;
  return row ? { name: row.name, columns: new Set(row.columns) } : null;
}

interface Question {
  readonly name: string;
  readonly there: readonly string[];
  readonly key: readonly string[];
  readonly keys: readonly (readonly string[])[];
}

async function select(client: Client, question: Question): Promise<string[][]> {
  const query = async (condition: string): Promise<string[][]> => {
    const columns = [...question.key, ...question.there].map(ident).join(", ");
    const text = `SELECT ${columns} FROM ${question.name} WHERE ${condition}`;
    const { rows } = await client.query<string[]>({ text, rowMode: "array", types: RAW_TYPES });
    return rows;
  };
  try {
    return await query(byValue(question));
  } catch (error) {
    if (!NO_VALUE.test(sqlState(error) ?? "")) throw error;
    return query(byText(question));
  }
}

/** Untyped constants take the types of the key's columns, so that its index serves. */
function byValue({ key, keys }: Question): string {
  if (key.length === 1)
    return `${ident(key[0] as string)} IN (${keys.map((values) => literal(values[0] as string)).join(", ")})`;
  const tuples = keys.map((values) => `(${values.map(literal).join(", ")})`);
  return `(${key.map(ident).join(", ")}) IN (${tuples.join(", ")})`;
}

function byText({ key, keys }: Question): string {
  const printed = key.map((name) => `pg_catalog.format('%s', ${ident(name)})`);
  const tuples = keys.map((values) => `(${values.map(literal).join(", ")})`);
  return `(${printed.join(", ")}) IN (${tuples.join(", ")})`;
}
