import { setTimeout as delay } from "node:timers/promises";
import { freePort } from "../../src/embedded/ports.ts";
import { startS3, type S3 } from "../support/s3-server/index.ts";
import type { Bench } from "./bench.ts";
import type { Child } from "./child.ts";
import type { Figure } from "./report.ts";
import { copySlot, dropSlot, openSource, type Source } from "./source.ts";
import { copyTemplate, makeTemplate, startDaemon, TEMPLATE_SLOT } from "./stage.ts";
import { createTables, writeRows } from "./workload.ts";

const TABLES = 1000;
const QUICK_TABLES = 200;
const IDLE_SECONDS = 60;
const QUICK_IDLE_SECONDS = 10;

/** What many tables cost: the first copy, a start, a batch, its requests on S3, and a daemon that has nothing to do. */
export async function benchMany(bench: Bench): Promise<Figure[]> {
  const tables = bench.tables ?? (bench.quick ? QUICK_TABLES : TABLES);
  const group = `${tables} tables`;
  const source = await openSource(bench.pg);
  bench.say(`${group}: creating and copying`);
  await createTables(source, { columns: 10, tables });
  const copyingSinceMs = performance.now();
  const template = await makeTemplate(source, bench.stages, tables);
  const copySeconds = (performance.now() - copyingSinceMs) / 1000;
  const folder = await bench.stages.folder();
  await copySlot(source, TEMPLATE_SLOT, "many");
  await copyTemplate({ folder: template, slot: TEMPLATE_SLOT, as: "many" }, folder);
  const started = await startedDaemon(source, { PGSTAGE_STAGE_URL: `file://${folder}` });
  const { daemon } = started;
  const figures: Figure[] = [
    { group, what: "first start to all copied, empty tables", value: copySeconds, unit: "s" },
    { group, what: "start to streaming, all copied", value: started.seconds, unit: "s" },
  ];
  figures.push(...(await idle(bench, daemon, group)));
  const before = daemon.lines.length;
  await writeRows(source, oneBatch(tables), tables * ROWS_PER_TABLE);
  await daemon.line((line) => line.msg === "staged" && daemon.lines.indexOf(line) >= before);
  const peak = daemon.peakBytes() / 2 ** 20;
  figures.push({
    group,
    what: `peak memory, one batch of ${ROWS_PER_TABLE} rows in each`,
    value: peak,
    unit: "MiB",
  });
  await daemon.stop();
  await dropSlot(source, "many");
  figures.push(...(await requests(bench, { source, template, tables })));
  await source.sql("SELECT pg_drop_replication_slot($1)", [TEMPLATE_SLOT]);
  return figures;
}

const ROWS_PER_TABLE = 200;

function oneBatch(tables: number): Parameters<typeof writeRows>[1] {
  return { name: "many", columns: 10, tables, rowsPerTransaction: Infinity, share: 1 };
}

/** A daemon on the slot `many`, and the seconds from its start until it streams. */
async function startedDaemon(
  source: Source,
  env: Readonly<Record<string, string>>,
): Promise<{ daemon: Child; seconds: number }> {
  const port = await freePort();
  const sinceMs = performance.now();
  const daemon = await startDaemon(source, {
    PGSTAGE_SOURCE_SLOT: "many",
    PGSTAGE_SOURCE_PUBLICATION: "pgstage",
    PGSTAGE_FLUSH_INTERVAL: "1s",
    PGSTAGE_HTTP_PORT: String(port),
    ...env,
  });
  for (;;) {
    const status = await fetch(`http://127.0.0.1:${port}/status`).then(
      async (answer) => (await answer.json()) as { state?: string },
      () => null,
    );
    if (status?.state === "streaming") return { daemon, seconds: (performance.now() - sinceMs) / 1000 };
    if (daemon.isOver) throw new Error(`the daemon ended before it streamed:\n${daemon.said}`);
    await delay(20);
  }
}

/** CPU time and growth of a daemon that has nothing to do. */
async function idle(bench: Bench, daemon: Child, group: string): Promise<Figure[]> {
  bench.say(`${group}: idle`);
  const seconds = bench.quick ? QUICK_IDLE_SECONDS : IDLE_SECONDS;
  await delay(3000);
  const before = { cpu: daemon.cpuSeconds(), resident: daemon.residentBytes() };
  await delay(seconds * 1000);
  const cpu = ((daemon.cpuSeconds() - before.cpu) / seconds) * 100;
  const growth = (daemon.residentBytes() - before.resident) / 2 ** 20;
  return [
    { group, what: "idle, CPU of one core", value: cpu, unit: "%", note: `over ${seconds} s` },
    { group, what: "idle, growth", value: growth, unit: "MiB", note: `over ${seconds} s` },
  ];
}

/** Requests of one batch on S3, by what they are for. */
async function requests(
  bench: Bench,
  { source, template, tables }: { source: Source; template: string; tables: number },
): Promise<Figure[]> {
  bench.say(`${tables} tables: requests on S3`);
  await copySlot(source, TEMPLATE_SLOT, "many");
  const s3 = await startS3();
  const stage = {
    ...s3.env,
    PGSTAGE_STAGE_URL: `s3://${s3.bucket}/landing`,
    PGSTAGE_STAGE_ENDPOINT: s3.endpoint,
  };
  await bench.stages.fill(stage, { folder: template, slot: TEMPLATE_SLOT, as: "many" });
  const { daemon } = await startedDaemon(source, stage);
  // The WAL of the batch before comes first.
  await daemon.line("staged");
  const figures: Figure[] = [];
  const cases = [
    { what: "one small table", write: () => source.sql("UPDATE t00001 SET c1 = 'another' WHERE id <= 20") },
    { what: `${tables} small tables`, write: () => writeRowsAgain(source, tables) },
    { what: "one file of some 50 MB", write: () => writeLarge(source) },
  ];
  for (const { what, write } of cases) {
    await quiet(s3);
    s3.requests.clear();
    await write();
    await quiet(s3);
    const batches = s3.requests.list("PutObject").filter(({ key }) => key.includes("/_pgstage/log/")).length;
    const note = `${explain(s3)}; ${batches} batch${batches === 1 ? "" : "es"}`;
    figures.push({ group: "requests on S3", what, value: s3.requests.count(), unit: "requests", note });
  }
  await daemon.stop();
  await s3.close();
  await dropSlot(source, "many");
  return figures;
}

async function writeRowsAgain(source: Source, tables: number): Promise<void> {
  const all = Array.from({ length: tables }, (_, i) => `t${String(i + 1).padStart(5, "0")}`);
  await source.sql(all.map((name) => `UPDATE ${name} SET c1 = 'another'`).join(";"));
}

/** Text that does not compress well, in one transaction. */
async function writeLarge(source: Source): Promise<void> {
  await source.sql(
    `INSERT INTO t00001 (id, c1) SELECT 10000000 + i, (SELECT string_agg(md5(random()::text || i || j), '') FROM generate_series(1, 30) AS j)
       FROM generate_series(1, 90000) AS i`,
  );
}

/** Resolves once the server has not been asked for anything for two seconds. */
async function quiet(s3: S3): Promise<void> {
  let seen = -1;
  while (seen !== s3.requests.count()) {
    seen = s3.requests.count();
    await delay(2000);
  }
}

const PURPOSES: readonly (readonly [string, string])[] = [
  ["/_pgstage/log/", "log document"],
  ["/_pgstage/packs/", "pack of small files"],
  ["/_pgstage/state/", "state"],
  ["/_pgstage/schemas/", "shape"],
  ["/public/", "data"],
];

function explain(s3: S3): string {
  const counts = new Map<string, number>();
  for (const { op, key } of s3.requests.list()) {
    const purpose = PURPOSES.find(([folder]) => key.includes(folder))?.[1] ?? "other";
    const name = key === "" ? op : `${op} ${purpose}`;
    counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  return [...counts].map(([name, count]) => `${count} ${name}`).join(", ");
}
