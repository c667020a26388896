import { createReadStream } from "node:fs";
import { rm } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { DuckDBInstance } from "@duckdb/node-api";
import type { Client, Connection, Submittable } from "pg";
import { OperatorError } from "../core/errors.ts";
import { DEMO_TABLES, type DemoTable } from "./tables.ts";

/** Where vega-datasets keeps its files. */
function datasetFolder(): string {
  try {
    const require = createRequire(import.meta.url);
    return join(dirname(require.resolve("vega-datasets")), "..", "data");
  } catch {
    throw new OperatorError(
      "the demo's data are not installed: package vega-datasets is missing",
      "install pgstage with its optional dependencies: npm ci --include=optional",
    );
  }
}

/** Makes all tables and fills them. `loaded` hears of each with its number of rows. */
export async function loadTables(
  client: Client,
  scratch: string,
  loaded: (table: DemoTable, rows: number) => void,
): Promise<void> {
  const data = datasetFolder();
  const duck = await (await DuckDBInstance.create(":memory:", { memory_limit: "512MiB" })).connect();
  try {
    for (const table of DEMO_TABLES) {
      await client.query(table.ddl);
      if (table.rows === null) {
        loaded(table, 0);
        continue;
      }
      const path = join(scratch, "load.csv");
      const select = table.rows.replaceAll("$data", data.replaceAll("'", "''"));
      await duck.run(`COPY (${select}) TO '${path.replaceAll("'", "''")}' (FORMAT csv, HEADER false)`);
      const rows = await client.query(
        new CopyIn(`COPY ${table.name} (${table.columns}) FROM STDIN (FORMAT csv)`, path),
      ).done;
      await rm(path);
      loaded(table, rows);
    }
  } finally {
    duck.closeSync();
  }
  await client.query("ANALYZE");
}

/** pg's Connection has these; its types do not know. */
interface CopyConnection extends Connection {
  query(text: string): void;
  sendCopyFromChunk(chunk: Buffer): void;
  endCopyFrom(): void;
  sendCopyFail(message: string): void;
}

/** COPY … FROM STDIN with the content of a file. */
class CopyIn implements Submittable {
  readonly done: Promise<number>;
  readonly #text: string;
  readonly #path: string;
  #resolve: (rows: number) => void = () => {};
  #reject: (error: Error) => void = () => {};
  #rows = 0;

  constructor(text: string, path: string) {
    this.#text = text;
    this.#path = path;
    this.done = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
  }

  submit(connection: Connection): void {
    (connection as CopyConnection).query(this.#text);
  }

  handleCopyInResponse(connection: CopyConnection): void {
    const file = createReadStream(this.#path, { highWaterMark: 256 * 1024 });
    file.on("data", (chunk) => {
      connection.sendCopyFromChunk(chunk as Buffer);
      if (!connection.stream.writableNeedDrain) return;
      file.pause();
      connection.stream.once("drain", () => file.resume());
    });
    file.on("end", () => connection.endCopyFrom());
    file.on("error", (error) => connection.sendCopyFail(error.message));
  }

  handleCommandComplete(message: { text: string }): void {
    this.#rows = Number(message.text.split(" ")[1]);
  }

  handleError(error: Error): void {
    this.#reject(error);
  }

  handleReadyForQuery(): void {
    this.#resolve(this.#rows);
  }
}
