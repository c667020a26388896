import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { gunzipSync } from "node:zlib";
import { startS3 } from "../support/s3-server/index.ts";
import type { Bench } from "./bench.ts";
import { percentile, type Figure } from "./report.ts";
import { dropPipeline, openSource, type Source } from "./source.ts";
import { startDaemon, type StoreKind } from "./stage.ts";
import { createTables } from "./workload.ts";

const SECONDS = 60;
const QUICK_SECONDS = 12;
const COMMIT_EVERY_MS = 40;
const FLUSH = "1s";

/** From commit to a visible file, of a steady trickle of small transactions. */
export async function benchLatency(bench: Bench): Promise<Figure[]> {
  const source = await openSource(bench.pg);
  await createTables(source, { columns: 10, tables: 1 });
  const figures: Figure[] = [];
  for (const store of ["file", "s3"] as const) {
    if (!bench.wants(`latency ${store}`)) continue;
    bench.say(`latency, ${store}`);
    const seconds = bench.quick ? QUICK_SECONDS : SECONDS * bench.scale;
    const latencies = await measure(bench, source, { store, seconds });
    for (const [name, share] of [
      ["p50", 0.5],
      ["p99", 0.99],
      ["max", 1],
    ] as const) {
      const value = percentile(latencies, share) / 1000;
      figures.push({ group: "latency", what: `commit to visible, ${store}, ${name}`, value, unit: "s" });
    }
  }
  return figures;
}

async function measure(
  bench: Bench,
  source: Source,
  { store, seconds }: { store: StoreKind; seconds: number },
): Promise<number[]> {
  const name = `latency_${store}`;
  const target = store === "file" ? await inFolder(bench) : await inBucket();
  const daemon = await startDaemon(source, {
    ...target.env,
    PGSTAGE_SOURCE_SLOT: name,
    PGSTAGE_SOURCE_PUBLICATION: name,
    PGSTAGE_FLUSH_INTERVAL: FLUSH,
  });
  const client = await bench.pg.connect({ database: source.database });
  try {
    await daemon.line("table copied");
    const until = performance.now() + seconds * 1000;
    const [next] = (await client.query<{ id: string }>("SELECT coalesce(max(id), 0) + 1 AS id FROM t00001"))
      .rows;
    let id = Number(next?.id);
    for (; performance.now() < until; id++) {
      await client.query("INSERT INTO t00001 (id, c1) VALUES ($1, 'a change')", [id]);
      await delay(COMMIT_EVERY_MS);
    }
  } finally {
    await client.end();
    await daemon.stop();
  }
  const latencies = await target.latencies();
  await target.close();
  await dropPipeline(source, name);
  return latencies;
}

interface Target {
  readonly env: Readonly<Record<string, string>>;
  /** Milliseconds from the commit of each change to the moment at which its file was there. */
  latencies(): Promise<number[]>;
  close(): Promise<void>;
}

function latenciesOf(file: Buffer, visibleAtMs: number): number[] {
  const rows = gunzipSync(file).toString("utf8").split("\n").slice(1, -1);
  return rows
    .filter((row) => row.startsWith("c,"))
    .map((row) => visibleAtMs - Date.parse((row.split(",")[3] ?? "").replace(" ", "T").replace("+00", "Z")));
}

/** A file is there from its link on, which sets its ctime. */
async function inFolder(bench: Bench): Promise<Target> {
  const folder = await bench.stages.folder();
  return {
    env: { PGSTAGE_STAGE_URL: `file://${folder}` },
    latencies: async () => {
      const entries = await readdir(folder, { recursive: true });
      const files = entries.filter((path) => path.startsWith("public") && path.endsWith(".csv.gz"));
      const all = files.map(async (path) => {
        const { ctimeMs } = await stat(join(folder, path));
        return latenciesOf(await readFile(join(folder, path)), ctimeMs);
      });
      return (await Promise.all(all)).flat();
    },
    close: async () => {},
  };
}

async function inBucket(): Promise<Target> {
  const s3 = await startS3();
  const created: { key: string; atMs: number }[] = [];
  s3.onCreated(({ key }) => {
    if (key.startsWith("landing/public/")) created.push({ key, atMs: Date.now() });
  });
  return {
    env: { ...s3.env, PGSTAGE_STAGE_URL: `s3://${s3.bucket}/landing`, PGSTAGE_STAGE_ENDPOINT: s3.endpoint },
    latencies: async () => {
      const all = created.map(async ({ key, atMs }) => latenciesOf(await s3.read(key), atMs));
      return (await Promise.all(all)).flat();
    },
    close: () => s3.close(),
  };
}
