import type { Bucket, ObjectRecord } from "./bucket.ts";
import { invalidArgument } from "./errors.ts";
import { encodeRfc3986 } from "./signature.ts";
import { xmlDocument } from "./xml.ts";

type Query = ReadonlyMap<string, string>;

interface Page {
  readonly objects: ObjectRecord[];
  readonly folders: string[];
  /** The last key or folder of the page, if more follow. */
  readonly next: string | null;
}

/** ListObjectsV2 (docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html). */
export function listObjects(bucket: Bucket, query: Query): string {
  const prefix = query.get("prefix") ?? "";
  const delimiter = query.get("delimiter") || undefined;
  const maxKeys = limitOf(query, "max-keys");
  const token = query.get("continuation-token");
  const after =
    token === undefined ? (query.get("start-after") ?? "") : Buffer.from(token, "base64url").toString();
  const rolledUp = token === undefined ? null : after;
  const { objects, folders, next } = pageOf(bucket, { prefix, delimiter, after, rolledUp, maxKeys });
  const encode = query.get("encoding-type") === "url" ? encodeKey : (key: string) => key;
  return xmlDocument("ListBucketResult", {
    Name: bucket.name,
    Prefix: encode(prefix),
    Delimiter: delimiter === undefined ? undefined : encode(delimiter),
    StartAfter: query.has("start-after") ? encode(query.get("start-after") ?? "") : undefined,
    ContinuationToken: token,
    NextContinuationToken: next === null ? undefined : Buffer.from(next).toString("base64url"),
    KeyCount: objects.length + folders.length,
    MaxKeys: maxKeys,
    EncodingType: query.get("encoding-type"),
    IsTruncated: next !== null,
    Contents: objects.map((object) => ({
      Key: encode(object.key),
      LastModified: new Date(object.modifiedMs).toISOString(),
      ETag: `"${object.etag}"`,
      Size: object.bytes,
      StorageClass: object.properties.headers["x-amz-storage-class"] ?? "STANDARD",
    })),
    CommonPrefixes: folders.map((folder) => ({ Prefix: encode(folder) })),
  });
}

function pageOf(
  bucket: Bucket,
  wanted: {
    prefix: string;
    delimiter: string | undefined;
    after: string;
    rolledUp: string | null;
    maxKeys: number;
  },
): Page {
  const { prefix, delimiter, after, rolledUp, maxKeys } = wanted;
  const page: Page = { objects: [], folders: [], next: null };
  const start = Buffer.from(after);
  let last = "";
  for (const key of bucket.keys()) {
    if (!key.startsWith(prefix) || (after !== "" && Buffer.compare(Buffer.from(key), start) <= 0)) continue;
    const end = delimiter === undefined ? -1 : key.indexOf(delimiter, prefix.length);
    const folder = end < 0 ? null : key.slice(0, end + (delimiter?.length ?? 0));
    // A folder is rolled up once, also if the page before ended with it.
    if (folder !== null && (folder === page.folders.at(-1) || folder === rolledUp)) continue;
    if (page.objects.length + page.folders.length >= maxKeys) return { ...page, next: last };
    last = folder ?? key;
    if (folder !== null) page.folders.push(folder);
    else page.objects.push(bucket.object(key) as ObjectRecord);
  }
  return page;
}

/** ListMultipartUploads, in the order of key and time. */
export function listUploads(bucket: Bucket, query: Query): string {
  const prefix = query.get("prefix") ?? "";
  const maxUploads = limitOf(query, "max-uploads");
  const all = bucket.uploads().filter((upload) => upload.key.startsWith(prefix));
  const from = uploadsFrom(all, query.get("key-marker") ?? "", query.get("upload-id-marker") ?? "");
  const page = all.slice(from, from + maxUploads);
  const last = page.at(-1);
  const isTruncated = from + page.length < all.length;
  return xmlDocument("ListMultipartUploadsResult", {
    Bucket: bucket.name,
    Prefix: prefix,
    KeyMarker: query.get("key-marker") ?? "",
    UploadIdMarker: query.get("upload-id-marker") ?? "",
    NextKeyMarker: isTruncated ? last?.key : undefined,
    NextUploadIdMarker: isTruncated ? last?.id : undefined,
    MaxUploads: maxUploads,
    IsTruncated: isTruncated,
    Upload: page.map((upload) => ({
      Key: upload.key,
      UploadId: upload.id,
      Initiated: new Date(upload.initiatedMs).toISOString(),
    })),
  });
}

/** With both markers a page begins after that upload, also if it was aborted meanwhile; with a key alone, after its uploads. */
function uploadsFrom(all: readonly { key: string; id: string }[], key: string, id: string): number {
  if (key === "") return 0;
  const exact = all.findIndex((upload) => upload.key === key && upload.id === id);
  if (exact >= 0) return exact + 1;
  const marker = Buffer.from(key);
  const later = all.findIndex((upload) => {
    const order = Buffer.compare(Buffer.from(upload.key), marker);
    return id === "" ? order > 0 : order >= 0;
  });
  return later < 0 ? all.length : later;
}

function limitOf(query: Query, name: string): number {
  const limit = Number(query.get(name) ?? 1000);
  if (!Number.isInteger(limit) || limit < 0) throw invalidArgument(`${name} is not a number`);
  return Math.min(limit, 1000);
}

function encodeKey(key: string): string {
  return encodeRfc3986(key).replaceAll("%2F", "/");
}
