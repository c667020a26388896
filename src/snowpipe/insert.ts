import { DuckDBDataChunk, VARCHAR, type DuckDBConnection } from "@duckdb/node-api";

/** Rows that DuckDB takes at once. */
const CHUNK_ROWS = 2_048;
/** For which one statement is quicker. */
const FEW_ROWS = 64;
const BUFFER = "snowpipe_rows";

/** Inserts rows of texts in one transaction; they become what the columns are. `table` and `columns` are ready to print. */
export async function insertRows(
  connection: DuckDBConnection,
  insert: {
    readonly table: string;
    readonly columns: readonly string[];
    readonly rows: readonly (readonly (string | null)[])[];
  },
): Promise<void> {
  const { table, columns, rows } = insert;
  const into = `INSERT INTO ${table} (${columns.join(", ")})`;
  if (rows.length <= FEW_ROWS) {
    const values = rows.map((row) => `(${row.map(literal).join(", ")})`);
    await connection.run(`${into} VALUES ${values.join(", ")}`);
    return;
  }
  const names = columns.map((_, index) => `c${index}`);
  await connection.run(
    `CREATE OR REPLACE TEMP TABLE ${BUFFER} (${names.map((name) => `${name} VARCHAR`).join(", ")})`,
  );
  const appender = await connection.createAppender(BUFFER, "main", "temp");
  const types = columns.map(() => VARCHAR);
  for (let at = 0; at < rows.length; at += CHUNK_ROWS) {
    const part = rows.slice(at, at + CHUNK_ROWS);
    const chunk = DuckDBDataChunk.create(types, part.length);
    chunk.setColumns(columns.map((_, index) => part.map((row) => row[index] ?? null)));
    appender.appendDataChunk(chunk);
  }
  appender.closeSync();
  await connection.run(`${into} SELECT ${names.join(", ")} FROM ${BUFFER}`);
}

function literal(value: string | null): string {
  return value === null ? "NULL" : `'${value.replaceAll("'", "''")}'`;
}
