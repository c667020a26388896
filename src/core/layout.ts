import { createHash } from "node:crypto";
import { lsnDigits, type Lsn } from "./lsn.ts";

/**
 * Where things stand below the stage's prefix. All keys are relative to it and use `/`.
 */

/** Percent-encodes every byte but `A-Z a-z 0-9 . _ -`. The names `.` and `..` would be folders, so their dots go too. */
export function encodeName(name: string): string {
  if (name === "." || name === "..") return name.replaceAll(".", "%2E");
  let out = "";
  for (const byte of Buffer.from(name, "utf8")) {
    const char = String.fromCharCode(byte);
    out += /[A-Za-z0-9._-]/.test(char) ? char : `%${byte.toString(16).toUpperCase().padStart(2, "0")}`;
  }
  return out;
}

/** `public/orders/`, with the closing slash: what a Snowflake pipe points at. */
export function tableFolder(schema: string, table: string): string {
  return `${encodeName(schema)}/${encodeName(table)}/`;
}

/** `2026/11/22/07/`: the UTC hour of a commit. `micros` are microseconds since 1970. */
export function hourFolder(micros: bigint): string {
  const iso = new Date(Number(micros / 1000n)).toISOString();
  return `${iso.slice(0, 13).replace(/[-T]/g, "/")}/`;
}

export type Compression = "gzip" | "zstd" | "none";

function fileExtension(compression: Compression): string {
  switch (compression) {
    case "gzip":
      return ".csv.gz";
    case "zstd":
      return ".csv.zst";
    case "none":
      return ".csv";
    default:
      return compression satisfies never;
  }
}

/** Name of a file of changes: first commit LSN, last commit LSN, part (from 1). */
export function changeFileName(first: Lsn, last: Lsn, part: number, compression: Compression): string {
  return `${lsnDigits(first)}-${lsnDigits(last)}-${String(part).padStart(4, "0")}${fileExtension(compression)}`;
}

/** Name of a copied range's file: consistent point, number of the range (from 1), and from its second roll on the roll. */
export function copyFileName(point: Lsn, range: number, roll: number, compression: Compression): string {
  const suffix = roll > 1 ? `-${String(roll).padStart(4, "0")}` : "";
  return `${lsnDigits(point)}-snapshot-${String(range).padStart(5, "0")}${suffix}${fileExtension(compression)}`;
}

/** Everything below here is the daemon's own. */
export const OWN_FOLDER = "_pgstage/";
export const LOG_FOLDER = "_pgstage/log/";
export const STATE_FOLDER = "_pgstage/state/";
export const SCHEMAS_FOLDER = "_pgstage/schemas/";
/** Invisible uploads of a directory store, and packs of small files. */
export const STAGED_FOLDER = "_pgstage/staged/";
export const PACKS_FOLDER = "_pgstage/packs/";

/** Log documents in one sub-folder; bounds what a start has to list. */
const LOG_DOCUMENTS_PER_FOLDER = 1000;

/** `_pgstage/log/000000001/000000001234.json`: text order is sequence order. */
export function logKey(sequence: number): string {
  return `${logFolder(Math.floor(sequence / LOG_DOCUMENTS_PER_FOLDER))}${String(sequence).padStart(12, "0")}.json`;
}

function logFolder(folder: number): string {
  return `${LOG_FOLDER}${String(folder).padStart(9, "0")}/`;
}

export function stateKey(sequence: number): string {
  return `${STATE_FOLDER}${String(sequence).padStart(12, "0")}.json`;
}

/** `_pgstage/schemas/public.orders/<shape id>.json` */
export function schemaKey(schema: string, table: string, shapeId: string): string {
  return `${SCHEMAS_FOLDER}${shorten(`${encodeName(schema)}.${encodeName(table)}`)}/${shapeId}.json`;
}

/** The longest name of a folder on common file systems is 255 bytes; two encoded names can be longer. */
const MAX_FOLDER_BYTES = 240;

/** A long name is cut and ends in a hash of the whole. */
function shorten(name: string): string {
  if (name.length <= MAX_FOLDER_BYTES) return name;
  const hash = createHash("sha256").update(name).digest("hex").slice(0, 16);
  return `${name.slice(0, MAX_FOLDER_BYTES - hash.length - 1)}~${hash}`;
}
