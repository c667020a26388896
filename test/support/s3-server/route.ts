import { S3Error } from "./errors.ts";
import { decode } from "./signature.ts";

/** S3's own names. */
export type Operation =
  | "AbortMultipartUpload"
  | "CompleteMultipartUpload"
  | "CopyObject"
  | "CreateBucket"
  | "CreateMultipartUpload"
  | "DeleteObject"
  | "DeleteObjects"
  | "GetObject"
  | "HeadBucket"
  | "HeadObject"
  | "ListMultipartUploads"
  | "ListObjectsV2"
  | "ListParts"
  | "PutObject"
  | "UploadPart";

export interface Route {
  readonly op: Operation;
  readonly bucket: string;
  /** Empty for requests about the bucket. */
  readonly key: string;
  readonly query: ReadonlyMap<string, string>;
  readonly rawPath: string;
  readonly rawQuery: string;
}

/** Parameters that make another operation of a request. `x-id` only repeats the operation's name. */
const SELECTORS = ["uploads", "uploadId", "partNumber", "delete", "list-type", "copy"];
const PLAIN = new Set([
  ...SELECTORS,
  "x-id",
  "prefix",
  "delimiter",
  "start-after",
  "continuation-token",
  "max-keys",
  "encoding-type",
  "fetch-owner",
  "key-marker",
  "upload-id-marker",
  "max-uploads",
  "max-parts",
  "part-number-marker",
]);

const OPERATIONS: Readonly<Record<string, Operation | undefined>> = {
  "PUT bucket": "CreateBucket",
  "HEAD bucket": "HeadBucket",
  "GET bucket list-type": "ListObjectsV2",
  "GET bucket uploads": "ListMultipartUploads",
  "POST bucket delete": "DeleteObjects",
  "PUT object": "PutObject",
  "PUT object copy": "CopyObject",
  "GET object": "GetObject",
  "HEAD object": "HeadObject",
  "DELETE object": "DeleteObject",
  "POST object uploads": "CreateMultipartUpload",
  "PUT object uploadId partNumber": "UploadPart",
  "POST object uploadId": "CompleteMultipartUpload",
  "DELETE object uploadId": "AbortMultipartUpload",
  "GET object uploadId": "ListParts",
};

/** Reads a path-style request line. Throws an S3Error for what this server does not do. */
export function routeOf(method: string, target: string, isCopy: boolean): Route {
  const [rawPath, rawQuery] = splitOnce(target, "?");
  const [bucket = "", key = ""] = splitOnce(rawPath.slice(1), "/").map(decode);
  const query = new Map(
    rawQuery
      .split("&")
      .filter(Boolean)
      .map((pair) => splitOnce(pair, "=").map(decode) as [string, string]),
  );
  const unknown = [...query.keys()].find((name) => !PLAIN.has(name));
  if (unknown !== undefined)
    throw new S3Error(501, "NotImplemented", `this server does not know ?${unknown}`);
  const selectors = SELECTORS.filter((name) => query.has(name) || (name === "copy" && isCopy));
  const op = OPERATIONS[[method, key === "" ? "bucket" : "object", ...selectors].join(" ")];
  if (op === undefined) throw new S3Error(405, "MethodNotAllowed");
  if (Buffer.byteLength(key) > 1024) throw new S3Error(400, "KeyTooLongError");
  return { op, bucket, key, query, rawPath, rawQuery };
}

function splitOnce(text: string, separator: string): [string, string] {
  const at = text.indexOf(separator);
  return at < 0 ? [text, ""] : [text.slice(0, at), text.slice(at + 1)];
}
