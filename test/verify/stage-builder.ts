import { createHash } from "node:crypto";
import { gzipSync } from "node:zlib";
import type { LogDocument, LogFile, PipelineIdentity } from "../../src/core/document.ts";
import { changeFileName, copyFileName, hourFolder, logKey, tableFolder } from "../../src/core/layout.ts";
import { formatLsn, parseLsn, type Lsn } from "../../src/core/lsn.ts";
import type { CatalogTable, CopyProgress } from "../../src/core/table.ts";
import { csvRecord, metadataColumns } from "../../src/csv/header.ts";
import type { TableEvent } from "../../src/delivery/state.ts";
import { DirectoryStore } from "../../src/stores/directory.ts";

/** A row as a test writes it: `["u", seq, values, unchanged]`. */
export type Row = readonly [
  op: "r" | "c" | "u" | "d" | "t",
  lsn: string,
  seq: number,
  values: readonly (string | null)[],
  unchanged?: readonly string[],
];

export interface TestTable {
  readonly oid: number;
  readonly name: string;
  readonly columns: readonly string[];
  readonly key: readonly string[];
}

const HOUR_MICROS = 1_795_000_000_000_000n;
const COMMITTED_AT = "2026-11-18 11:06:40.000000+00";

/** Writes a stage by hand, file by file, as the contract says it looks: what a daemon would have written. */
export class StageBuilder {
  readonly store: DirectoryStore;
  readonly #pipeline: PipelineIdentity;
  #sequence = 0;
  #endLsn: string | null = null;

  constructor(directory: string, pipeline: PipelineIdentity) {
    this.store = new DirectoryStore(directory);
    this.#pipeline = pipeline;
  }

  /** One log document with these files; publishes them first. */
  async batch(batch: {
    files?: readonly LogFile[];
    events?: readonly TableEvent[];
    endLsn?: string;
    sequence?: number;
  }): Promise<LogDocument> {
    this.#sequence = batch.sequence ?? this.#sequence + 1;
    this.#endLsn = batch.endLsn ? formatLsn(parseLsn(batch.endLsn)) : this.#endLsn;
    const document: LogDocument = {
      format: 1,
      sequence: this.#sequence,
      time: new Date().toISOString(),
      writer: String(this.#sequence),
      kind: "batch",
      pipeline: this.#pipeline,
      firstLsn: null,
      endLsn: this.#endLsn,
      committedAt: null,
      files: batch.files ?? [],
      tables: (batch.events ?? []) as unknown as LogDocument["tables"],
    };
    await this.store.put(logKey(this.#sequence), Buffer.from(JSON.stringify(document)));
    return document;
  }

  /** Publishes one file. `columns` are the table's if not given. */
  async file(table: TestTable, rows: readonly Row[], columns = table.columns): Promise<LogFile> {
    const header = csvRecord([...metadataColumns("_"), ...columns]);
    const lines = rows.map(([op, lsn, seq, values, unchanged]) =>
      csvRecord([
        op,
        formatLsn(parseLsn(lsn)),
        String(seq),
        COMMITTED_AT,
        unchanged ? JSON.stringify(unchanged) : null,
        ...values,
      ]),
    );
    return this.publish(table, Buffer.concat([header, ...lines]), rows);
  }

  /** Publishes one file with this CSV text. */
  async publish(table: TestTable, csv: Buffer, rows: readonly Row[]): Promise<LogFile> {
    const lsns = rows.map(([, lsn]) => parseLsn(lsn)).toSorted((a, b) => (a < b ? -1 : 1));
    const first = lsns[0] as Lsn;
    const last = lsns.at(-1) as Lsn;
    const copied = rows.some(([, , seq]) => seq === 0);
    const name = copied ? copyFileName(first, 1, 1, "gzip") : changeFileName(first, last, 1, "gzip");
    const key = `${tableFolder("public", table.name)}${hourFolder(HOUR_MICROS)}${name}`;
    const bytes = gzipSync(csv);
    const checksum = `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
    await this.store.put(key, bytes);
    return {
      key,
      oid: table.oid,
      table: `public.${table.name}`,
      schemaName: "public",
      tableName: table.name,
      shape: "shape",
      rows: rows.length,
      bytes: bytes.length,
      csvBytes: csv.length,
      checksum,
      firstLsn: formatLsn(first),
      lastLsn: formatLsn(last),
      staged: { pack: "pack", offset: 0 },
    };
  }
}

/** The event that makes a table known; copied at `point` unless told otherwise. */
export function known(table: TestTable, point: string, copy?: CopyProgress): TableEvent {
  const catalog: CatalogTable = {
    oid: table.oid,
    schema: "public",
    name: table.name,
    partitioned: false,
    replicaIdentity: "default",
    key: table.key,
    insertOnly: false,
    columns: table.columns.map((name, index) => ({ attnum: index + 1, name, typeOid: 25, typeModifier: -1 })),
    columnsVersion: "",
    missing: [],
    labels: {},
    storages: [],
  };
  const at = formatLsn(parseLsn(point));
  const copied: CopyProgress = { phase: "copied", firstPoint: at, lastPoint: at, rows: 0, bytes: 0 };
  return { event: "table", table: { catalog, names: {}, copy: copy ?? copied } };
}
