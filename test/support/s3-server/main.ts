import { mkdirSync } from "node:fs";
import { parseArgs } from "node:util";
import { startS3 } from "./index.ts";

/**
 * The server as a process of its own, so that its CPU is not the test's:
 *
 *     node --import tsx test/support/s3-server/main.ts --dir DIR [--port 0] [--bucket stage] [--with-stdin]
 *
 * Prints one line of JSON (`endpoint`, `bucket`, `region`, `credentials`, `env`), and ends on SIGTERM; with
 * `--with-stdin` also when its standard input is closed, so that it never outlives whoever started it.
 */
const { values } = parseArgs({
  options: {
    dir: { type: "string" },
    port: { type: "string", default: "0" },
    bucket: { type: "string", default: "stage" },
    "with-stdin": { type: "boolean", default: false },
  },
});
if (values.dir === undefined) throw new Error("--dir is missing");
mkdirSync(values.dir, { recursive: true });
const s3 = await startS3({ dir: values.dir, port: Number(values.port), bucket: values.bucket });
const { endpoint, bucket, region, credentials, env } = s3;
console.log(JSON.stringify({ endpoint, bucket, region, credentials, env }));

const stop = (): void => void s3.close().then(() => process.exit(0));
process.once("SIGTERM", stop);
process.once("SIGINT", stop);
if (values["with-stdin"]) process.stdin.resume().once("end", stop);
