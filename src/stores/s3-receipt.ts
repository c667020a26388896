import type { Json } from "../core/json.ts";
import type { Receipt } from "./store.ts";

/** One part as the store acknowledged it. */
export interface UploadedPart {
  /** From 1. */
  readonly n: number;
  readonly etag: string;
  /** Base64, or null where the store knows no checksums. */
  readonly crc32: string | null;
}

export interface StagedUpload {
  readonly uploadId: string;
  /** Metadata of the object, unique per upload. */
  readonly mark: string;
  readonly bytes: number;
  /** In the order of their numbers. */
  readonly parts: readonly UploadedPart[];
}

/** The receipt's id is the upload id, because that is what a listing of uploads shows. */
export function receiptOf({ uploadId, mark, bytes, parts }: StagedUpload): Receipt {
  return { id: uploadId, bytes, mark, parts: parts.map((part) => ({ ...part })) };
}

/** Reads a receipt that receiptOf made, perhaps by way of JSON. Throws a TypeError if it is none. */
export function stagedUploadOf(receipt: Receipt): StagedUpload {
  const { id, bytes, mark, parts } = receipt;
  if (typeof mark !== "string" || !Array.isArray(parts)) {
    throw new TypeError(`not a receipt of an upload to S3: ${JSON.stringify(id)}`);
  }
  return { uploadId: id, mark, bytes, parts: (parts as readonly Json[]).map(partOf) };
}

function partOf(json: Json): UploadedPart {
  const { n, etag, crc32 } = json as { readonly [field: string]: Json };
  if (typeof n !== "number" || typeof etag !== "string") {
    throw new TypeError(`not a part of an upload to S3: ${JSON.stringify(json)}`);
  }
  return { n, etag, crc32: typeof crc32 === "string" ? crc32 : null };
}
