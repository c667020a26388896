import { formatLsn } from "../../src/core/lsn.ts";
import type { MemoryStage } from "../support/memory-store.ts";
import { readStage, type PublishedRow, type ReadStage } from "./stage.ts";
import { keyOf, type Row, type Table } from "./tables.ts";
import type { Expected, World } from "./world.ts";

/** Throws what is wrong with the stage once everything is drained: the promises of the contract, one by one. */
export function checkStage(stage: MemoryStage, world: World): ReadStage {
  const read = readStage(stage);
  checkChanges(read, world);
  for (const table of world.tables) checkRebuilt(read, table);
  return read;
}

interface Change {
  readonly table: string;
  readonly row: PublishedRow;
}

function isChange({ row }: Change): boolean {
  return row.seq > 0;
}

/** Ordered by (_lsn, _seq), the rows of changes are the committed ones: none missing, none twice, none else. */
function checkChanges({ files, lost }: ReadStage, world: World): void {
  const all = files.flatMap(({ file, rows }) => rows.map((row): Change => ({ table: file.tableName, row })));
  const changes = all.filter(isChange).toSorted((a, b) => byPosition(a.row, b.row));
  const isLost = ({ table, lsn }: Expected): boolean => {
    const text = formatLsn(lsn);
    return lost.some((file) => file.tableName === table && file.firstLsn <= text && text <= file.lastLsn);
  };
  // What is older than the slot is told by copies alone.
  const born = world.server.born ?? 0n;
  let at = 0;
  for (const expected of world.expected.filter((one) => one.lsn >= born)) {
    const change = changes[at];
    if (change && isAt(change, expected)) {
      checkChange(change, expected, world);
      at++;
    } else if (!isLost(expected)) {
      throw new Error(`${tell(expected)} is missing; in its place stands ${JSON.stringify(change)}`);
    }
  }
  if (at < changes.length) throw new Error(`nobody committed ${JSON.stringify(changes[at])}`);
}

function byPosition(a: PublishedRow, b: PublishedRow): number {
  return a.lsn === b.lsn ? a.seq - b.seq : a.lsn < b.lsn ? -1 : 1;
}

function isAt({ table, row }: Change, expected: Expected): boolean {
  return table === expected.table && row.lsn === formatLsn(expected.lsn) && row.seq === expected.seq;
}

function tell(expected: Expected): string {
  return JSON.stringify({ ...expected, lsn: formatLsn(expected.lsn) });
}

function checkChange({ row }: Change, expected: Expected, world: World): void {
  const wrong = (what: string): Error =>
    new Error(`${what}: ${tell(expected)}, published ${JSON.stringify(row)}`);
  if (row.op !== expected.op) throw wrong("another operation");
  if (row.committedAt !== expected.committedAt) throw wrong("another commit time");
  if (row.columns.join("\0") !== expected.columns.join("\0")) throw wrong("other columns");
  const table = world.tables.find((one) => one.name === expected.table) as Table;
  const ever = table.everBig.get(keyOf(table, expected.values as Row["values"]));
  expected.values.forEach((value, i) => {
    const found = row.values[i] ?? null;
    const isUnchanged = row.unchanged.includes(expected.columns[i] as string);
    if (value !== undefined && (isUnchanged || found !== value)) throw wrong("another value");
    if (value !== undefined) return;
    if (isUnchanged ? found !== null : !ever?.has(found)) throw wrong("a value that the row never had");
  });
}

/** What a warehouse makes of it by the contract's rule is what the source holds. */
function checkRebuilt({ files }: ReadStage, table: Table): void {
  const rows = files.filter(({ file }) => file.tableName === table.name).flatMap((file) => file.rows);
  const rebuilt = table.keys > 0 ? rebuildKeyed(rows) : rebuildBag(rows, table);
  const columns = table.columns.map((column) => column.name);
  const lines = (all: readonly (readonly unknown[])[]): string[] =>
    all.map((row) => JSON.stringify(row)).toSorted();
  const found = lines(rebuilt.map((row) => columns.map((name) => row.get(name) ?? null)));
  const wanted = lines(table.rows.map((row) => row.values));
  if (found.join("\n") === wanted.join("\n")) return;
  const extra = found.filter((line) => !wanted.includes(line));
  const missing = wanted.filter((line) => !found.includes(line));
  throw new Error(
    `${table.name} (${table.kind}) is rebuilt with ${found.length} rows for ${wanted.length}: ` +
      `extra ${extra.join(" ")}, missing ${missing.join(" ")}`,
  );
}

type Rebuilt = Map<string, unknown>;
const HOLE = "a value that no row has sent";

/** At one position, which only rows of copies share, the `t` row comes first: it stands at the head of its copy. */
function inOrder(rows: readonly PublishedRow[]): PublishedRow[] {
  const rank = (row: PublishedRow): number => (row.op === "t" ? 0 : 1);
  return rows.toSorted((a, b) => byPosition(a, b) || rank(a) - rank(b));
}

function rebuildKeyed(rows: readonly PublishedRow[]): Rebuilt[] {
  const table = new Map<string, Rebuilt>();
  for (const row of inOrder(rows)) {
    if (row.op === "t") {
      table.clear();
      continue;
    }
    const id = JSON.stringify(row.key.map((name) => row.values[row.columns.indexOf(name)]));
    if (row.op === "d") table.delete(id);
    else table.set(id, merged(row, table.get(id)));
  }
  return [...table.values()];
}

function merged(row: PublishedRow, before: Rebuilt | undefined): Rebuilt {
  const after: Rebuilt = new Map();
  row.columns.forEach((name, i) => {
    const unchanged = row.unchanged.includes(name);
    after.set(name, unchanged ? (before ? before.get(name) : HOLE) : row.values[i]);
  });
  return after;
}

/** Rows that nothing identifies: a deleted one takes one that is equal to it along. */
function rebuildBag(rows: readonly PublishedRow[], table: Table): Rebuilt[] {
  const columns = table.columns.map((column) => column.name);
  const bag = new Map<string, { row: Rebuilt; count: number }>();
  for (const row of inOrder(rows)) {
    if (row.op === "t") {
      bag.clear();
      continue;
    }
    // By the columns that there are still: a row that is deleted later does not know the others any more.
    const values = columns.map((name) => row.values[row.columns.indexOf(name)] ?? null);
    const id = JSON.stringify(values);
    const known = bag.get(id) ?? { row: new Map(columns.map((name, i) => [name, values[i]])), count: 0 };
    known.count += row.op === "d" ? -1 : 1;
    bag.set(id, known);
  }
  return [...bag.values()].flatMap(({ row, count }) => {
    if (count < 0) throw new Error("more rows are deleted than there were");
    return Array.from({ length: count }, () => row);
  });
}
