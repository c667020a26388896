import { DOCUMENT_FORMAT } from "../../src/core/document.ts";
import { logKey, stateKey } from "../../src/core/layout.ts";
import { readLog } from "../../src/delivery/log.ts";
import { unborn } from "../../src/delivery/state.ts";
import { openStore } from "../../src/stores/open.ts";
import type { Store } from "../../src/stores/store.ts";
import { startS3 } from "../support/s3-server/index.ts";
import type { Bench } from "./bench.ts";
import { median, type Figure } from "./report.ts";

const PIPELINE = { systemIdentifier: "1", timeline: 1, database: "d", slot: "s", publication: "p" };
const LONG = 1_000_000;
/** As src/core/layout.ts has it. */
const LOG_DOCUMENTS_PER_FOLDER = 1000;

/** Reading a log of a million documents at a start, against one of fifty. */
export async function benchLog(bench: Bench): Promise<Figure[]> {
  const figures: Figure[] = [];
  for (const kind of ["file", "s3"] as const) {
    bench.say(`log of a million documents, ${kind}`);
    const s3 = kind === "s3" ? await startS3() : null;
    if (s3) Object.assign(process.env, s3.env);
    const folder = await bench.stages.folder();
    const stores = ["short", "long"].map((name) => {
      const url = s3 ? `s3://${s3.bucket}/${name}` : `file://${folder}/${name}`;
      return openStore({ url, endpoint: s3?.endpoint });
    });
    const [short, long] = await Promise.all(stores);
    if (!short || !long) throw new Error("two stores were opened");
    await fill(short, 50);
    await fill(long, LONG);
    const value = await timed(long);
    const reference = { name: "log of 50", value: await timed(short) };
    figures.push({
      group: "log",
      what: `read a log of a million at start, ${kind}`,
      value,
      unit: "ms",
      reference,
    });
    await s3?.close();
  }
  return figures;
}

async function timed(store: Store): Promise<number> {
  const times: number[] = [];
  for (let round = 0; round < 5; round++) {
    const sinceMs = performance.now();
    await readLog(store);
    times.push(performance.now() - sinceMs);
  }
  return median(times);
}

/**
 * A log that ends at `last`. Of older folders, which are listed by name and never opened, only one document is there;
 * 90 documents follow the newest state, as they may.
 */
async function fill(store: Store, last: number): Promise<void> {
  const state = Math.max(0, last - 90);
  const newestFolder = Math.floor(last / LOG_DOCUMENTS_PER_FOLDER);
  const sequences: number[] = [];
  for (let folder = 0; folder < newestFolder; folder++) sequences.push(folder * LOG_DOCUMENTS_PER_FOLDER + 1);
  const from = Math.max(1, Math.min(newestFolder * LOG_DOCUMENTS_PER_FOLDER, last - 100));
  for (let sequence = from; sequence <= last; sequence++) sequences.push(sequence);
  if (state > 0) {
    const base = { ...unborn(PIPELINE), sequence: state, endLsn: "00000000/00000001" };
    await store.put(stateKey(state), Buffer.from(JSON.stringify(base)));
  }
  for (let at = 0; at < sequences.length; at += 50)
    await Promise.all(sequences.slice(at, at + 50).map((sequence) => write(store, sequence)));
}

async function write(store: Store, sequence: number): Promise<void> {
  const document = {
    format: DOCUMENT_FORMAT,
    sequence,
    time: "2026-11-22T07:00:00Z",
    writer: "bench",
    kind: "batch",
    pipeline: PIPELINE,
    firstLsn: null,
    endLsn: "00000000/00000001",
    committedAt: null,
    files: [],
    tables: [],
  };
  await store.put(logKey(sequence), Buffer.from(JSON.stringify(document)));
}
