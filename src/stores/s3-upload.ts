import { randomUUID } from "node:crypto";
import { crc32 } from "node:zlib";
import {
  AbortMultipartUploadCommand,
  CreateMultipartUploadCommand,
  UploadPartCommand,
} from "@aws-sdk/client-s3";
import { OperatorError, TransientError, UploadLostError } from "../core/errors.ts";
import { MAX_PARTS, wholeFile, type StoredPart } from "./parts.ts";
import { failureOf } from "./s3-errors.ts";
import type { S3Requests } from "./s3-requests.ts";
import { receiptOf, type UploadedPart } from "./s3-receipt.ts";
import type { Receipt, Upload } from "./store.ts";

/** S3's smallest part, but for the last of an upload. */
export const MIN_PART_BYTES = 5 * 1024 * 1024;

/** Metadata that tells our object from another one under the same key, once the upload is no more. */
export const MARK = "pgstage-id";

/** Begins a multipart upload: S3 shows nothing of it until it is completed. */
export async function beginS3Upload(requests: S3Requests, key: string): Promise<Upload> {
  const mark = randomUUID();
  const withChecksums = (await requests.client.config.requestChecksumCalculation()) === "WHEN_SUPPORTED";
  const command = new CreateMultipartUploadCommand({
    ...requests.at(key),
    ...requests.writing,
    ContentType: "text/csv",
    Metadata: { [MARK]: mark },
    ...(withChecksums && { ChecksumAlgorithm: "CRC32" }),
  });
  const { UploadId } = await requests.run("s3:PutObject", key, () => requests.client.send(command));
  if (UploadId === undefined)
    throw new TransientError(`${requests.nameOf(key)}: the store gave no upload id`);
  return new S3Upload({ requests, key, uploadId: UploadId, mark, withChecksums });
}

interface Begun {
  readonly requests: S3Requests;
  readonly key: string;
  readonly uploadId: string;
  readonly mark: string;
  /** False where the user has set AWS_REQUEST_CHECKSUM_CALCULATION=when_required, for stores that know none. */
  readonly withChecksums: boolean;
}

class S3Upload implements Upload {
  readonly #begun: Begun;
  readonly #uploaded = new Map<number, UploadedPart & StoredPart>();
  readonly #underWay = new Set<Promise<void>>();

  constructor(begun: Begun) {
    this.#begun = begun;
  }

  async write(part: Buffer, number: number, offset: number): Promise<void> {
    const sending = this.#send(part, number, offset);
    this.#underWay.add(sending);
    try {
      await sending;
    } finally {
      this.#underWay.delete(sending);
    }
  }

  async finish(): Promise<Receipt> {
    await Promise.all(this.#underWay);
    // S3 completes no upload without parts; the empty file is one empty part.
    if (this.#uploaded.size === 0) await this.write(Buffer.alloc(0), 1, 0);
    const { parts, bytes } = wholeFile(this.#uploaded.values(), MIN_PART_BYTES);
    const { uploadId, mark } = this.#begun;
    return receiptOf({
      uploadId,
      mark,
      bytes,
      parts: parts.map(({ n, etag, crc32 }) => ({ n, etag, crc32 })),
    });
  }

  async abort(): Promise<void> {
    // A part that arrives after the abort would be kept, and charged.
    await Promise.allSettled(this.#underWay);
    await abortS3Upload(this.#begun.requests, this.#begun.key, this.#begun.uploadId);
  }

  async #send(part: Buffer, number: number, offset: number): Promise<void> {
    const { requests, key, uploadId, withChecksums } = this.#begun;
    if (number > MAX_PARTS) {
      throw new OperatorError(
        `${requests.nameOf(key)} has more than ${MAX_PARTS} parts, which S3 does not take`,
        "lower file.maxBytes or snapshot.rangeBytes",
      );
    }
    const checksum = withChecksums ? crc32Base64(part) : null;
    const command = new UploadPartCommand({
      ...requests.at(key),
      UploadId: uploadId,
      PartNumber: number,
      Body: part,
      ...(checksum !== null && { ChecksumCRC32: checksum }),
    });
    const { ETag } = await requests.run("s3:PutObject", key, async () => {
      try {
        return await requests.client.send(command);
      } catch (error) {
        if (!isUploadMissing(error)) throw error;
        throw new UploadLostError(`${requests.nameOf(key)}: the store no longer knows the upload`);
      }
    });
    if (ETag === undefined)
      throw new TransientError(`${requests.nameOf(key)}: the store gave no ETag for a part`);
    this.#uploaded.set(number, {
      n: number,
      etag: ETag,
      crc32: checksum,
      number,
      offset,
      bytes: part.length,
    });
  }
}

/** Aborts an upload; one that is gone already is fine. */
export async function abortS3Upload(requests: S3Requests, key: string, uploadId: string): Promise<void> {
  await requests.run("s3:AbortMultipartUpload", key, async () => {
    try {
      await requests.client.send(
        new AbortMultipartUploadCommand({ ...requests.at(key), UploadId: uploadId }),
      );
    } catch (error) {
      if (!isUploadMissing(error)) throw error;
    }
  });
}

/** True if the store says that it does not know the upload: aborted, completed, or removed by a bucket rule. */
function isUploadMissing(error: unknown): boolean {
  return error instanceof Error && failureOf(error).name === "NoSuchUpload";
}

/** CRC-32 (IEEE) of the bytes, big-endian in base64, as S3 wants it. */
function crc32Base64(bytes: Buffer): string {
  const sum = Buffer.alloc(4);
  sum.writeUInt32BE(crc32(bytes));
  return sum.toString("base64");
}
