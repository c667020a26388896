import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from "prom-client";
import type { Status } from "../core/status.ts";
import { METRICS, type MetricName } from "./metrics-table.ts";
import type { PublishedBatch } from "./batch-book.ts";
import { isCopyFile } from "./file-kind.ts";
import { GAUGES } from "./gauges.ts";

/** prom-client's own 10 ms wake an idle daemon a hundred times a second. */
const LOOP_SAMPLE_EVERY_MS = 200;

/** What a store can be asked for: the bounded label `operation`. */
type StoreOperation = "begin" | "write" | "finish" | "abort" | "publish" | "put" | "get" | "list" | "delete";

type FailureKind = "transient" | "operator" | "other";

/** What the daemon counts as it happens; everything else is read from its status at each scrape. */
export interface Metrics {
  /** `oldestCommitMs`: commit time of the batch's first transaction, in ms since 1970, or null. */
  batchPublished(batch: PublishedBatch & { readonly oldestCommitMs: number | null }): void;
  /** A range of a copy: its CSV bytes before compression. */
  rangeCopied(range: { readonly rows: number; readonly csvBytes: number; readonly tookMs: number }): void;
  storeRequest(request: {
    readonly operation: StoreOperation;
    readonly tookMs: number;
    readonly failure?: FailureKind;
  }): void;
  /** Runs a request of the store, counted and timed. */
  timed<T>(operation: StoreOperation, request: () => Promise<T>): Promise<T>;
  /** The replication connection was made again. */
  reconnected(): void;
  /** The text of /metrics. */
  text(): Promise<string>;
  readonly contentType: string;
}

/** Metrics of one daemon, in a registry of their own. `status` is asked once a scrape. */
export function createMetrics(status: () => Status, clock: () => number = Date.now): Metrics {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry, eventLoopMonitoringPrecision: LOOP_SAMPLE_EVERY_MS });
  const counters = makeCounters(registry);
  registerGauges(registry, status);

  function storeRequest(request: Parameters<Metrics["storeRequest"]>[0]): void {
    counters.storeSeconds.observe({ operation: request.operation }, request.tookMs / 1000);
    if (request.failure === undefined) return;
    counters.storeFailures.inc({ operation: request.operation, kind: request.failure });
  }

  return {
    batchPublished(batch) {
      countBatch(counters, batch);
      if (batch.oldestCommitMs === null) return;
      counters.publishDelay.observe(Math.max(0, clock() - batch.oldestCommitMs) / 1000);
    },
    rangeCopied(range) {
      counters.copiedRows.inc(range.rows);
      counters.copiedBytes.inc(range.csvBytes);
      counters.rangeSeconds.observe(range.tookMs / 1000);
    },
    storeRequest,
    async timed(operation, request) {
      const started = performance.now();
      try {
        const answer = await request();
        storeRequest({ operation, tookMs: performance.now() - started });
        return answer;
      } catch (error) {
        storeRequest({ operation, tookMs: performance.now() - started, failure: failureKind(error) });
        throw error;
      }
    },
    reconnected: () => counters.reconnects.inc(),
    text: () => registry.metrics(),
    contentType: registry.contentType,
  };
}

function failureKind(error: unknown): FailureKind {
  const name = error instanceof Error ? error.name : "";
  if (name === "TransientError") return "transient";
  return name === "OperatorError" ? "operator" : "other";
}

type Counters = ReturnType<typeof makeCounters>;

function makeCounters(registry: Registry) {
  const counter = (name: MetricName): Counter => new Counter({ ...describe(name), registers: [registry] });
  const histogram = (name: MetricName, buckets: number[]): Histogram =>
    new Histogram({ ...describe(name), buckets, registers: [registry] });
  return {
    rows: counter("pgstage_published_rows_total"),
    bytes: counter("pgstage_published_bytes_total"),
    files: counter("pgstage_published_files_total"),
    batches: counter("pgstage_published_batches_total"),
    copiedRows: counter("pgstage_copied_rows_total"),
    copiedBytes: counter("pgstage_copied_csv_bytes_total"),
    storeFailures: counter("pgstage_store_failures_total"),
    reconnects: counter("pgstage_source_reconnects_total"),
    delivery: histogram("pgstage_delivery_duration_seconds", DELIVERY_BUCKETS),
    publishDelay: histogram("pgstage_publish_delay_seconds", DELAY_BUCKETS),
    rangeSeconds: histogram("pgstage_range_copy_duration_seconds", RANGE_BUCKETS),
    storeSeconds: histogram("pgstage_store_request_duration_seconds", REQUEST_BUCKETS),
  };
}

/** Seconds. */
const DELIVERY_BUCKETS = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300];
const DELAY_BUCKETS = [0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900, 3600];
const RANGE_BUCKETS = [0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900];
const REQUEST_BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];

function countBatch(counters: Counters, batch: PublishedBatch): void {
  counters.batches.inc();
  counters.delivery.observe(batch.tookMs / 1000);
  for (const file of batch.files) {
    const kind = isCopyFile(file.key) ? "copy" : "change";
    counters.files.inc({ kind });
    counters.rows.inc({ kind }, file.rows);
    counters.bytes.inc({ kind }, file.bytes);
  }
}

function describe(name: MetricName): { name: string; help: string; labelNames: string[] } {
  const metric = METRICS.find((one) => one.name === name);
  return { name, help: metric?.help ?? "", labelNames: [...(metric?.labels ?? [])] };
}

/** One status a scrape: prom-client collects all metrics in one turn. */
function registerGauges(registry: Registry, status: () => Status): void {
  let current: Status | undefined;
  for (const [name, read] of Object.entries(GAUGES)) {
    const description = describe(name as MetricName);
    new Gauge({
      ...description,
      registers: [registry],
      collect() {
        if (current === undefined) {
          current = status();
          queueMicrotask(() => (current = undefined));
        }
        this.reset();
        // prom-client gives a gauge without labels the value 0, but what is not known is absent.
        if (description.labelNames.length === 0) this.remove();
        for (const { labels, value } of read(current)) this.set(labels, value);
      },
    });
  }
}
