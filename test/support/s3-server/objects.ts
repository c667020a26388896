import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { copyFileSync, createReadStream, type ReadStream } from "node:fs";
import { receiveFile, receiveText } from "./body.ts";
import type { Blob, Bucket, ObjectRecord, Properties } from "./bucket.ts";
import { checkWriteConditions, unquote } from "./conditions.ts";
import { xmlAnswer, type Answer, type Context } from "./context.ts";
import { invalidRequest, S3Error } from "./errors.ts";
import {
  checksumHeaders,
  encryptionHeaders,
  isKmsEncrypted,
  objectHeaders,
  propertiesOf,
} from "./properties.ts";
import { decode } from "./signature.ts";
import { elementsOf, textOf, xmlDocument } from "./xml.ts";

export async function putObject({
  bucket,
  request,
  route,
  ignoredConditions,
  created,
}: Context): Promise<Answer> {
  const headers = ignoredConditions.put === true ? {} : request.headers;
  const properties = propertiesOf(request.headers);
  checkWriteConditions(headers, bucket, route.key);
  const { id, path } = bucket.newBlob();
  const object = await withBlob(bucket, id, async () => {
    const received = await receiveFile(request, path);
    checkWriteConditions(headers, bucket, route.key);
    const record: ObjectRecord = {
      key: route.key,
      etag: etagOf(received.md5, properties),
      bytes: received.bytes,
      modifiedMs: Date.now(),
      properties,
      checksum: received.checksum,
      blobs: [{ id, bytes: received.bytes }],
    };
    bucket.apply({ put: record });
    return record;
  });
  created("ObjectCreated:Put", object);
  const answer = { etag: `"${object.etag}"`, ...encryptionHeaders(properties), ...checksumHeaders(object) };
  return { status: 200, headers: answer };
}

/** Runs `use`, and removes the blob if it fails. */
export async function withBlob<T>(bucket: Bucket, id: string, use: () => Promise<T>): Promise<T> {
  try {
    return await use();
  } catch (error) {
    bucket.dropBlob(id);
    throw error;
  }
}

/** The MD5, but for what KMS encrypts: there an ETag is opaque, on S3 as well. */
export function etagOf(md5: string, properties: Properties): string {
  return isKmsEncrypted(properties) ? randomBytes(16).toString("hex") : md5;
}

export async function getObject({ bucket, request, route }: Context): Promise<Answer> {
  const object = existing(bucket, route.key);
  checkReadConditions(request.headers, object);
  const range = rangeOf(request.headers.range, object.bytes);
  const withChecksum = request.headers["x-amz-checksum-mode"] === "ENABLED" && range === null;
  const headers = objectHeaders(object, withChecksum);
  if (request.method === "HEAD") return { status: 200, headers, contentLength: object.bytes };
  const [first, last] = range ?? [0, object.bytes - 1];
  const pieces = await piecesOf(bucket, object.blobs, { first, last });
  const body = { bytes: last - first + 1, pieces };
  if (range === null) return { status: 200, headers, body };
  return {
    status: 206,
    headers: { ...headers, "content-range": `bytes ${first}-${last}/${object.bytes}` },
    body,
  };
}

function existing(bucket: Bucket, key: string): ObjectRecord {
  const object = bucket.object(key);
  if (object === undefined)
    throw new S3Error(404, "NoSuchKey", "the specified key does not exist", { Key: key });
  return object;
}

function checkReadConditions(headers: Context["request"]["headers"], object: ObjectRecord): void {
  const match = headers["if-match"];
  const noneMatch = headers["if-none-match"];
  if (match !== undefined && match !== "*" && unquote(match) !== object.etag)
    throw new S3Error(412, "PreconditionFailed");
  if (noneMatch !== undefined && unquote(noneMatch) === object.etag) throw new S3Error(304, "NotModified");
}

/** First and last byte, or null for the whole object, which S3 also sends for a range that cannot be read. */
function rangeOf(header: string | undefined, bytes: number): [number, number] | null {
  const match = /^bytes=(\d*)-(\d*)$/.exec(header ?? "");
  const [, from = "", to = ""] = match ?? [];
  if (match === null || (from === "" && to === "")) return null;
  if (from !== "" && to !== "" && Number(to) < Number(from)) return null;
  const first = from === "" ? Math.max(0, bytes - Number(to)) : Number(from);
  if (first >= bytes) throw new S3Error(416, "InvalidRange", "the requested range is not satisfiable");
  return [first, from === "" || to === "" ? bytes - 1 : Math.min(Number(to), bytes - 1)];
}

/** Files that are open keep their content if the object is replaced or deleted meanwhile. */
async function piecesOf(
  bucket: Bucket,
  blobs: readonly Blob[],
  { first, last }: { first: number; last: number },
): Promise<AsyncIterable<Buffer>> {
  const streams: ReadStream[] = [];
  let offset = 0;
  for (const { id, bytes } of blobs) {
    const start = Math.max(0, first - offset);
    const end = Math.min(bytes - 1, last - offset);
    if (start <= end)
      streams.push(createReadStream(bucket.blobPath(id), { start, end, highWaterMark: 256 * 1024 }));
    offset += bytes;
  }
  await Promise.all(streams.map((stream) => once(stream, "open")));
  return concatenate(streams);
}

async function* concatenate(streams: readonly ReadStream[]): AsyncGenerator<Buffer> {
  try {
    for (const stream of streams) yield* stream as AsyncIterable<Buffer>;
  } finally {
    for (const stream of streams) stream.destroy();
  }
}

export function deleteObject({ bucket, route }: Context): Answer {
  if (bucket.object(route.key) !== undefined) bucket.apply({ remove: route.key });
  return { status: 204 };
}

export async function deleteObjects({ bucket, request }: Context): Promise<Answer> {
  const { text, received } = await receiveText(request);
  if (request.headers["content-md5"] === undefined && received.checksum === null) {
    throw invalidRequest("missing required header for this request: Content-MD5 or x-amz-checksum-*");
  }
  const keys = elementsOf(text, "Object").map((object) => textOf(object, "Key"));
  if (!text.includes("<Delete") || keys.length === 0 || keys.length > 1000 || keys.includes(undefined)) {
    throw new S3Error(400, "MalformedXML");
  }
  for (const key of keys)
    if (key !== undefined && bucket.object(key) !== undefined) bucket.apply({ remove: key });
  const isQuiet = textOf(text, "Quiet") === "true";
  return xmlAnswer(xmlDocument("DeleteResult", { Deleted: isQuiet ? [] : keys.map((Key) => ({ Key })) }));
}

export function copyObject({ bucket, buckets, request, route, created }: Context): Answer {
  const source = decode(String(request.headers["x-amz-copy-source"])).replace(/^\//, "");
  const [name = "", ...key] = source.split("/");
  const from = buckets.get(name);
  if (from === undefined) throw new S3Error(404, "NoSuchBucket");
  const original = existing(from, key.join("/"));
  request.resume();
  checkWriteConditions(request.headers, bucket, route.key);
  const blobs = original.blobs.map((blob) => {
    const { id, path } = bucket.newBlob();
    copyFileSync(from.blobPath(blob.id), path);
    return { id, bytes: blob.bytes };
  });
  const replaces = request.headers["x-amz-metadata-directive"] === "REPLACE";
  const properties = replaces ? propertiesOf(request.headers) : original.properties;
  const object = {
    ...original,
    key: route.key,
    properties,
    blobs,
    etag: copiedEtag(original),
    modifiedMs: Date.now(),
  };
  bucket.apply({ put: object });
  created("ObjectCreated:Copy", object);
  const LastModified = new Date(object.modifiedMs).toISOString();
  return xmlAnswer(xmlDocument("CopyObjectResult", { ETag: `"${object.etag}"`, LastModified }));
}

/** A copy is written at once, so a multipart object's copy has no `-n`. */
function copiedEtag({ etag }: ObjectRecord): string {
  return etag.includes("-") ? createHash("md5").update(etag).digest("hex") : etag;
}
