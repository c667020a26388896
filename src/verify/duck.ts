import { DuckDBInstance, type DuckDBConnection } from "@duckdb/node-api";

/**
 * DuckDB, the engine that rebuilds: an in-memory database that moves to files in `scratch` what does not fit in
 * `memoryBytes`.
 */
export class Duck {
  readonly #instance: DuckDBInstance;

  private constructor(instance: DuckDBInstance) {
    this.#instance = instance;
  }

  static async open(options: { memoryBytes: number; scratch: string }): Promise<Duck> {
    const instance = await DuckDBInstance.create(":memory:", {
      memory_limit: `${Math.ceil(options.memoryBytes / 2 ** 20)}MiB`,
      temp_directory: options.scratch,
      preserve_insertion_order: "false",
      autoinstall_known_extensions: "false",
    });
    return new Duck(instance);
  }

  /** A connection; temporary tables are its own. */
  async session(): Promise<DuckSession> {
    return new DuckSession(await this.#instance.connect());
  }

  close(): void {
    this.#instance.closeSync();
  }
}

/** A value of a result as JSON: 64-bit integers and larger are text. */
export type Cell = string | number | boolean | null | Cell[] | { [key: string]: Cell };

export class DuckSession {
  readonly #connection: DuckDBConnection;

  constructor(connection: DuckDBConnection) {
    this.#connection = connection;
  }

  async run(sql: string): Promise<void> {
    await this.#connection.run(sql);
  }

  async rows<Row extends Record<string, Cell>>(sql: string): Promise<Row[]> {
    const result = await this.#connection.runAndReadAll(sql);
    return result.getRowObjectsJson() as Row[];
  }

  /** The only row of a query that always gives one. */
  async row<Row extends Record<string, Cell>>(sql: string): Promise<Row> {
    const [row] = await this.rows<Row>(sql);
    if (!row) throw new Error(`no row from: ${sql}`);
    return row;
  }

  /** Ends what runs on this connection now. */
  interrupt(): void {
    this.#connection.interrupt();
  }

  close(): void {
    this.#connection.closeSync();
  }
}

export function literal(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}
