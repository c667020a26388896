import { execFile } from "node:child_process";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { formatLsn, type Lsn } from "../../src/core/lsn.ts";
import type { Bench } from "./bench.ts";
import { Child } from "./child.ts";
import { newest } from "./programs.ts";
import { against, median, type Figure } from "./report.ts";
import { bareReader, copySlot, dropSlot, openSource, type Source } from "./source.ts";
import { makeTemplate, startDaemon, TEMPLATE_SLOT, type StoreKind } from "./stage.ts";
import { createTables, rowsWritten, writeRows, type StreamCase } from "./workload.ts";

const run = promisify(execFile);

const CASES: readonly StreamCase[] = [
  {
    name: "1,000-row transactions",
    columns: 10,
    tables: 1,
    rowsPerTransaction: 1000,
    share: 1,
    quick: true,
    s3: true,
  },
  { name: "transactions of 3 rows", columns: 10, tables: 1, rowsPerTransaction: 3, share: 0.5 },
  { name: "one huge transaction", columns: 10, tables: 1, rowsPerTransaction: Infinity, share: 1, s3: true },
  { name: "2 columns", columns: 2, tables: 1, rowsPerTransaction: 1000, share: 1.3 },
  { name: "200 columns", columns: 200, tables: 1, rowsPerTransaction: 1000, share: 0.08 },
  { name: "10 tables", columns: 10, tables: 10, rowsPerTransaction: 1000, share: 1 },
  { name: "500 tables", columns: 10, tables: 500, rowsPerTransaction: 1000, share: 1 },
];

/** Rows of a full case: some five seconds a round. */
const ROWS = 900_000;
const QUICK_ROWS = 300_000;

/** One round of the daemon: rows a second, CPU seconds a million rows, and peak memory. */
interface DaemonRound {
  readonly rate: number;
  readonly cpuPerMillion: number;
  readonly peakBytes: number;
}

interface Prepared {
  readonly source: Source;
  readonly template: string;
  readonly rows: number;
  readonly until: Lsn;
}

/** Changes in WAL to published gzip files, against a reader that throws them away, and against the naive build. */
export async function benchStream(bench: Bench): Promise<Figure[]> {
  const figures: Figure[] = [];
  for (const what of CASES) {
    if (bench.quick && !what.quick) continue;
    if (!bench.wants(`stream ${what.name}`)) continue;
    figures.push(...(await benchCase(bench, what)));
  }
  return figures;
}

async function benchCase(bench: Bench, what: StreamCase): Promise<Figure[]> {
  const prepared = await prepare(bench, what);
  const { source } = prepared;
  const stores: StoreKind[] = what.s3 ? ["file", "s3"] : ["file"];
  const isMain = what === CASES[0];
  const bare: number[] = [];
  const ours = new Map<StoreKind, DaemonRound[]>(stores.map((store) => [store, []]));
  const naive: number[] = [];
  const recvlogical: number[] = [];
  for (let round = 0; round < bench.rounds; round++) {
    bench.say(`stream, ${what.name}, round ${round + 1} of ${bench.rounds}`);
    bare.push(await bareRound(prepared));
    for (const store of stores) ours.get(store)?.push(await daemonRound(bench, prepared, store));
    if (!isMain) continue;
    naive.push(await naiveRound(bench, prepared));
    const rate = await recvlogicalRound(bench, prepared);
    if (rate !== null) recvlogical.push(rate);
  }
  await source.sql("SELECT pg_drop_replication_slot($1)", [TEMPLATE_SLOT]);
  const figures: Figure[] = [];
  for (const store of stores) {
    const rounds = ours.get(store) ?? [];
    const note = `${median(rounds.map((one) => one.cpuPerMillion)).toFixed(2)} CPU s per million, peak ${Math.round(median(rounds.map((one) => one.peakBytes)) / 2 ** 20)} MiB`;
    const about = { group: "stream", what: `${what.name}, ${store}`, unit: "changes/s", note };
    const pairs = (reference: readonly number[]): [number, number][] =>
      rounds.map((one, i) => [one.rate, reference[i] ?? Number.NaN]);
    figures.push(against(about, "bare reader", pairs(bare)));
    if (!isMain || store !== "file") continue;
    figures.push(
      against({ ...about, what: "against the naive build", note: "" }, "naive build", pairs(naive)),
    );
    if (recvlogical.length > 0)
      figures.push(
        against({ ...about, what: "against pg_recvlogical", note: "" }, "pg_recvlogical", pairs(recvlogical)),
      );
  }
  return figures;
}

async function prepare(bench: Bench, what: StreamCase): Promise<Prepared> {
  bench.say(`stream, ${what.name}: writing`);
  const source = await openSource(bench.pg);
  await createTables(source, what);
  const template = await makeTemplate(source, bench.stages, what.tables);
  const wanted = Math.round((bench.quick ? QUICK_ROWS : ROWS) * what.share * bench.scale);
  await writeRows(source, what, wanted);
  const until = await source.lsn();
  await source.sql("CHECKPOINT");
  return { source, template, rows: rowsWritten(what, wanted), until };
}

let slots = 0;

/** Runs `read` with a slot of its own at the beginning of the WAL. */
async function withSlot<T>(source: Source, read: (slot: string) => Promise<T>): Promise<T> {
  const slot = `round_${++slots}`;
  await copySlot(source, TEMPLATE_SLOT, slot);
  try {
    return await read(slot);
  } finally {
    await dropSlot(source, slot);
  }
}

async function bareRound({ source, rows, until }: Prepared): Promise<number> {
  return withSlot(source, async (slot) => rows / (await bareReader(source, slot, "pgstage", until)));
}

/**
 * A daemon from the connection of its walsender to published files. Its last batch waits for flush.interval before it
 * closes, as it must; so the rate is that of all batches, or of all but the last, whichever is greater.
 */
async function daemonRound(bench: Bench, prepared: Prepared, store: StoreKind): Promise<DaemonRound> {
  const { source, template, rows } = prepared;
  return withSlot(source, async (slot) => {
    const stage = await bench.stages.open(store, { folder: template, slot: TEMPLATE_SLOT, as: slot });
    const daemon = await startDaemon(source, {
      ...stage.env,
      PGSTAGE_SOURCE_SLOT: slot,
      PGSTAGE_SOURCE_PUBLICATION: "pgstage",
      PGSTAGE_FLUSH_INTERVAL: "500ms",
    });
    try {
      await daemon.line("started");
      const startedAtMs = await connectedAtMs(source, slot);
      const cpuBefore = daemon.cpuSeconds();
      await daemon.line(() => stagedRows(daemon) >= rows);
      const cpuPerMillion = ((daemon.cpuSeconds() - cpuBefore) / rows) * 1e6;
      const peakBytes = daemon.peakBytes();
      return { rate: rateOf(daemon, startedAtMs), cpuPerMillion, peakBytes };
    } finally {
      await daemon.stop();
      await stage.remove();
    }
  });
}

async function connectedAtMs(source: Source, slot: string): Promise<number> {
  const [row] = await source.sql(
    `SELECT extract(epoch FROM a.backend_start)::float8 * 1000 AS ms
       FROM pg_replication_slots s JOIN pg_stat_activity a ON a.pid = s.active_pid WHERE s.slot_name = $1`,
    [slot],
  );
  return Number(row?.["ms"]);
}

function staged(daemon: Child): { rows: number; atMs: number }[] {
  return daemon.lines
    .filter((line) => line.msg === "staged")
    .map((line) => ({ rows: Number(line["rows"]), atMs: Date.parse(String(line["time"])) }));
}

function stagedRows(daemon: Child): number {
  return staged(daemon).reduce((sum, batch) => sum + batch.rows, 0);
}

function rateOf(daemon: Child, startedAtMs: number): number {
  const batches = staged(daemon);
  const rates = [batches.length, batches.length - 1].flatMap((count) => {
    const last = batches[count - 1];
    if (!last) return [];
    const rows = batches.slice(0, count).reduce((sum, batch) => sum + batch.rows, 0);
    return [(rows / (last.atMs - startedAtMs)) * 1000];
  });
  return Math.max(...rates);
}

/** It is so much slower that the beginning of the WAL has to do. */
const NAIVE_SHARE = 0.25;

async function naiveRound(bench: Bench, prepared: Prepared): Promise<number> {
  const { source } = prepared;
  const rows = Math.round(prepared.rows * NAIVE_SHARE);
  return withSlot(source, async (slot) => {
    const folder = await bench.stages.folder();
    const url = source.pg.url(source.database);
    const script = join(import.meta.dirname, "naive.ts");
    const args = ["--import", "tsx", script, url, slot, "pgstage", folder, String(rows)];
    const child = new Child(process.execPath, args, {});
    const { seconds } = (await child.line("done")) as unknown as { seconds: number };
    await child.ended;
    await rm(folder, { recursive: true, force: true });
    return rows / seconds;
  });
}

/** `pg_recvlogical` to a file, where Debian's packages have put one. Null where there is none. */
async function recvlogicalRound(bench: Bench, { source, rows, until }: Prepared): Promise<number | null> {
  const command = newest("pg_recvlogical");
  if (command === null) return null;
  return withSlot(source, async (slot) => {
    const folder = await bench.stages.folder();
    const args = ["-d", source.pg.url(source.database), "-S", slot, "--start", "--no-loop", "-F", "0"];
    args.push("-E", lsnText(until), "-f", join(folder, "changes"));
    args.push("-o", "proto_version=1", "-o", "publication_names=pgstage");
    const startedAtMs = performance.now();
    await run(command, args);
    const seconds = (performance.now() - startedAtMs) / 1000;
    await rm(folder, { recursive: true, force: true });
    return rows / seconds;
  });
}

/** `1/52C0A8`, as Postgres's programs take it. */
function lsnText(lsn: Lsn): string {
  return formatLsn(lsn).replaceAll(/(^|\/)0+(?=[0-9A-F])/g, "$1");
}
