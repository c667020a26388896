import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { csvRecord, metadataColumns } from "../../src/csv/header.ts";
import { formatLsn, type Lsn } from "../../src/core/lsn.ts";
import { Duck, type DuckSession } from "../../src/verify/duck.ts";
import type { LocalFile } from "../../src/verify/fetch.ts";
import { loadStaged } from "../../src/verify/load.ts";
import { rebuild } from "../../src/verify/rebuild.ts";

/**
 * The contract's rules for reading the stage, as a model: a history of transactions on a table of two text columns is
 * staged with every liberty that the contract gives, and what is rebuilt up to a random moment must be what a plain
 * Map says.
 */
let folder: string;
let duck: Duck;
let session: DuckSession;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "pgstage-test-"));
  duck = await Duck.open({ memoryBytes: 256 * 2 ** 20, scratch: folder });
  session = await duck.session();
});
afterAll(async () => {
  session.close();
  duck.close();
  await rm(folder, { recursive: true });
});

const COLUMNS = ["id", "a", "b"];
type Value = string | null;
type Table = Map<string, readonly [a: Value, b: Value]>;

const value = fc.constantFrom<Value>(null, "", "x", "y,", 'z"\n');
const key = fc.constantFrom("1", "2", "3");
const operation = fc.oneof(
  fc.record({
    op: fc.constant("write" as const),
    key,
    a: value,
    b: value,
    keepA: fc.boolean(),
    keepB: fc.boolean(),
  }),
  fc.record({ op: fc.constant("delete" as const), key }),
  fc.record({ op: fc.constant("move" as const), key, to: key }),
  fc.record({ op: fc.constant("truncate" as const) }),
  fc.record({ op: fc.constant("copy" as const) }),
);
type Operation = typeof operation extends fc.Arbitrary<infer T> ? T : never;
const history = fc.array(fc.array(operation, { minLength: 1, maxLength: 4 }), { maxLength: 8 });

interface StagedRow {
  readonly lsn: bigint;
  readonly seq: number;
  readonly fields: readonly Value[];
}

/** Runs a history; gives its rows, and the table as it was before every LSN. */
function play(transactions: readonly (readonly Operation[])[]): { rows: StagedRow[]; before: Table[] } {
  const rows: StagedRow[] = [];
  const table: Table = new Map();
  const before: Table[] = [new Map(), new Map()];
  copy(rows, table, 0n);
  for (const [index, operations] of transactions.entries()) {
    const lsn = BigInt(index + 1);
    let seq = 0;
    for (const each of operations) {
      if (each.op === "copy") continue;
      for (const fields of apply(table, each)) rows.push({ lsn, seq: ++seq, fields });
    }
    // A copy's consistent point is after the transactions that its snapshot shows.
    if (operations.some(({ op }) => op === "copy")) copy(rows, table, lsn + 1n);
    before[index + 2] = new Map(table);
  }
  return { rows, before };
}

function copy(rows: StagedRow[], table: Table, lsn: bigint): void {
  rows.push({ lsn, seq: 0, fields: ["t", null, null, null, null] });
  for (const [id, values] of table) rows.push({ lsn, seq: 0, fields: ["r", null, id, ...values] });
}

/** Applies a change and gives its rows: `_op`, `_unchanged`, id, a, b. */
function apply(table: Table, change: Exclude<Operation, { op: "copy" }>): Value[][] {
  switch (change.op) {
    case "truncate":
      table.clear();
      return [["t", null, null, null, null]];
    case "delete":
      return table.delete(change.key) ? [["d", null, change.key, null, null]] : [];
    case "move": {
      const old = table.get(change.key);
      if (!old || table.has(change.to)) return [];
      table.delete(change.key);
      table.set(change.to, old);
      return [
        ["d", null, change.key, null, null],
        ["u", null, change.to, ...old],
      ];
    }
    case "write":
      return write(table, change);
    default:
      return change satisfies never;
  }
}

function write(table: Table, change: Extract<Operation, { op: "write" }>): Value[][] {
  const old = table.get(change.key);
  if (!old) {
    table.set(change.key, [change.a, change.b]);
    return [["c", null, change.key, change.a, change.b]];
  }
  const kept = [...(change.keepA ? ["a"] : []), ...(change.keepB ? ["b"] : [])];
  const values = [change.keepA ? old[0] : change.a, change.keepB ? old[1] : change.b] as const;
  table.set(change.key, values);
  const unchanged = kept.length > 0 ? JSON.stringify(kept) : null;
  return [["u", unchanged, change.key, change.keepA ? null : change.a, change.keepB ? null : change.b]];
}

/** Any split into files in any order: loading has none. */
async function writeFiles(rows: readonly StagedRow[], spread: readonly number[]): Promise<LocalFile[]> {
  const files = new Map<number, Buffer[]>();
  for (const [index, { lsn, seq, fields }] of rows.entries()) {
    const number = spread[index % spread.length] ?? 0;
    const [op, unchanged, ...values] = fields as [string, ...Value[]];
    const line = csvRecord([op, formatLsn(lsn as Lsn), String(seq), null, unchanged ?? null, ...values]);
    files.set(number, [...(files.get(number) ?? []), line]);
  }
  const header = [...metadataColumns("_"), ...COLUMNS];
  return Promise.all(
    [...files].map(async ([number, lines]) => {
      const path = join(folder, String(number));
      const csv = Buffer.concat([csvRecord(header), ...lines]);
      await writeFile(path, csv);
      return { number, path, header, file: { key: "x.csv", csvBytes: csv.length } as LocalFile["file"] };
    }),
  );
}

test(
  "what is rebuilt is what was there, at any moment, whatever the files",
  { timeout: 60_000 },
  async () => {
    await fc.assert(
      fc.asyncProperty(
        history,
        fc.array(fc.nat({ max: 4 }), { minLength: 1, maxLength: 20 }),
        fc.nat(),
        async (transactions, spread, moment) => {
          const { rows, before } = play(transactions);
          const fence = moment % before.length;
          await loadStaged(session, await writeFiles(rows, spread), COLUMNS);
          const { problems } = await rebuild(session, { columns: COLUMNS, key: [0], before: BigInt(fence) });
          const rebuilt = await session.rows<Record<string, Value>>(
            "SELECT c0, c1, c2 FROM rebuilt ORDER BY c0",
          );
          const expected = [...(before[fence] ?? [])]
            .toSorted(([a], [b]) => (a < b ? -1 : 1))
            .map(([c0, [c1, c2]]) => ({ c0, c1, c2 }));
          expect(rebuilt).toEqual(expected);
          expect(problems).toEqual([]);
        },
      ),
      { numRuns: 150 },
    );
  },
);

test("a bag is what came less what went, at any moment", { timeout: 60_000 }, async () => {
  const row = fc.record({ add: fc.boolean(), a: value, b: value });
  await fc.assert(
    fc.asyncProperty(fc.array(row, { maxLength: 30 }), fc.nat({ max: 32 }), async (changes, fence) => {
      const bag = new Map<string, number>();
      const rows: StagedRow[] = [{ lsn: 0n, seq: 0, fields: ["t", null, null, null, null] }];
      for (const [index, { add, a, b }] of changes.entries()) {
        const id = JSON.stringify([a, b]);
        const copies = bag.get(id) ?? 0;
        if (!add && copies === 0) continue;
        const lsn = BigInt(index + 1);
        rows.push({ lsn, seq: 1, fields: [add ? "c" : "d", null, "k", a, b] });
        if (lsn < BigInt(fence)) bag.set(id, copies + (add ? 1 : -1));
        else if (!add) rows.pop();
      }
      await loadStaged(session, await writeFiles(rows, [0, 1]), COLUMNS);
      await rebuild(session, { columns: COLUMNS, key: [], before: BigInt(fence) });
      const rebuilt = await session.rows<Record<string, string>>("SELECT c1, c2, copies FROM rebuilt");
      const found = new Map(rebuilt.map(({ c1, c2, copies }) => [JSON.stringify([c1, c2]), Number(copies)]));
      for (const [id, copies] of bag) if (copies === 0) bag.delete(id);
      expect(found).toEqual(bag);
      expect(rebuilt).toHaveLength(bag.size);
    }),
    { numRuns: 60 },
  );
});
