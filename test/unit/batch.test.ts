import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Lsn } from "../../src/core/lsn.ts";
import { MemoryAccount } from "../../src/core/memory.ts";
import type { DeliveredFile } from "../../src/delivery/delivery.ts";
import { DirectoryStore } from "../../src/stores/directory.ts";
import { Batch } from "../../src/stream/batch.ts";
import { OP_TRUNCATED, writeTruncated } from "../../src/stream/rows.ts";
import { makeEncoder, type TableEncoder } from "../../src/stream/table-encoder.ts";
import { Transactions } from "../../src/stream/transaction.ts";

let directory = "";
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "pgstage-batch-"));
});
afterAll(() => rm(directory, { recursive: true }));

function newBatch(): Batch {
  return new Batch({
    store: new DirectoryStore(directory),
    memory: new MemoryAccount(64 * 1024 * 1024),
    compression: "none",
    patiently: (_what, attempt) => attempt(),
    fileMaxBytes: 1024 * 1024,
  });
}

const COLUMN = { name: "id", typeOid: 23, typeModifier: -1, key: true };
const encoder = (): TableEncoder =>
  makeEncoder(
    { oid: 1, schema: "public", table: "t", replicaIdentity: "default", columns: [COLUMN] },
    { captures: () => true, primaryKey: () => ["id"], mustFill: () => false, largeRow: () => {} },
    "_",
  );

const transactions = new Transactions();
let lsn = 100n;
/** Writes one row in a transaction of its own. */
function write(batch: Batch, table: TableEncoder): void {
  const transaction = transactions.begin({ commitLsn: ++lsn as Lsn, committedAtMicros: 0n });
  writeTruncated(batch.fileFor(table, transaction), { op: OP_TRUNCATED, transaction, seq: 1 }, 1);
}

const rowsOf = (files: readonly DeliveredFile[]): number[] => files.map(({ file }) => file.rows);

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
