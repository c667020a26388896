import { CompleteMultipartUploadCommand, ListPartsCommand } from "@aws-sdk/client-s3";
import { TransientError } from "../core/errors.ts";
import { occupied } from "./classified.ts";
import { failureOf } from "./s3-errors.ts";
import { stagedUploadOf, type StagedUpload } from "./s3-receipt.ts";
import { conditionOf, type S3Requests } from "./s3-requests.ts";
import { MARK } from "./s3-upload.ts";
import type { Receipt } from "./store.ts";

/** Metadata of a small data file: `sha256:<hex>`. */
const CHECKSUM = "pgstage-checksum";

/** Attempts at a key for which another write is under way. */
const CONFLICT_ATTEMPTS = 3;

/**
 * Completes a multipart upload, unless its key holds an object. When the store refuses, the object decides: ours
 * means that an earlier attempt took effect and its answer was lost; another one is never replaced.
 */
export async function publishS3Upload(
  requests: S3Requests,
  key: string,
  receipt: Receipt,
): Promise<"published" | "gone"> {
  const staged = stagedUploadOf(receipt);
  for (let attempt = 1; attempt <= CONFLICT_ATTEMPTS; attempt++) {
    const outcome = await complete(requests, key, staged);
    if (outcome === "done") return "published";
    const object = await requests.head(key);
    if (object !== null) {
      if (object.metadata[MARK] === staged.mark && object.bytes === staged.bytes) return "published";
      throw occupied(requests.nameOf(key), "with other content");
    }
    if (outcome === "gone") return "gone";
  }
  throw conflicted(requests.nameOf(key));
}

/** `taken`: something is under the key; `gone`: the upload, or a part of it, is no more. */
async function complete(
  requests: S3Requests,
  key: string,
  { uploadId, parts }: StagedUpload,
): Promise<"done" | "taken" | "again" | "gone"> {
  const command = new CompleteMultipartUploadCommand({
    ...requests.at(key),
    UploadId: uploadId,
    IfNoneMatch: "*",
    MultipartUpload: {
      Parts: parts.map(({ n, etag, crc32 }) => ({
        PartNumber: n,
        ETag: etag,
        ...(crc32 !== null && { ChecksumCRC32: crc32 }),
      })),
    },
  });
  return requests.run("s3:PutObject", key, async () => {
    try {
      await requests.client.send(command);
      return "done";
    } catch (error) {
      if (!(error instanceof Error)) throw error;
      const { name, status } = failureOf(error);
      if (name === "NoSuchUpload" || name === "InvalidPart") return "gone";
      const outcome = conditionOf(error);
      if (outcome !== null) return outcome;
      // Ceph answers a completion of an upload that is no more with 500, for ever.
      if (status === 500 && (await isUploadGone(requests, key, uploadId))) return "gone";
      throw error;
    }
  });
}

/** True if the store says so, with NoSuchUpload or (Ceph) NoSuchKey. Without the right to ask, nobody knows. */
async function isUploadGone(requests: S3Requests, key: string, uploadId: string): Promise<boolean> {
  try {
    await requests.client.send(
      new ListPartsCommand({ ...requests.at(key), UploadId: uploadId, MaxParts: 1 }),
    );
    return false;
  } catch (error) {
    const { name, status } = failureOf(error as Error);
    return status === 404 && name !== "NoSuchBucket";
  }
}

/** Writes a small data file, unless its key holds an object; one with the same checksum counts as done. */
export async function publishS3Bytes(options: {
  requests: S3Requests;
  key: string;
  bytes: Buffer;
  checksum: string;
}): Promise<void> {
  const { requests, key, bytes, checksum } = options;
  const details = { ContentType: "text/csv", Metadata: { [CHECKSUM]: checksum } };
  for (let attempt = 1; attempt <= CONFLICT_ATTEMPTS; attempt++) {
    if ((await requests.putIfFree(key, bytes, details)) === "created") return;
    const object = await requests.head(key);
    if (object === null) continue;
    if (object.metadata[CHECKSUM] === checksum && object.bytes === bytes.length) return;
    throw occupied(requests.nameOf(key), "with another checksum");
  }
  throw conflicted(requests.nameOf(key));
}

/** Uploads do not know their checksum when they begin, so theirs is found out by reading the object. */
export async function hasS3Checksum(requests: S3Requests, key: string, checksum: string): Promise<boolean> {
  const object = await requests.head(key);
  if (object === null) return false;
  const noted = object.metadata[CHECKSUM];
  return noted === undefined ? (await requests.checksum(key)) === checksum : noted === checksum;
}

/** Writes a document, unless its key holds one. Reading it back tells a lost answer of our own from another's document. */
export async function putS3IfAbsent(
  requests: S3Requests,
  key: string,
  bytes: Buffer,
): Promise<"created" | "exists"> {
  for (let attempt = 1; attempt <= CONFLICT_ATTEMPTS; attempt++) {
    const outcome = await requests.putIfFree(key, bytes, { ContentType: "application/json" });
    if (outcome === "created") return "created";
    const found = await requests.get(key);
    if (found !== null) return found.equals(bytes) ? "created" : "exists";
  }
  throw conflicted(requests.nameOf(key));
}

function conflicted(name: string): TransientError {
  return new TransientError(`${name}: another write to this key is under way`);
}
