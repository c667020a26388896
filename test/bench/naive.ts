import { createWriteStream } from "node:fs";
import { finished } from "node:stream/promises";
import { createGzip, type Gzip } from "node:zlib";
import { stringify, type Stringifier } from "csv-stringify";
import { LogicalReplicationService, PgoutputPlugin, type Pgoutput } from "pg-logical-replication";

/**
 * The naive build of the same parts, for comparison, as a process of its own: the library's decoder, csv-stringify and
 * node:zlib, one file a table, nothing exactly once. Prints the seconds that it took from its connection on.
 *
 *     node --import tsx test/bench/naive.ts URL SLOT PUBLICATION FOLDER ROWS
 */
const [url = "", slot = "", publication = "", folder = "", rowsText = "0"] = process.argv.slice(2);
const until = Number(rowsText);

const files = new Map<string, { csv: Stringifier; gzip: Gzip; written: Promise<void> }>();

function fileOf(table: string): Stringifier {
  const known = files.get(table);
  if (known) return known.csv;
  const csv = stringify({ quoted_match: /^$/ });
  const gzip = createGzip({ level: 1 });
  const written = finished(csv.pipe(gzip).pipe(createWriteStream(`${folder}/${table}.csv.gz`)));
  files.set(table, { csv, gzip, written });
  return csv;
}

const service = new LogicalReplicationService(
  { connectionString: url },
  { acknowledge: { auto: false, timeoutSeconds: 0 }, flowControl: { enabled: true } },
);
const plugin = new PgoutputPlugin({ protoVersion: 1, publicationNames: [publication] });
let commit = { lsn: "", time: "" };
let rows = 0;
let seq = 0;
const startedAtMs = performance.now();
const done = new Promise<void>((resolve) => {
  service.on("data", (_lsn: string, message: Pgoutput.Message) => {
    if (message.tag === "begin") {
      const time = new Date(Number(message.commitTime) / 1000).toISOString();
      commit = { lsn: String(message.commitLsn), time };
      seq = 0;
    }
    if (message.tag !== "insert" || rows === until) return undefined;
    const { relation } = message;
    const values = relation.columns.map((column) => message.new[column.name] as unknown);
    const csv = fileOf(relation.name);
    rows++;
    const more = csv.write(["c", commit.lsn, ++seq, commit.time, null, ...values]);
    if (rows === until) resolve();
    return more ? undefined : new Promise<void>((go) => csv.once("drain", go));
  });
});
service.on("error", (error: Error) => {
  console.error(error);
  process.exit(1);
});
void service.subscribe(plugin, slot);
await done;
for (const { csv } of files.values()) csv.end();
await Promise.all([...files.values()].map((file) => file.written));
const seconds = (performance.now() - startedAtMs) / 1000;
console.log(JSON.stringify({ msg: "done", seconds, cpu: process.cpuUsage() }));
process.exit(0);
