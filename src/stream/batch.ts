import { changeFileName, tableFolder } from "../core/layout.ts";
import { laterLsn } from "../core/lsn.ts";
import type { DeliveredFile } from "../delivery/delivery.ts";
import { FileWriter, heldBytes, type WriterParts } from "../delivery/file-writer.ts";
import { Pack } from "../delivery/pack.ts";
import type { OpenFile, TableEncoder } from "./table-encoder.ts";
import type { Transaction } from "./transaction.ts";

export interface BatchParts extends WriterParts {
  readonly fileMaxBytes: number;
}

let epochs = 0;

/**
 * What will be published together: whole transactions, in one open file per (table, shape, hour). The reader writes
 * the rows; the batch decides where they go, when a file rolls, and what its name is.
 */
export class Batch {
  /** Rows and their CSV bytes so far. */
  rows = 0;
  csvBytes = 0;
  /** Tells encoders whether the file they remember is this batch's. */
  readonly epoch = ++epochs;

  /** Shapes that its files have. */
  readonly encoders = new Set<TableEncoder>();

  readonly #parts: BatchParts;
  readonly #open = new Map<TableEncoder, OpenFile>();
  readonly #partNumbers = new Map<string, number>();
  #finishing: Promise<DeliveredFile>[] = [];
  /** Ends when files are neither being packed nor about to be. */
  #relieving: Promise<void> = Promise.resolve();

  constructor(parts: BatchParts) {
    this.#parts = parts;
  }

  /** The file that takes the next row of this table in this transaction. */
  fileFor(encoder: TableEncoder, transaction: Transaction): OpenFile {
    let file = this.#openFile(encoder);
    if (file?.transaction === transaction.number) return file;
    if (file && !this.#mayTake(file, transaction)) {
      this.#roll(file);
      file = null;
    }
    file ??= this.#create(encoder, transaction);
    file.transaction = transaction.number;
    if (transaction.commitLsn < file.firstLsn) file.firstLsn = transaction.commitLsn;
    file.lastLsn = laterLsn(file.lastLsn, transaction.commitLsn);
    return file;
  }

  /** Encoders outlive batches, and two batches may write at once: the one that is delivered gets rows read back. */
  #openFile(encoder: TableEncoder): OpenFile | null {
    if (encoder.fileEpoch !== this.epoch) {
      encoder.file = this.#open.get(encoder) ?? null;
      encoder.fileEpoch = this.epoch;
    }
    return encoder.file;
  }

  /** A file has one hour, and once its upload has begun, its name and so its LSN range is fixed. */
  #mayTake(file: OpenFile, { hour, commitLsn }: Transaction): boolean {
    if (file.hour !== hour) return false;
    return file.writer.key === null || (commitLsn >= file.firstLsn && commitLsn <= file.lastLsn);
  }

  #create(encoder: TableEncoder, transaction: Transaction): OpenFile {
    const { schema, table } = encoder.relation;
    const folder = tableFolder(schema, table);
    const part = (this.#partNumbers.get(folder) ?? 0) + 1;
    this.#partNumbers.set(folder, part);
    const { hour, commitLsn, number } = transaction;
    const writer = new FileWriter(this.#parts, encoder.header);
    const lsns = { firstLsn: commitLsn, lastLsn: commitLsn };
    const file: OpenFile = { writer, encoder, folder, hour, part, ...lsns, transaction: number };
    encoder.file = file;
    encoder.fileEpoch = this.epoch;
    this.#open.set(encoder, file);
    this.encoders.add(encoder);
    return file;
  }

  /** A row is written: counts it; a file that is long enough gets no more. */
  wrote(file: OpenFile, bytes: number): void {
    this.rows++;
    this.csvBytes += bytes;
    if (file.writer.csvBytes >= this.#parts.fileMaxBytes) this.#roll(file);
  }

  #roll(file: OpenFile): void {
    this.#open.delete(file.encoder);
    if (file.encoder.file === file) file.encoder.file = null;
    const finishing = this.#finish(file);
    finishing.catch(() => {}); // told to whoever finishes the batch
    this.#finishing.push(finishing);
  }

  async #finish(file: OpenFile): Promise<DeliveredFile> {
    const { writer, encoder, firstLsn, lastLsn } = file;
    const key = keyOf(file, this.#parts);
    const { oid, schema, table } = encoder.relation;
    const finished = await writer.finish(key);
    const about = { schemaName: schema, tableName: table, oid, shape: encoder.shapeId };
    return { key, ...about, firstLsn, lastLsn, file: finished };
  }

  /**
   * Frees memory while a transaction is open: long files begin their upload; if memory is still short, the short ones
   * are finished as they are and leave in a pack. Rows may come meanwhile.
   */
  async relieve(enough: () => boolean): Promise<void> {
    const relieving = this.#relieving.then(() => this.#relieve(enough));
    this.#relieving = relieving;
    await relieving;
  }

  async #relieve(enough: () => boolean): Promise<void> {
    for (const file of this.#open.values()) {
      if (file.writer.isLarge) file.writer.beginUpload(keyOf(file, this.#parts));
    }
    const leaving = [...this.#open.values()].filter((file) => file.writer.key !== null);
    await Promise.all(leaving.map((file) => file.writer.partsGone()));
    if (enough()) return;
    for (const file of this.#open.values()) this.#roll(file);
    const finishing = this.#finishing;
    this.#finishing = [];
    const packed = await this.#pack(await Promise.all(finishing));
    this.#finishing.push(...packed.map((file) => Promise.resolve(file)));
  }

  async #pack(files: readonly DeliveredFile[]): Promise<DeliveredFile[]> {
    const { store, memory, patiently } = this.#parts;
    const pack = new Pack(store);
    const packed = files.map((delivered) => {
      const { content } = delivered.file;
      if (!("small" in content)) return delivered;
      return { ...delivered, file: { ...delivered.file, content: { packed: pack.add(content.small) } } };
    });
    await patiently("stage small files", () => pack.put());
    for (const { file } of files) memory.release(heldBytes(file));
    return packed;
  }

  /** Completes every file. The batch takes no more rows. */
  async finish(): Promise<DeliveredFile[]> {
    await this.#relieving;
    for (const file of this.#open.values()) this.#roll(file);
    return Promise.all(this.#finishing);
  }

  /** Gives everything up; Postgres will send it again. */
  discard(): void {
    for (const file of this.#open.values()) file.writer.discard();
    this.#open.clear();
  }
}

function keyOf({ folder, hour, firstLsn, lastLsn, part }: OpenFile, { compression }: BatchParts): string {
  return folder + hour + changeFileName(firstLsn, lastLsn, part, compression);
}
