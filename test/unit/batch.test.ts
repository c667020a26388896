import type { Buffer } from "node:buffer";
import { describe, expect, test } from "vitest";
import type { Lsn } from "../../src/core/lsn.ts";
import { MemoryAccount } from "../../src/core/memory.ts";
import type { DeliveredFile } from "../../src/delivery/delivery.ts";
import { heldBytes } from "../../src/delivery/file-writer.ts";
import { Batch, type BatchParts } from "../../src/stream/batch.ts";
import { OP_CREATED, OP_TRUNCATED, writeRow, writeTruncated } from "../../src/stream/rows.ts";
import { makeEncoder, type TableEncoder } from "../../src/stream/table-encoder.ts";
import { Transactions, type Transaction } from "../../src/stream/transaction.ts";
import { turns } from "../support/faulty-store.ts";
import { MemoryStage, MemoryStore } from "../support/memory-store.ts";
import { tuple } from "../support/pgoutput-writer.ts";

const HOUR_MICROS = 3_600_000_000n;

function newBatch(options: Partial<BatchParts> = {}): Batch {
  return new Batch({
    store: new MemoryStore(new MemoryStage()),
    memory: new MemoryAccount(64 * 1024 * 1024),
    compression: "none",
    patiently: (_what, attempt) => attempt(),
    fileMaxBytes: 1024 * 1024,
    ...options,
  });
}

const COLUMN = { name: "id", typeOid: 23, typeModifier: -1, key: true };
const encoder = (table = "t", oid = 1): TableEncoder =>
  makeEncoder(
    { oid, schema: "public", table, replicaIdentity: "default", columns: [COLUMN] },
    { captures: () => true, primaryKey: () => ["id"], mustFill: () => false, largeRow: () => {} },
    "_",
  );

const transactions = new Transactions();
let lsn = 100n;
function begin(committedAtMicros = 0n): Transaction {
  lsn += 1n;
  return transactions.begin({ commitLsn: lsn as Lsn, committedAtMicros, xid: 7 });
}

/** Writes one row, in a transaction of its own unless one is given. */
function write(batch: Batch, table: TableEncoder, transaction = begin()): void {
  const file = batch.fileFor(table, transaction);
  batch.wrote(file, writeTruncated(file, { op: OP_TRUNCATED, transaction, seq: 1 }, 1));
}

function writeText(batch: Batch, table: TableEncoder, transaction: Transaction, text: string): void {
  const bytes = tuple([text]);
  const file = batch.fileFor(table, transaction);
  const span = { bytes, at: 0, to: bytes.length };
  batch.wrote(file, writeRow(file, { op: OP_CREATED, transaction, seq: 1 }, span, null));
}

const rowsOf = (files: readonly DeliveredFile[]): number[] => files.map(({ file }) => file.rows);
const sum = (numbers: readonly number[]): number => numbers.reduce((all, one) => all + one, 0);

test("a batch that is finished leaves alone the files that the next one has open for the same table", async () => {
  const table = encoder();
  const [first, second] = [newBatch(), newBatch()];
  write(first, table);
  write(second, table);
  expect(rowsOf(await first.finish())).toEqual([1]);
  write(second, table);
  expect(rowsOf(await second.finish())).toEqual([2]);
});

test("rows that come late, with values read back, join the file that their batch has open", async () => {
  const table = encoder();
  const [first, second] = [newBatch(), newBatch()];
  write(first, table);
  write(second, table);
  write(first, table);
  write(second, table);
  expect(rowsOf(await first.finish())).toEqual([2]);
  expect(rowsOf(await second.finish())).toEqual([2]);
});

describe("files", () => {
  test("have one hour each, also when the clock goes back, and names that differ", async () => {
    const batch = newBatch();
    const table = encoder();
    for (const hour of [1n, 1n, 2n, 1n, 2n]) write(batch, table, begin(hour * HOUR_MICROS));
    const files = await batch.finish();
    expect(rowsOf(files)).toEqual([2, 1, 1, 1]);
    expect(new Set(files.map((file) => file.key)).size).toBe(4);
    expect(files.map((file) => file.key.split("/")[5])).toEqual(["01", "02", "01", "02"]);
  });

  test("roll at file.maxBytes, in the middle of a transaction, too", async () => {
    const batch = newBatch({ fileMaxBytes: 200 });
    const table = encoder();
    const transaction = begin();
    for (let row = 0; row < 10; row++) writeText(batch, table, transaction, "x".repeat(90));
    const files = await batch.finish();
    expect(rowsOf(files).length).toBeGreaterThan(4);
    expect(sum(rowsOf(files))).toBe(10);
    for (const file of files) expect(file.firstLsn).toBe(file.lastLsn);
  });

  test("are named after the LSNs that they hold, also where a late row is the oldest", async () => {
    const batch = newBatch();
    const table = encoder();
    const [older, newer] = [begin(), begin()];
    write(batch, table, newer);
    write(batch, table, older);
    const [file] = await batch.finish();
    expect([file?.firstLsn, file?.lastLsn]).toEqual([older.commitLsn, newer.commitLsn]);
  });
});

describe("relief", () => {
  /** A store whose packs are written when the test says so. */
  class Gate extends MemoryStore {
    open: () => void = () => {};
    readonly #opened = new Promise<void>((resolve) => {
      this.open = resolve;
    });

    override async put(key: string, bytes: Buffer): Promise<void> {
      await this.#opened;
      return super.put(key, bytes);
    }
  }

  test("keeps rows that come while files are packed, and counts every byte once", async () => {
    const store = new Gate(new MemoryStage());
    const memory = new MemoryAccount(1_000_000);
    const batch = newBatch({ store, memory });
    const tables = [encoder("a", 1), encoder("b", 2)];
    for (const table of tables) write(batch, table);
    const relieved = batch.relieve(() => false);
    await turns(2);
    for (const table of tables) write(batch, table, begin(HOUR_MICROS));
    for (const table of tables) write(batch, table, begin(2n * HOUR_MICROS));
    const finished = batch.finish();
    await turns(2);
    store.open();
    await relieved;
    const files = await finished;
    expect(sum(rowsOf(files))).toBe(6);
    expect(files.filter((file) => "packed" in file.file.content)).toHaveLength(2);
    for (const { file } of files) memory.release(heldBytes(file));
    expect(memory.heldBytes).toBe(0);
  });

  test("may be asked for twice at once", async () => {
    const memory = new MemoryAccount(1_000_000);
    const batch = newBatch({ memory });
    const table = encoder();
    write(batch, table);
    await Promise.all([batch.relieve(() => false), batch.relieve(() => false)]);
    expect(memory.heldBytes).toBe(0);
    write(batch, table);
    await batch.relieve(() => false);
    const files = await batch.finish();
    expect(rowsOf(files)).toEqual([1, 1]);
    expect(memory.heldBytes).toBe(0);
  });

  test("begins the upload of long files under the name that they keep", async () => {
    const stage = new MemoryStage();
    const memory = new MemoryAccount(1_000_000);
    const batch = newBatch({ store: new MemoryStore(stage), memory, fileMaxBytes: 10_000_000 });
    const table = encoder();
    const transaction = begin();
    for (let row = 0; row < 5; row++) writeText(batch, table, transaction, "x".repeat(100_000));
    await batch.relieve(() => true);
    expect([...stage.uploads.values()]).toHaveLength(1);
    writeText(batch, table, transaction, "y");
    // Another transaction has another LSN, and so another file.
    write(batch, table);
    const files = await batch.finish();
    expect(rowsOf(files)).toEqual([6, 1]);
    expect([...stage.uploads.values()].map((upload) => upload.key)).toEqual([files[0]?.key]);
    for (const { file } of files) memory.release(heldBytes(file));
    expect(memory.heldBytes).toBe(0);
  });
});
