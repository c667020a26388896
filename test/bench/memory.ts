import type { Bench } from "./bench.ts";
import type { Figure } from "./report.ts";
import { openSource } from "./source.ts";
import { dropPipeline } from "./source.ts";
import { startDaemon, type StoreKind } from "./stage.ts";
import { createTables, writeRows } from "./workload.ts";

const TRANSACTION_ROWS = 5_000_000;
const COPY_ROWS = 3_000_000;
const QUICK_SHARE = 0.1;
const TWICE_A_SECOND = "500ms";

/** Peak memory of one huge transaction, and of a copy with the default settings. */
export async function benchMemory(bench: Bench): Promise<Figure[]> {
  const figures: Figure[] = [];
  for (const store of ["file", "s3"] as const) {
    if (bench.quick && store === "file") continue;
    if (bench.wants(`memory ${store}`)) figures.push(...(await measure(bench, store)));
  }
  return figures;
}

async function measure(bench: Bench, store: StoreKind): Promise<Figure[]> {
  bench.say(`memory, ${store}`);
  const share = (bench.quick ? QUICK_SHARE : 1) * bench.scale;
  const copyRows = Math.round(COPY_ROWS * share);
  const rows = Math.round(TRANSACTION_ROWS * share);
  const source = await openSource(bench.pg);
  const what = { name: "memory", columns: 10, tables: 1, rowsPerTransaction: Infinity, share: 1 } as const;
  await createTables(source, what);
  await writeRows(source, what, copyRows);
  const stage = await bench.stages.open(store);
  const name = `memory_${store}`;
  const env = {
    ...stage.env,
    PGSTAGE_SOURCE_SLOT: name,
    PGSTAGE_SOURCE_PUBLICATION: name,
    PGSTAGE_FLUSH_INTERVAL: TWICE_A_SECOND,
  };
  const copying = await startDaemon(source, env);
  await copying.line("table copied");
  const copyPeak = copying.peakBytes();
  await copying.stop();
  await source.sql("TRUNCATE t00001");
  const streaming = await startDaemon(source, env);
  await streaming.line("started");
  await writeRows(source, what, rows);
  await streaming.line((line) => line.msg === "staged" && Number(line["rows"]) >= rows);
  const streamPeak = streaming.peakBytes();
  await streaming.stop();
  await stage.remove();
  await dropPipeline(source, name);
  const unit = "MiB";
  const millions = (count: number): string => `${(count / 1e6).toFixed(1)} M rows`;
  return [
    {
      group: "peak memory",
      what: `copy of ${millions(copyRows)}, ${store}`,
      value: copyPeak / 2 ** 20,
      unit,
    },
    {
      group: "peak memory",
      what: `transaction of ${millions(rows)}, ${store}`,
      value: streamPeak / 2 ** 20,
      unit,
    },
  ];
}
