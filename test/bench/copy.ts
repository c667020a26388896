import { spawn } from "node:child_process";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import type { Writable } from "node:stream";
import zlib from "node:zlib";
import { copyOut } from "../../src/postgres/copy-out.ts";
import type { Bench } from "./bench.ts";
import { newest } from "./programs.ts";
import { against, median, type Figure } from "./report.ts";
import { bareCopies, dropPipeline, openSource, type Source } from "./source.ts";
import { startDaemon, type StoreKind } from "./stage.ts";
import { createTables, writeRows } from "./workload.ts";

/** Rows of a full case: some five seconds a round. */
const ROWS = { 10: 3_000_000, documents: 500_000 } as const;
const QUICK_SHARE = 0.2;
/** By default a table of this size has one or two ranges: no work for four connections. */
const RANGES = 16;
const PAGE_BYTES = 8192;

const namesOf: Readonly<Record<keyof typeof ROWS, string>> = { 10: "10 columns", documents: "documents" };

interface CopyCase {
  readonly columns: keyof typeof ROWS;
  readonly workers: number;
  readonly compression: "gzip" | "zstd" | "none";
  readonly store: StoreKind;
  readonly quick?: boolean;
}

const CASES: readonly CopyCase[] = [
  { columns: 10, workers: 1, compression: "gzip", store: "file" },
  { columns: 10, workers: 2, compression: "gzip", store: "file", quick: true },
  { columns: 10, workers: 4, compression: "gzip", store: "file" },
  { columns: 10, workers: 2, compression: "gzip", store: "s3", quick: true },
  { columns: 10, workers: 2, compression: "zstd", store: "file" },
  { columns: 10, workers: 1, compression: "none", store: "file" },
  { columns: 10, workers: 2, compression: "none", store: "file", quick: true },
  { columns: 10, workers: 2, compression: "none", store: "s3" },
  { columns: "documents", workers: 1, compression: "gzip", store: "file" },
  { columns: "documents", workers: 2, compression: "gzip", store: "file", quick: true },
  { columns: "documents", workers: 2, compression: "gzip", store: "s3" },
  { columns: "documents", workers: 2, compression: "none", store: "file" },
];

interface Table {
  readonly source: Source;
  readonly rows: number;
  readonly pages: number;
}

interface Round {
  readonly rate: number;
  readonly cpuPerMillion: number;
  readonly peakBytes: number;
}

/** A table to published files, against `psql COPY | gzip -1`, and without compression against COPY thrown away. */
export async function benchCopy(bench: Bench): Promise<Figure[]> {
  const cases = CASES.filter(
    (one) =>
      (one.compression !== "zstd" || "createZstdCompress" in zlib) &&
      (!bench.quick || one.quick) &&
      bench.wants(`copy ${nameOf(one)}`),
  );
  const figures: Figure[] = [];
  for (const columns of new Set(cases.map((one) => one.columns))) {
    const same = cases.filter((one) => one.columns === columns);
    figures.push(...(await benchTable(bench, columns, same)));
  }
  return figures;
}

async function benchTable(
  bench: Bench,
  columns: CopyCase["columns"],
  cases: readonly CopyCase[],
): Promise<Figure[]> {
  const table = await prepare(bench, columns);
  const ours = new Map<CopyCase, Round[]>(cases.map((one) => [one, []]));
  const piped: number[] = [];
  const bare = new Map<number, number[]>();
  for (let round = 0; round < bench.rounds; round++) {
    bench.say(`copy of ${namesOf[columns]}, round ${round + 1} of ${bench.rounds}`);
    piped.push(await pipedRound(bench, table));
    for (const connections of new Set(cases.filter(isBare).map((one) => one.workers))) {
      const rate = await bareRound(table, connections);
      bare.set(connections, [...(bare.get(connections) ?? []), rate]);
    }
    for (const one of cases) ours.get(one)?.push(await daemonRound(bench, table, one));
  }
  await table.source.sql("DROP TABLE t00001");
  return cases.map((one) => {
    const reference = isBare(one) ? (bare.get(one.workers) ?? []) : piped;
    return figureOf(one, ours.get(one) ?? [], reference);
  });
}

function figureOf(one: CopyCase, rounds: readonly Round[], reference: readonly number[]): Figure {
  const cpu = median(rounds.map((round) => round.cpuPerMillion)).toFixed(2);
  const peak = Math.round(median(rounds.map((round) => round.peakBytes)) / 2 ** 20);
  const note = `${cpu} CPU s per million, peak ${peak} MiB`;
  const pairs = rounds.map((round, i): [number, number] => [round.rate, reference[i] ?? Number.NaN]);
  const name = isBare(one) ? `bare COPY on ${one.workers}` : "COPY | gzip -1";
  return against({ group: "copy", what: nameOf(one), unit: "rows/s", note }, name, pairs);
}

function isBare(one: CopyCase): boolean {
  return one.compression === "none";
}

function nameOf({ columns, workers, compression, store }: CopyCase): string {
  return `${compression}, ${workers} worker${workers > 1 ? "s" : ""}, ${store}, ${namesOf[columns]}`;
}

async function prepare(bench: Bench, columns: CopyCase["columns"]): Promise<Table> {
  bench.say("copy: writing");
  const source = await openSource(bench.pg);
  const what = { name: "copy", columns, tables: 1, rowsPerTransaction: Infinity, share: 1 } as const;
  await createTables(source, what);
  const rows = Math.round(ROWS[columns] * (bench.quick ? QUICK_SHARE : 1) * bench.scale);
  await writeRows(source, what, rows);
  // Sets the hint bits, so that the first reader does not have to.
  await source.sql("VACUUM ANALYZE t00001");
  await source.sql("CHECKPOINT");
  const [size] = await source.sql(`SELECT pg_relation_size('t00001') / ${PAGE_BYTES} AS pages`);
  return { source, rows, pages: Number(size?.["pages"]) };
}

/** `psql -c 'COPY …' | gzip -1 > file`; where there is no psql, with pg in its place. */
async function pipedRound(bench: Bench, { source, rows }: Table): Promise<number> {
  const folder = await bench.stages.folder();
  const file = join(folder, "copy.csv.gz");
  const text = "COPY t00001 TO STDOUT (FORMAT csv)";
  const psql = newest("psql");
  const url = source.pg.url(source.database);
  const gzip = `gzip -1 > '${file}'`;
  const command = psql === null ? gzip : `'${psql}' '${url}' -qXc '${text}' | ${gzip}`;
  const startedAtMs = performance.now();
  const child = spawn("sh", ["-c", command], { stdio: ["pipe", "inherit", "inherit"] });
  const closed = new Promise<number | null>((resolve) => child.on("close", resolve));
  if (psql === null) await pipeCopy(source, text, child.stdin);
  const code = await closed;
  if (code !== 0) throw new Error(`${command} ended with ${code}`);
  const seconds = (performance.now() - startedAtMs) / 1000;
  await rm(folder, { recursive: true, force: true });
  return rows / seconds;
}

async function pipeCopy(source: Source, text: string, to: Writable): Promise<void> {
  const client = source.client(false);
  await client.connect();
  await copyOut(client, text, (row) => {
    if (to.write(Buffer.from(row))) return null;
    return new Promise((resolve) => to.once("drain", resolve));
  });
  to.end();
  await client.end();
}

function textOf({ pages }: Table, range: number): string {
  const page = (n: number): number => Math.floor((n * pages) / RANGES);
  const to = range === RANGES - 1 ? "" : `AND ctid < '(${page(range + 1)},0)'`;
  return `COPY (SELECT * FROM t00001 WHERE ctid >= '(${page(range)},0)' ${to}) TO STDOUT (FORMAT csv)`;
}

/** The same ranges, thrown away by as many connections. */
async function bareRound(table: Table, connections: number): Promise<number> {
  const texts = Array.from({ length: RANGES }, (_, range) => textOf(table, range));
  const seconds = await bareCopies(table.source, texts, connections);
  return table.rows / seconds;
}

let pipelines = 0;

/** A daemon from its start on the slot to the last published range. */
async function daemonRound(bench: Bench, table: Table, one: CopyCase): Promise<Round> {
  const { source, rows, pages } = table;
  const name = `copy_${++pipelines}`;
  const stage = await bench.stages.open(one.store);
  const daemon = await startDaemon(source, {
    ...stage.env,
    PGSTAGE_SOURCE_SLOT: name,
    PGSTAGE_SOURCE_PUBLICATION: name,
    PGSTAGE_FORMAT_COMPRESSION: one.compression,
    PGSTAGE_SNAPSHOT_WORKERS: String(one.workers),
    PGSTAGE_SNAPSHOT_RANGE_BYTES: String(Math.ceil(pages / RANGES) * PAGE_BYTES),
  });
  try {
    const started = await daemon.line("started");
    const cpuBefore = daemon.cpuSeconds();
    const copied = await daemon.line("table copied");
    const cpuPerMillion = ((daemon.cpuSeconds() - cpuBefore) / rows) * 1e6;
    if (copied["rows"] !== rows) throw new Error(`copied ${String(copied["rows"])} rows of ${rows}`);
    const seconds = (Date.parse(String(copied["time"])) - Date.parse(String(started["time"]))) / 1000;
    return { rate: rows / seconds, cpuPerMillion, peakBytes: daemon.peakBytes() };
  } finally {
    await daemon.stop();
    await stage.remove();
    await dropPipeline(source, name);
  }
}
