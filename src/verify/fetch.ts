import { createHash } from "node:crypto";
import { open } from "node:fs/promises";
import { join } from "node:path";
import * as zlib from "node:zlib";
import type { Transform } from "node:stream";
import { messageOf } from "../core/errors.ts";
import type { Store } from "../stores/store.ts";
import type { StagedFile } from "./stage-log.ts";

const CHUNK_BYTES = 16 * 1024 * 1024;
/**
 * Compressed bytes in which a header ends: nearly always, and for a table with the most and longest column names
 * that Postgres allows. Few, because they may be a thousand times as many when decompressed.
 */
const HEADER_BYTES = [16 * 1024, 256 * 1024] as const;

/** A data file on this machine, as it was stored. */
export interface LocalFile {
  /** Which of the files of one reading; also its name here. */
  readonly number: number;
  readonly path: string;
  readonly file: StagedFile;
  readonly header: readonly string[];
}

export class StageFileError extends Error {
  override readonly name = "StageFileError";
  readonly key: string;

  constructor(key: string, problem: string) {
    super(problem);
    this.key = key;
  }
}

/** Downloads a data file and compares it with what the log says about its bytes. Throws a StageFileError. */
export async function fetchFile(
  store: Store,
  file: StagedFile,
  place: { folder: string; number: number },
): Promise<LocalFile> {
  const path = join(place.folder, String(place.number));
  const hash = createHash("sha256");
  const out = await open(path, "w");
  let head: Buffer = Buffer.alloc(0);
  try {
    for (let offset = 0; offset < file.bytes; offset += CHUNK_BYTES) {
      const chunk = await fetchChunk(store, file, offset);
      if (offset === 0) head = chunk.subarray(0, HEADER_BYTES[1]);
      hash.update(chunk);
      await out.write(chunk);
    }
  } finally {
    await out.close();
  }
  const checksum = `sha256:${hash.digest("hex")}`;
  if (checksum !== file.checksum) {
    throw new StageFileError(file.key, `has the checksum ${checksum}; the log says ${file.checksum}`);
  }
  return { number: place.number, path, file, header: await readHeader(file.key, head) };
}

async function fetchChunk(store: Store, file: StagedFile, offset: number): Promise<Buffer> {
  const length = Math.min(CHUNK_BYTES, file.bytes - offset);
  const last = offset + length === file.bytes;
  // One byte more at the end shows a file that is longer than recorded.
  const range = offset === 0 && last ? undefined : { offset, length: last ? length + 1 : length };
  const chunk = await store.get(file.key, range);
  if (!chunk) throw new StageFileError(file.key, "is missing");
  if (chunk.length !== length) {
    const size = chunk.length < length ? `only ${offset + chunk.length}` : `more than ${file.bytes}`;
    throw new StageFileError(file.key, `has ${size} bytes; the log says ${file.bytes}`);
  }
  return chunk;
}

/** The column names in the first line. */
async function readHeader(key: string, head: Buffer): Promise<string[]> {
  for (const bytes of HEADER_BYTES) {
    const start = await startOf(key, head.subarray(0, bytes));
    const header = parseHeader(start.toString("utf8"));
    if (header) return header;
  }
  throw new StageFileError(key, "does not begin with a CSV header");
}

/** What can be decompressed of the first bytes of a file; their end is not the stream's. */
async function startOf(key: string, head: Buffer): Promise<Buffer> {
  try {
    if (key.endsWith(".gz")) return zlib.gunzipSync(head, { finishFlush: zlib.constants.Z_SYNC_FLUSH });
    return key.endsWith(".zst") ? await unzstdStart(head) : head;
  } catch (error) {
    throw new StageFileError(key, `cannot be decompressed: ${messageOf(error)}`);
  }
}

function unzstdStart(head: Buffer): Promise<Buffer> {
  const { createZstdDecompress } = zlib as { createZstdDecompress?: () => Transform };
  if (!createZstdDecompress) throw new Error(`Node ${process.version} cannot read zstd; 22.15 and later can`);
  const stream = createZstdDecompress();
  const pieces: Buffer[] = [];
  return new Promise((resolve, reject) => {
    const done = (): void => resolve(Buffer.concat(pieces));
    stream.on("data", (piece: Buffer) => pieces.push(piece));
    stream.on("error", (error) => (pieces.length > 0 ? done() : reject(error)));
    stream.on("end", done);
    stream.end(head);
  });
}

/** The first record of CSV text, or null if it does not end within it. */
function parseHeader(text: string): string[] | null {
  const names: string[] = [];
  const field = /(?:"((?:[^"]|"")*)"|([^",\n]*))([,\n])/y;
  for (;;) {
    const match = field.exec(text);
    if (!match) return null;
    names.push(match[1]?.replaceAll('""', '"') ?? match[2] ?? "");
    if (match[3] === "\n") return names;
  }
}
