import { createHash } from "node:crypto";
import { open } from "node:fs/promises";
import { join } from "node:path";
import { createGunzip, type Gunzip } from "node:zlib";
import * as zlib from "node:zlib";
import type { Store } from "../stores/store.ts";
import type { StagedFile } from "./stage-log.ts";

const CHUNK_BYTES = 16 * 1024 * 1024;
/** Compressed bytes in which the header of a table with the most columns that Postgres allows ends for sure. */
const HEADER_BYTES = 1024 * 1024;

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
      if (offset === 0) head = chunk.subarray(0, HEADER_BYTES);
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
  const text = (await startOf(key, head)).toString("utf8");
  const header = parseHeader(text);
  if (!header) throw new StageFileError(key, "does not begin with a CSV header");
  return header;
}

function startOf(key: string, head: Buffer): Promise<Buffer> {
  if (key.endsWith(".gz")) return inflateStart(key, createGunzip(), head);
  if (key.endsWith(".zst")) return inflateStart(key, zstdStream(key), head);
  return Promise.resolve(head);
}

function zstdStream(key: string): Gunzip {
  const create = (zlib as { createZstdDecompress?: () => Gunzip }).createZstdDecompress;
  if (create) return create();
  throw new StageFileError(
    key,
    `is compressed with zstd, which Node ${process.version} cannot read: use 22.15 or later`,
  );
}

/** What can be decompressed of the first bytes of a file; their end is not the stream's. */
async function inflateStart(key: string, stream: Gunzip, head: Buffer): Promise<Buffer> {
  const pieces: Buffer[] = [];
  stream.on("data", (piece: Buffer) => pieces.push(piece));
  await new Promise<void>((resolve, reject) => {
    stream.on("error", (error) =>
      pieces.length > 0
        ? resolve()
        : reject(new StageFileError(key, `cannot be decompressed: ${error.message}`)),
    );
    stream.on("end", resolve);
    stream.end(head);
  });
  return Buffer.concat(pieces);
}

/** The first record of CSV text, or null if it does not end within it. */
export function parseHeader(text: string): string[] | null {
  const names: string[] = [];
  const field = /(?:"((?:[^"]|"")*)"|([^",\n]*))([,\n])/y;
  for (;;) {
    const match = field.exec(text);
    if (!match) return null;
    names.push(match[1]?.replaceAll('""', '"') ?? match[2] ?? "");
    if (match[3] === "\n") return names;
  }
}
