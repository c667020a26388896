import { Buffer } from "node:buffer";
import { csvRecord, formatTimestamp, metadataColumns } from "../csv/header.ts";
import { copyFileName, hourFolder, tableFolder } from "../core/layout.ts";
import { formatLsn, type Lsn } from "../core/lsn.ts";
import { longestOf, shapeId, type LargeRow, type Shape } from "../core/shape.ts";
import type { CatalogTable } from "../core/table.ts";
import { LARGE_ROW_BYTES } from "../core/memory.ts";
import { splitRecord } from "../csv/split.ts";
import type { DeliveredFile } from "../delivery/delivery.ts";
import { FileWriter, heldBytes, type WriterParts } from "../delivery/file-writer.ts";

/** CSV bytes after which a copied file is long enough for an upload in parts; its name is known from the start. */
const UPLOAD_FROM_BYTES = 4 * 1024 * 1024;

export interface RangeFileOptions {
  readonly parts: WriterParts & { readonly fileMaxBytes: number };
  readonly table: CatalogTable;
  readonly range: number;
  /** The session's consistent point: `_lsn` of the rows, and the name of the file. */
  readonly point: Lsn;
  /** When that was, in microseconds since 1970: `_committed_at` of the rows, and the folder. */
  readonly pointMicros: bigint;
  /** Where the copy of the table began, if the file is to begin with the `t` row that says so. */
  readonly truncateAt: Lsn | null;
  readonly metadataPrefix: string;
  readonly largeRow: (row: LargeRow) => void;
}

export function shapeOf(table: CatalogTable): Shape {
  const { oid, schema, name, replicaIdentity, key } = table;
  const columns = table.columns.map((column) => {
    return { name: column.name, typeOid: column.typeOid, typeModifier: column.typeModifier };
  });
  return { oid, schema, table: name, replicaIdentity, columns, key };
}

/** The file of one copied range; several if the range is longer than a file may be. */
export class RangeFile {
  readonly #options: RangeFileOptions;
  readonly #header: Buffer;
  readonly #prefix: Buffer;
  readonly #finishing: Promise<DeliveredFile>[] = [];
  #writer: FileWriter;
  #roll = 1;

  constructor(options: RangeFileOptions) {
    this.#options = options;
    const { table, metadataPrefix, point, pointMicros } = options;
    this.#header = csvRecord([
      ...metadataColumns(metadataPrefix),
      ...table.columns.map((column) => column.name),
    ]);
    // `_unchanged` stays empty. A single column comes with an empty one before it, whose comma is this one.
    const comma = table.columns.length >= 2 ? "," : "";
    this.#prefix = Buffer.from(`r,${formatLsn(point)},0,${formatTimestamp(pointMicros)},${comma}`);
    this.#writer = new FileWriter(options.parts, this.#header);
    if (options.truncateAt !== null) this.#writeTruncated(options.truncateAt);
  }

  #writeTruncated(at: Lsn): void {
    const { table, pointMicros } = this.#options;
    const row = Buffer.from(
      `t,${formatLsn(at)},0,${formatTimestamp(pointMicros)},${",".repeat(table.columns.length)}\n`,
    );
    this.#append(row, Buffer.alloc(0));
  }

  /** One row as COPY sends it, with its line feed. A promise asks to wait. */
  write(row: Buffer): Promise<void> | null {
    this.#append(this.#prefix, row);
    if (row.length > LARGE_ROW_BYTES) this.#tellLarge(row);
    const writer = this.#writer;
    if (writer.csvBytes >= this.#options.parts.fileMaxBytes) this.#next();
    else if (writer.key === null && writer.csvBytes >= UPLOAD_FROM_BYTES) writer.beginUpload(this.#key());
    return writer.isFull ? writer.room() : null;
  }

  #tellLarge(row: Buffer): void {
    const { table, largeRow } = this.#options;
    const columns = table.columns.map((column) => column.name);
    const fields = splitRecord(row);
    // A single column comes with an empty one before it.
    const values = columns.length === 1 ? fields.slice(1) : fields;
    const key = table.key.map((name) => values[columns.indexOf(name)]?.toString("utf8") ?? "");
    largeRow({ shape: shapeOf(table), key, bytes: row.length, longest: longestOf(columns, values) });
  }

  #append(head: Buffer, rest: Buffer): void {
    const writer = this.#writer;
    writer.reserve(head.length + rest.length);
    writer.buffer.set(head, writer.end);
    writer.buffer.set(rest, writer.end + head.length);
    writer.end += head.length + rest.length;
    writer.rows++;
  }

  #next(): void {
    this.#finishOne();
    this.#roll++;
    this.#writer = new FileWriter(this.#options.parts, this.#header);
  }

  #key(): string {
    const { table, range, point, pointMicros, parts } = this.#options;
    const folder = tableFolder(table.schema, table.name) + hourFolder(pointMicros);
    return folder + copyFileName(point, range, this.#roll, parts.compression);
  }

  #finishOne(): void {
    const finishing = this.#describe(this.#writer, this.#key());
    finishing.catch(() => {}); // told to whoever finishes the range
    this.#finishing.push(finishing);
  }

  async #describe(writer: FileWriter, key: string): Promise<DeliveredFile> {
    const { table, point, truncateAt, metadataPrefix } = this.#options;
    const firstLsn = this.#roll === 1 ? (truncateAt ?? point) : point;
    // An empty range that begins a copy holds the `t` row alone.
    const lastLsn = writer.rows > 1 ? point : firstLsn;
    const file = await writer.finish(key);
    const shape = shapeId(shapeOf(table), metadataPrefix);
    const names = { schemaName: table.schema, tableName: table.name };
    return { key, ...names, oid: table.oid, shape, firstLsn, lastLsn, file };
  }

  /** Completes the files. A last one without rows is left out, unless it is the only one. */
  async finish(): Promise<DeliveredFile[]> {
    if (this.#writer.rows > 0 || this.#finishing.length === 0) this.#finishOne();
    else this.#writer.discard();
    return Promise.all(this.#finishing);
  }

  /** Gives up before `finish`: the next attempt at the range begins anew. */
  discard(): void {
    const { memory } = this.#options.parts;
    this.#writer.discard();
    for (const finishing of this.#finishing) {
      finishing.then(
        ({ file }) => memory.release(heldBytes(file)),
        () => {},
      );
    }
  }
}
