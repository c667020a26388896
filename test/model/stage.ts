import { gunzipSync } from "node:zlib";
import type { LogDocument, LogFile, ShapeDocument } from "../../src/core/document.ts";
import { logKey, OWN_FOLDER, schemaKey } from "../../src/core/layout.ts";
import { checksumOf, type MemoryStage } from "../support/memory-store.ts";
import { readCsv } from "./csv.ts";

/** A row as it is published. */
export interface PublishedRow {
  readonly op: string;
  readonly lsn: string;
  readonly seq: number;
  readonly committedAt: string;
  readonly unchanged: readonly string[];
  readonly columns: readonly string[];
  readonly values: readonly (string | null)[];
  /** Names of the columns that identify it; empty: nothing does. */
  readonly key: readonly string[];
}

export interface PublishedFile {
  readonly file: LogFile;
  readonly rows: readonly PublishedRow[];
}

export interface ReadStage {
  readonly documents: readonly LogDocument[];
  readonly files: readonly PublishedFile[];
  /** Recorded, and gone before they could be published. */
  readonly lost: readonly LogFile[];
}

/** Everything that is wrong with the stage whatever was committed; reads it where nothing is. */
export function readStage(stage: MemoryStage): ReadStage {
  const documents = readLog(stage);
  const named = documents.flatMap((document) => document.files);
  const keys = new Set(named.map((file) => file.key));
  if (keys.size !== named.length) throw new Error("a data file stands in two log documents");
  for (const key of stage.dataKeys()) if (!keys.has(key)) throw new Error(`${key} stands in no log document`);
  for (const [key, contents] of stage.shown) {
    if (contents.length > 1 && !key.startsWith(`${OWN_FOLDER}state/`))
      throw new Error(`${key} has shown ${contents.length} contents`);
  }
  const files = named.filter((file) => stage.objects.has(file.key)).map((file) => readFile(stage, file));
  return { documents, files, lost: named.filter((file) => !stage.objects.has(file.key)) };
}

function readLog(stage: MemoryStage): LogDocument[] {
  const keys = stage.keys("_pgstage/log/");
  return keys.map((key, index) => {
    if (key !== logKey(index + 1)) throw new Error(`a gap in the log before ${key}`);
    const document = JSON.parse(String(stage.objects.get(key))) as LogDocument;
    if (document.sequence !== index + 1) throw new Error(`${key} says ${document.sequence}`);
    return document;
  });
}

function readFile(stage: MemoryStage, file: LogFile): PublishedFile {
  const wrong = (what: string): Error => new Error(`${file.key}: ${what}`);
  const stored = stage.objects.get(file.key) as Buffer;
  if (stored.length !== file.bytes) throw wrong(`${stored.length} bytes, ${file.bytes} recorded`);
  if (checksumOf(stored) !== file.checksum) throw wrong("another checksum than recorded");
  const csv = file.key.endsWith(".gz") ? gunzipSync(stored) : stored;
  if (csv.length !== file.csvBytes) throw wrong(`${csv.length} bytes of CSV, ${file.csvBytes} recorded`);
  const shape = readShape(stage, file);
  const [header, ...records] = readCsv(csv.toString("utf8"));
  const columns = shape.columns.map((column) => column.name);
  const expected = ["_op", "_lsn", "_seq", "_committed_at", "_unchanged", ...columns];
  if (JSON.stringify(header) !== JSON.stringify(expected)) throw wrong(`header ${String(header)}`);
  if (records.length !== file.rows) throw wrong(`${records.length} rows, ${file.rows} recorded`);
  const rows = records.map((record) => readRow(record, shape, columns));
  checkName(file, rows, wrong);
  return { file, rows };
}

function readShape(stage: MemoryStage, file: LogFile): ShapeDocument {
  const key = schemaKey(file.schemaName, file.tableName, file.shape);
  const bytes = stage.objects.get(key);
  if (!bytes) throw new Error(`${key} is not there`);
  const shape = JSON.parse(bytes.toString("utf8")) as ShapeDocument;
  if (shape.oid !== file.oid || shape.tableName !== file.tableName)
    throw new Error(`${key} is another table's`);
  return shape;
}

function readRow(
  record: readonly (string | null)[],
  shape: ShapeDocument,
  columns: readonly string[],
): PublishedRow {
  if (record.length !== columns.length + 5) throw new Error(`a row of ${record.length} fields`);
  const [op, lsn, seq, committedAt, unchanged, ...values] = record;
  return {
    op: String(op),
    lsn: String(lsn),
    seq: Number(seq),
    committedAt: String(committedAt),
    unchanged: unchanged ? (JSON.parse(unchanged) as string[]) : [],
    columns,
    values,
    key: shape.key,
  };
}

/** The name says table, hour and LSN range, and the log says the same. */
function checkName(file: LogFile, rows: readonly PublishedRow[], wrong: (what: string) => Error): void {
  const match =
    /^public\/([^/]+)\/(\d{4})\/(\d\d)\/(\d\d)\/(\d\d)\/([0-9A-F]{16})-(snapshot|[0-9A-F]{16})-(\d{4,5})(-\d{4})?\.csv(\.gz|\.zst)?$/.exec(
      file.key,
    );
  if (!match) throw wrong("not a name of the contract");
  const [, table, year, month, day, hour, first, last] = match;
  if (decodeURIComponent(String(table)) !== file.tableName) throw wrong("another table's folder");
  const lsns = rows.map((row) => row.lsn).toSorted();
  const [least, most] = [lsns[0], lsns.at(-1)];
  if (least !== undefined && (least !== file.firstLsn || most !== file.lastLsn))
    throw wrong(`rows from ${least} to ${String(most)}, recorded ${file.firstLsn} to ${file.lastLsn}`);
  const digits = (lsn: string): string => lsn.replace("/", "");
  // A copy's name is its consistent point; the `t` row may be from an earlier session's.
  const others = rows.filter((row) =>
    last === "snapshot" ? row.op === "r" && digits(row.lsn) !== first : false,
  );
  if (others.length > 0 || (last !== "snapshot" && digits(file.firstLsn) !== first))
    throw wrong("a name with another first LSN");
  if (last !== "snapshot" && digits(file.lastLsn) !== last) throw wrong("a name with another last LSN");
  const prefix = `${year}-${month}-${day} ${hour}:`;
  const other = rows.find((row) => !row.committedAt.startsWith(prefix));
  if (other) throw wrong(`a row of ${other.committedAt}`);
}
