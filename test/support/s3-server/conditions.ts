import type { IncomingHttpHeaders } from "node:http";
import type { Bucket } from "./bucket.ts";
import { S3Error } from "./errors.ts";

/**
 * `If-None-Match` and `If-Match` of a write
 * (docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html). Throws an S3Error if the key's
 * object does not fit.
 */
export function checkWriteConditions(headers: IncomingHttpHeaders, bucket: Bucket, key: string): void {
  const noneMatch = headers["if-none-match"];
  const match = headers["if-match"];
  const object = bucket.object(key);
  if (noneMatch !== undefined && noneMatch !== "*") {
    throw new S3Error(501, "NotImplemented", "If-None-Match takes only * here");
  }
  if (noneMatch === "*" && object !== undefined) throw failed("If-None-Match");
  if (match === undefined) return;
  if (object === undefined) throw new S3Error(404, "NoSuchKey");
  if (match !== "*" && unquote(match) !== object.etag) throw failed("If-Match");
}

function failed(condition: string): S3Error {
  const message = "at least one of the pre-conditions you specified did not hold";
  return new S3Error(412, "PreconditionFailed", message, { Condition: condition });
}

export function unquote(etag: string): string {
  return etag.replace(/^"|"$/g, "");
}
