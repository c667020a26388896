import { createHash } from "node:crypto";
import { promisify } from "node:util";
import zlib from "node:zlib";
import PQueue from "p-queue";
import { giveBackChunk } from "../core/chunks.ts";
import type { Compression } from "../core/layout.ts";
import type { MemoryAccount } from "../core/memory.ts";

/** Fastest levels: the stream's speed is the server's, and a CPU second is worth more than a tenth of the size. */
const GZIP_LEVEL = 1;
/**
 * Window of 8 KiB: rows resemble those before them, and near matches are shorter to write. Against the default of
 * 32 KiB: 10 to 25 % less CPU, 1 to 10 % smaller files (a fifth larger at worst, with long texts that come back far
 * apart), and 100 KB less memory an open file.
 */
const GZIP_WINDOW_BITS = 13;
const GZIP: zlib.ZlibOptions = { level: GZIP_LEVEL, windowBits: GZIP_WINDOW_BITS };
const ZSTD_LEVEL = 1;
/** What zlib allocates for one deflate stream, and a piece of its output, in bytes: 200 KB, measured; zstd about as much again. */
const STREAM_STATE_BYTES = 330_000;
const OUTPUT_CHUNK_BYTES = 64 * 1024;
/**
 * Small files compressed at once. Each has a deflate state of its own from the moment it is asked for, so a batch of
 * 1,000 tables would hold 300 MB; this many keep libuv's threads busy.
 */
const WHOLE_AT_ONCE = 8;
const whole = new PQueue({ concurrency: WHOLE_AT_ONCE });

/** zstd came to node:zlib with 22.15; the types are those of the oldest Node that we run on. */
interface ZlibWithZstd {
  createZstdCompress(options: object): zlib.Gzip;
  zstdCompress(bytes: Buffer, options: object, callback: (error: Error | null, out: Buffer) => void): void;
  constants: { ZSTD_c_compressionLevel: number };
}

/** Bytes that came out and are not taken, and the chunk that they stand in if nothing else does. */
interface Piece {
  bytes: Buffer;
  chunk: Buffer | null;
}

/**
 * Compresses one file, in libuv's threads. Pieces come out in order and are counted in the memory account
 * until they are taken; the checksum is of what came out.
 */
export class Compressor {
  readonly #compression: Compression;
  readonly #memory: MemoryAccount;
  readonly #hash = createHash("sha256");
  #stream: zlib.Gzip | null = null;
  #failure: Error | null = null;
  #pieces: Piece[] = [];
  #readyBytes = 0;
  #totalBytes = 0;
  #queuedBytes = 0;
  /** Told whenever pieces came out or input was consumed. */
  onPiece: () => void = () => {};

  constructor(compression: Compression, memory: MemoryAccount) {
    this.#compression = compression;
    this.#memory = memory;
  }

  /** Bytes that came out and are not taken. */
  get readyBytes(): number {
    return this.#readyBytes;
  }

  /** Bytes that came out altogether. */
  get totalBytes(): number {
    return this.#totalBytes;
  }

  /** Bytes that went in and are not compressed yet. */
  get queuedBytes(): number {
    return this.#queuedBytes;
  }

  get isStreaming(): boolean {
    return this.#stream !== null;
  }

  /** `sha256:<hex>`; once, after the end. */
  checksum(): string {
    return `sha256:${this.#hash.digest("hex")}`;
  }

  /** Takes over `buffer`, all of which the caller has counted, and compresses its first `bytes`. */
  write(buffer: Buffer, bytes: number): void {
    const counted = buffer.length;
    if (this.#compression === "none") {
      this.#memory.release(counted);
      this.#out(buffer.subarray(0, bytes), buffer);
      return;
    }
    this.#stream ??= this.#open();
    this.#queuedBytes += counted;
    this.#stream.write(buffer.subarray(0, bytes), (error) => {
      this.#queuedBytes -= counted;
      this.#memory.release(counted);
      // After an error a thread may still read it.
      if (!error) giveBackChunk(buffer);
      this.onPiece();
    });
  }

  /** Compresses the last buffer and ends the file. A file that fits one never opens a stream. */
  async end(buffer: Buffer, bytes: number): Promise<void> {
    const stream = this.#stream;
    const last = buffer.subarray(0, bytes);
    if (this.#compression === "none" || !stream) {
      const compressed = await whole.add(() => compressWhole(last, this.#compression));
      this.#memory.release(buffer.length);
      this.#out(compressed);
      return;
    }
    await new Promise<void>((resolve, reject) => {
      stream.once("end", resolve).once("error", reject);
      if (this.#failure) reject(this.#failure);
      stream.end(last, () => this.#memory.release(buffer.length));
    });
    this.#memory.release(STREAM_STATE_BYTES);
    this.#stream = null;
  }

  /** Takes at most `bytes` of what came out; the caller releases them when they are gone. */
  take(bytes = this.#readyBytes): Buffer {
    const taken: Buffer[] = [];
    const emptied: Buffer[] = [];
    let wanted = Math.min(bytes, this.#readyBytes);
    this.#readyBytes -= wanted;
    while (wanted > 0) {
      const piece = this.#pieces[0] as Piece;
      const part = piece.bytes.subarray(0, wanted);
      taken.push(part);
      wanted -= part.length;
      piece.bytes = piece.bytes.subarray(part.length);
      if (piece.bytes.length > 0) break;
      this.#pieces.shift();
      if (piece.chunk) emptied.push(piece.chunk);
    }
    if (taken.length === 1) return this.#asView(taken[0] as Buffer);
    const together = Buffer.concat(taken);
    for (const chunk of emptied) giveBackChunk(chunk);
    return together;
  }

  /** The taker has a view of the chunk: nobody else may write into it. */
  #asView(part: Buffer): Buffer {
    const [rest] = this.#pieces;
    if (rest?.bytes.buffer === part.buffer) rest.chunk = null;
    return part;
  }

  /** Gives up: frees what is held. */
  discard(): void {
    this.#memory.release(this.#readyBytes);
    this.#pieces = [];
    this.#readyBytes = 0;
    if (!this.#stream) return;
    this.#stream.destroy();
    this.#stream = null;
    this.#memory.release(STREAM_STATE_BYTES);
  }

  #open(): zlib.Gzip {
    this.#memory.hold(STREAM_STATE_BYTES);
    const stream = openStream(this.#compression);
    stream.on("data", (piece: Buffer) => this.#out(piece));
    stream.on("error", (error) => {
      this.#failure ??= error;
    });
    return stream;
  }

  #out(bytes: Buffer, chunk: Buffer | null = null): void {
    if (bytes.length === 0) return;
    this.#hash.update(bytes);
    this.#memory.hold(bytes.length);
    this.#pieces.push({ bytes, chunk });
    this.#readyBytes += bytes.length;
    this.#totalBytes += bytes.length;
    this.onPiece();
  }
}

function openStream(compression: Compression): zlib.Gzip {
  const chunkSize = OUTPUT_CHUNK_BYTES;
  if (compression === "gzip") return zlib.createGzip({ ...GZIP, chunkSize });
  const zstd = zlib as unknown as ZlibWithZstd;
  return zstd.createZstdCompress({
    chunkSize,
    params: { [zstd.constants.ZSTD_c_compressionLevel]: ZSTD_LEVEL },
  });
}

async function compressWhole(bytes: Buffer, compression: Compression): Promise<Buffer> {
  switch (compression) {
    case "none":
      return bytes;
    case "gzip":
      return promisify<Buffer, zlib.ZlibOptions, Buffer>(zlib.gzip)(bytes, GZIP);
    case "zstd": {
      const zstd = zlib as unknown as ZlibWithZstd;
      const params = { [zstd.constants.ZSTD_c_compressionLevel]: ZSTD_LEVEL };
      return new Promise((resolve, reject) =>
        zstd.zstdCompress(bytes, { params }, (error, out) => (error ? reject(error) : resolve(out))),
      );
    }
    default:
      return compression satisfies never;
  }
}
