import { createHash, type Hash } from "node:crypto";
import { closeSync, openSync, writeSync } from "node:fs";
import type { IncomingMessage } from "node:http";
import { checksumName, digestOf, type ChecksumName, type Digest } from "./checksums.ts";
import { invalidRequest, S3Error } from "./errors.ts";

/** A body that arrived whole and kept every promise about its content. */
export interface Received {
  readonly bytes: number;
  /** Hex. */
  readonly md5: string;
  readonly checksum: { readonly name: ChecksumName; readonly value: string } | null;
}

const TRAILER_PAYLOAD = "STREAMING-UNSIGNED-PAYLOAD-TRAILER";

/**
 * Reads a request's body into `sink`, and verifies its length, `x-amz-content-sha256`, `Content-MD5` and the
 * checksum in a header or trailer. Throws an S3Error if one of them does not hold.
 */
async function receiveBody(request: IncomingMessage, sink: (bytes: Buffer) => void): Promise<Received> {
  const { headers } = request;
  const payload = String(headers["x-amz-content-sha256"] ?? "");
  const isChunked = payload.startsWith("STREAMING-");
  if (payload === "") throw new S3Error(400, "MissingSecurityHeader", "x-amz-content-sha256 is missing");
  if (isChunked && payload !== TRAILER_PAYLOAD) {
    throw new S3Error(501, "NotImplemented", `this server does not read ${payload}`);
  }
  const length = headers[isChunked ? "x-amz-decoded-content-length" : "content-length"];
  if (length === undefined) throw new S3Error(411, "MissingContentLength");
  const promised = promisedChecksum(request);
  const digests = new Digests(promised.name, payload);
  const trailers = new Map<string, string>();
  const pieces = isChunked ? unchunk(request, trailers) : (request as AsyncIterable<Buffer>);
  for await (const piece of pieces) {
    digests.update(piece);
    sink(piece);
  }
  if (digests.bytes !== Number(length)) throw new S3Error(400, "IncompleteBody");
  const given =
    promised.name === null ? undefined : (promised.value ?? trailers.get(`x-amz-checksum-${promised.name}`));
  return digests.verify({ payload, md5: headers["content-md5"], checksum: given });
}

/** Reads a body into a file. */
export async function receiveFile(request: IncomingMessage, path: string): Promise<Received> {
  const file = openSync(path, "wx");
  try {
    return await receiveBody(request, (bytes) => {
      for (let done = 0; done < bytes.length;) done += writeSync(file, bytes, done);
    });
  } finally {
    closeSync(file);
  }
}

/** Reads a small body, such as an XML document. */
export async function receiveText(request: IncomingMessage): Promise<{ text: string; received: Received }> {
  const pieces: Buffer[] = [];
  const received = await receiveBody(request, (bytes) => pieces.push(bytes));
  return { text: Buffer.concat(pieces).toString("utf8"), received };
}

/** Which checksum the client promises; its value is in a header, or comes as a trailer. */
function promisedChecksum({ headers }: IncomingMessage): { name: ChecksumName | null; value?: string } {
  const inHeaders = Object.keys(headers)
    .map((name) => /^x-amz-checksum-(crc32|crc32c|crc64nvme|sha1|sha256)$/.exec(name)?.[1])
    .filter((name) => name !== undefined);
  if (inHeaders.length > 1) throw invalidRequest("expecting a single x-amz-checksum- header");
  const [inHeader] = inHeaders;
  if (inHeader !== undefined) {
    const name = checksumName(inHeader);
    return { name, value: String(headers[`x-amz-checksum-${name}`]) };
  }
  const trailer = /^x-amz-checksum-(\w+)$/.exec(String(headers["x-amz-trailer"] ?? ""))?.[1];
  if (trailer !== undefined) return { name: checksumName(trailer) };
  if (headers["x-amz-sdk-checksum-algorithm"] !== undefined) {
    throw invalidRequest(
      "x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or x-amz-trailer headers were found",
    );
  }
  return { name: null };
}

class Digests {
  bytes = 0;
  readonly #md5 = createHash("md5");
  readonly #sha256: Hash | null;
  readonly #checksum: { readonly name: ChecksumName; readonly digest: Digest } | null;

  constructor(name: ChecksumName | null, payload: string) {
    this.#sha256 = /^[0-9a-f]{64}$/.test(payload) ? createHash("sha256") : null;
    this.#checksum = name === null ? null : { name, digest: digestOf(name) };
  }

  update(piece: Buffer): void {
    this.bytes += piece.length;
    this.#md5.update(piece);
    this.#sha256?.update(piece);
    this.#checksum?.digest.update(piece);
  }

  verify(given: {
    payload: string;
    md5: string | string[] | undefined;
    checksum: string | undefined;
  }): Received {
    const md5 = this.#md5.digest();
    const checksum = this.#checksum && { name: this.#checksum.name, value: this.#checksum.digest.value() };
    if (this.#sha256 !== null && this.#sha256.digest("hex") !== given.payload) {
      throw new S3Error(400, "XAmzContentSHA256Mismatch");
    }
    if (given.md5 !== undefined && given.md5 !== md5.toString("base64")) {
      throw new S3Error(400, "BadDigest", "the Content-MD5 you specified did not match what we received");
    }
    if (checksum !== null && given.checksum !== checksum.value) {
      throw new S3Error(
        400,
        "BadDigest",
        `the ${checksum.name} you specified did not match the calculated checksum`,
      );
    }
    return { bytes: this.bytes, md5: md5.toString("hex"), checksum };
  }
}

/** Reads the body's frame: `size[;extension]\r\n` bytes `\r\n` … `0\r\n` trailers `\r\n`. */
async function* unchunk(
  source: AsyncIterable<Buffer>,
  trailers: Map<string, string>,
): AsyncGenerator<Buffer> {
  let rest: Buffer = Buffer.alloc(0);
  let left = 0;
  let isLast = false;
  let head = /^([0-9a-fA-F]+)(?:;[^\r\n]*)?\r\n/;
  for await (const piece of source) {
    rest = rest.length === 0 ? piece : Buffer.concat([rest, piece]);
    while (rest.length > 0 && !isLast) {
      if (left > 0) {
        const data = rest.subarray(0, Math.min(left, rest.length));
        rest = rest.subarray(data.length);
        left -= data.length;
        yield data;
        continue;
      }
      const header = head.exec(rest.toString("latin1", 0, 200));
      if (header === null && rest.length < 200) break;
      if (header === null) throw new S3Error(400, "IncompleteBody", "the chunks are malformed");
      rest = rest.subarray(header[0].length);
      left = Number.parseInt(header[1] ?? "", 16);
      isLast = left === 0;
      head = /^\r\n([0-9a-fA-F]+)(?:;[^\r\n]*)?\r\n/;
    }
  }
  if (!isLast) throw new S3Error(400, "IncompleteBody", "the last chunk is missing");
  for (const line of rest.toString("latin1").split("\r\n")) {
    const [name = "", ...value] = line.split(":");
    trailers.set(name.trim().toLowerCase(), value.join(":").trim());
  }
}
