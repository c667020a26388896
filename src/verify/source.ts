import { createWriteStream, type WriteStream } from "node:fs";
import { once } from "node:events";
import { escapeIdentifier, type Client, type Connection, type Submittable } from "pg";

/** A table of the source as it was at the fence. */
export interface SourceTable {
  readonly oid: number;
  readonly schema: string;
  readonly name: string;
  readonly partitioned: boolean;
  readonly columns: readonly { readonly name: string; readonly generated: boolean }[];
}

/** Tables that can be captured: permanent, ordinary or partitioned, no partitions, in these schemas. */
export async function listTables(client: Client, schemas: readonly string[]): Promise<SourceTable[]> {
  const { rows } = await client.query<{
    oid: string;
    schema: string;
    name: string;
    partitioned: boolean;
    columns: { name: string; generated: boolean }[] | null;
  }>(
    `SELECT c.oid::text, n.nspname::text AS schema, c.relname::text AS name, c.relkind = 'p' AS partitioned,
       (SELECT json_agg(json_build_object('name', a.attname, 'generated', a.attgenerated <> '') ORDER BY a.attnum)
        FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) AS columns
     FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relkind IN ('r', 'p') AND c.relpersistence = 'p' AND NOT c.relispartition AND n.nspname = ANY ($1)
     ORDER BY n.nspname, c.relname`,
    [schemas],
  );
  return rows.map((row) => ({ ...row, oid: Number(row.oid), columns: row.columns ?? [] }));
}

/** Whether somebody streams from this slot. */
export async function isActive(client: Client, slot: string): Promise<boolean> {
  const { rows } = await client.query<{ active: boolean }>(
    "SELECT active FROM pg_replication_slots WHERE slot_name = $1",
    [slot],
  );
  return rows[0]?.active === true;
}

/** A condition of a SELECT on the source, for a sample; or TRUE. */
export interface SourceQuery {
  readonly table: SourceTable;
  readonly columns: readonly string[];
  readonly where: string;
}

/** The table was altered or is locked: what its rows were at the fence cannot be told any more. */
export class TableChangedError extends Error {
  override readonly name = "TableChangedError";
}

/** SQLSTATEs of a table that is locked, gone, or has other columns than at the fence. */
const CHANGED = new Set(["55P03", "42P01", "42703", "3F000", "XX000"]);

/**
 * Writes the table's rows at the fence to a CSV file, one constant column first: a row without a value would be an
 * empty line. Locks on the table are given back at once, the snapshot is kept. Throws a TableChangedError.
 */
export async function copyTable(client: Client, query: SourceQuery, path: string): Promise<void> {
  const { table } = query;
  const from = `${table.partitioned ? "" : "ONLY "}${escapeIdentifier(table.schema)}.${escapeIdentifier(table.name)}`;
  const columns = ["1", ...query.columns.map(escapeIdentifier)].join(", ");
  await client.query("SAVEPOINT one_table");
  try {
    const sql = `COPY (SELECT ${columns} FROM ${from} WHERE ${query.where}) TO STDOUT (FORMAT csv)`;
    await copyToFile(client, sql, path);
    if (await wasRewritten(client, table))
      throw new TableChangedError("was rewritten or truncated meanwhile");
  } catch (error) {
    const code = error instanceof Error && "code" in error ? String(error.code) : "";
    if (CHANGED.has(code))
      throw new TableChangedError(`changed meanwhile (${(error as Error).message})`, { cause: error });
    throw error;
  } finally {
    await client.query("ROLLBACK TO SAVEPOINT one_table");
  }
}

/**
 * TRUNCATE and rewriting ALTERs are not seen through a snapshot: the table looks empty, or new. The catalog's rows
 * are read through the snapshot, pg_relation_filenode() is not, so the two differ.
 * https://www.postgresql.org/docs/current/mvcc-caveats.html
 */
async function wasRewritten(client: Client, table: SourceTable): Promise<boolean> {
  const { rows } = await client.query<{ same: boolean | null }>(
    `WITH RECURSIVE parts AS (
       SELECT $1::oid AS oid
       UNION ALL SELECT i.inhrelid FROM pg_inherits i JOIN parts p ON i.inhparent = p.oid WHERE $2)
     SELECT bool_and(pg_relation_filenode(c.oid) IS NOT DISTINCT FROM c.relfilenode) AS same
     FROM parts p JOIN pg_class c ON c.oid = p.oid WHERE c.relkind = 'r'`,
    [table.oid, table.partitioned],
  );
  return rows[0]?.same === false;
}

async function copyToFile(client: Client, sql: string, path: string): Promise<void> {
  const out = createWriteStream(path);
  try {
    await once(out, "open");
    await client.query(new CopyToStream(sql, out)).done;
    out.end();
    await once(out, "finish");
  } catch (error) {
    out.destroy();
    throw error;
  }
}

/** Small rows are gathered into writes of this size. */
const GATHER_BYTES = 256 * 1024;

/** A COPY … TO STDOUT whose data go to a stream, which may slow it down. */
class CopyToStream implements Submittable {
  readonly done: Promise<void>;
  readonly #text: string;
  readonly #out: WriteStream;
  #resolve: () => void = () => {};
  #reject: (error: Error) => void = () => {};
  #connection: Connection | null = null;
  #gathered: Buffer[] = [];
  #gatheredBytes = 0;

  constructor(text: string, out: WriteStream) {
    this.#text = text;
    this.#out = out;
    this.done = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    out.on("error", (error) => this.#connection?.stream.destroy(error));
  }

  submit(connection: Connection): void {
    this.#connection = connection;
    connection.query(this.#text);
  }

  handleCopyData(message: { chunk: Buffer }): void {
    // pg reuses the buffer that the chunk is a part of.
    this.#gathered.push(Buffer.from(message.chunk));
    this.#gatheredBytes += message.chunk.length;
    if (this.#gatheredBytes >= GATHER_BYTES) this.#flush();
  }

  #flush(): void {
    const goesOn = this.#out.write(Buffer.concat(this.#gathered));
    this.#gathered = [];
    this.#gatheredBytes = 0;
    const stream = this.#connection?.stream;
    if (goesOn || !stream) return;
    stream.pause();
    this.#out.once("drain", () => stream.resume());
  }

  handleCommandComplete(): void {
    if (this.#gatheredBytes > 0) this.#flush();
  }

  handleError(error: Error): void {
    this.#reject(error);
  }

  handleReadyForQuery(): void {
    // A file that is ended meanwhile does not say any more that it has drained.
    this.#connection?.stream.resume();
    this.#resolve();
  }
}
