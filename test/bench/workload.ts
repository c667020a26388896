import type { Source } from "./source.ts";

/** Columns beside the key: so many of one line each, or a few with a document of about 1 KB. */
type Columns = 2 | 10 | 200 | "documents";

/** What a stream is made of. */
export interface StreamCase {
  readonly name: string;
  readonly columns: Columns;
  readonly tables: number;
  readonly rowsPerTransaction: number;
  /** Share of the full number of rows, for wide ones. */
  readonly share: number;
  readonly quick?: boolean;
  readonly s3?: boolean;
}

const COLUMNS: Readonly<Record<Columns, readonly [type: string, value: string][]>> = {
  2: [["text", "'row '||i"]],
  10: [
    ["text", "'text of row '||i"],
    ["numeric", "i*1.25"],
    ["timestamptz", "now()"],
    ...Array.from({ length: 6 }, (_, k): [string, string] => ["int", `i*${k + 1}%2000000000`]),
  ],
  200: Array.from({ length: 199 }, (_, k): [string, string] => {
    return k % 4 === 0 ? ["text", `'value ${k} of row '||i`] : ["int", `(i*${k + 1})%1000000`];
  }),
  documents: [
    ["timestamptz", "now()"],
    ["text", "md5(i::text)"],
    [
      "jsonb",
      `jsonb_build_object('name', 'customer '||i, 'note', repeat('a line that says little. ', 8), 'at', now(),
         'tags', (SELECT jsonb_agg(md5((i+k)::text)) FROM generate_series(1, 16) AS k))`,
    ],
  ],
};

function tableNames({ tables }: Pick<StreamCase, "tables">): string[] {
  return Array.from({ length: tables }, (_, i) => `t${String(i + 1).padStart(5, "0")}`);
}

export async function createTables(
  source: Source,
  what: Pick<StreamCase, "columns" | "tables">,
): Promise<void> {
  const columns = COLUMNS[what.columns].map(([type], i) => `c${i + 1} ${type}`).join(", ");
  const all = tableNames(what).map((name) => `CREATE TABLE ${name} (id bigint PRIMARY KEY, ${columns})`);
  for (let at = 0; at < all.length; at += 500) await source.sql(all.slice(at, at + 500).join(";"));
}

/** Rows that one statement writes when a transaction goes over many tables. */
const ROWS_PER_TABLE = 20;

/** Inserts `rows` rows in transactions of the case's size; with many tables each transaction goes over 50 of them in turn. */
export async function writeRows(source: Source, what: StreamCase, rows: number): Promise<void> {
  const values = COLUMNS[what.columns].map(([, value]) => value).join(", ");
  const size = Math.min(what.rowsPerTransaction, rows);
  const transactions = Math.ceil(rows / size);
  const perTable = what.tables === 1 ? size : Math.min(size, ROWS_PER_TABLE);
  await source.sql(`DO $$
    DECLARE n bigint := 0; turn int := 0;
    BEGIN
      FOR tx IN 1..${transactions} LOOP
        FOR part IN 1..${Math.ceil(size / perTable)} LOOP
          EXECUTE 'INSERT INTO t' || lpad((turn % ${what.tables} + 1)::text, 5, '0') ||
            ' SELECT i, ${values.replaceAll("'", "''")} FROM generate_series($1 + 1, $1 + ${perTable}) AS i' USING n;
          n := n + ${perTable};
          turn := turn + 1;
        END LOOP;
        COMMIT;
      END LOOP;
    END $$`);
}

/** Rows that `writeRows` really writes. */
export function rowsWritten(what: StreamCase, rows: number): number {
  const size = Math.min(what.rowsPerTransaction, rows);
  const perTable = what.tables === 1 ? size : Math.min(size, ROWS_PER_TABLE);
  return Math.ceil(rows / size) * Math.ceil(size / perTable) * perTable;
}
