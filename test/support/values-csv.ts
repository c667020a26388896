import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { tableFolder } from "../../src/core/layout.ts";

const LF = 0x0a;
const QUOTE = 0x22;
const COMMA = 0x2c;

/** A row of a staged file that was not compressed: what the metadata say, and the table's own bytes. */
export interface StagedRow {
  readonly op: string;
  readonly lsn: string;
  readonly seq: number;
  readonly unchanged: readonly string[];
  /** The values as CSV, without the comma before them, one character a byte. */
  readonly values: string;
}

/** Records of a CSV file, each without its line feed, one character a byte. */
function recordsOf(file: Buffer): string[] {
  const records: string[] = [];
  let from = 0;
  let quoted = false;
  for (let at = 0; at < file.length; at++) {
    if (file[at] === QUOTE) quoted = !quoted;
    if (file[at] !== LF || quoted) continue;
    records.push(file.toString("latin1", from, at));
    from = at + 1;
  }
  if (from !== file.length) throw new Error("the last record has no line feed");
  return records;
}

/** Splits a record into its fields as they stand, quotes and all. */
function fieldsOf(record: string): string[] {
  const fields: string[] = [];
  let from = 0;
  let quoted = false;
  for (let at = 0; at <= record.length; at++) {
    const byte = record.charCodeAt(at);
    if (byte === QUOTE) quoted = !quoted;
    if (at < record.length && (byte !== COMMA || quoted)) continue;
    fields.push(record.slice(from, at));
    from = at + 1;
  }
  return fields;
}

export interface StagedFile {
  /** Below the stage. */
  readonly key: string;
  readonly header: string;
  readonly rows: readonly StagedRow[];
}

/** The files of a table, by name. */
export async function stagedFiles(directory: string, schema: string, table: string): Promise<StagedFile[]> {
  const folder = tableFolder(schema, table);
  const entries = await readdir(join(directory, folder), { recursive: true, withFileTypes: true });
  const keys = entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .toSorted();
  return Promise.all(
    keys.map(async (path) => {
      const [header = "", ...records] = recordsOf(await readFile(path));
      return { key: path.slice(directory.length + 1), header, rows: records.map(rowOf) };
    }),
  );
}

/** The rows of a table in the order that counts. */
export async function stagedRows(directory: string, schema: string, table: string): Promise<StagedRow[]> {
  const files = await stagedFiles(directory, schema, table);
  const byPosition = (a: StagedRow, b: StagedRow): number =>
    a.lsn === b.lsn ? a.seq - b.seq : a.lsn < b.lsn ? -1 : 1;
  return files.flatMap((file) => file.rows).toSorted(byPosition);
}

function rowOf(record: string): StagedRow {
  const [op = "", lsn = "", seq = "", , unchanged = "", ...values] = fieldsOf(record);
  return {
    op,
    lsn,
    seq: Number(seq),
    unchanged: unchanged === "" ? [] : (JSON.parse(unquoted(unchanged)) as string[]),
    values: values.join(","),
  };
}

function unquoted(field: string): string {
  const text = field.startsWith('"') ? field.slice(1, -1).replaceAll('""', '"') : field;
  return Buffer.from(text, "latin1").toString("utf8");
}
