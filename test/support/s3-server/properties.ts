import type { IncomingHttpHeaders } from "node:http";
import type { ObjectRecord, Properties } from "./bucket.ts";
import { invalidArgument, S3Error } from "./errors.ts";

const ENCRYPTIONS = ["AES256", "aws:kms", "aws:kms:dsse"];
const STORAGE_CLASSES = [
  "STANDARD",
  "REDUCED_REDUNDANCY",
  "STANDARD_IA",
  "ONEZONE_IA",
  "INTELLIGENT_TIERING",
  "GLACIER",
  "DEEP_ARCHIVE",
  "GLACIER_IR",
];
/** Bytes of user metadata that S3 takes, names and values. */
const MAX_METADATA_BYTES = 2048;

const KEPT = ["cache-control", "content-disposition", "content-language", "expires"];

/** What a request to create an object says about it. Throws an S3Error for settings that S3 does not know. */
export function propertiesOf(headers: IncomingHttpHeaders): Properties {
  const given = Object.entries(headers).filter(([name]) => isKept(name));
  const kept = Object.fromEntries(given.map(([name, value]) => [name, String(value)]));
  const encoding = String(headers["content-encoding"] ?? "")
    .split(",")
    .map((part) => part.trim())
    .filter((part) => part !== "" && part !== "aws-chunked")
    .join(",");
  checkEncryption(kept);
  checkMetadata(kept);
  const storageClass = kept["x-amz-storage-class"];
  if (storageClass !== undefined && !STORAGE_CLASSES.includes(storageClass))
    throw new S3Error(400, "InvalidStorageClass");
  return {
    contentType: headers["content-type"] ?? "binary/octet-stream",
    headers: { ...kept, ...(encoding !== "" && { "content-encoding": encoding }) },
  };
}

function isKept(name: string): boolean {
  const prefixes = ["x-amz-meta-", "x-amz-server-side-encryption"];
  return (
    KEPT.includes(name) ||
    name === "x-amz-storage-class" ||
    prefixes.some((prefix) => name.startsWith(prefix))
  );
}

function checkEncryption(headers: Readonly<Record<string, string>>): void {
  const encryption = headers["x-amz-server-side-encryption"];
  const hasKey = headers["x-amz-server-side-encryption-aws-kms-key-id"] !== undefined;
  if (encryption !== undefined && !ENCRYPTIONS.includes(encryption)) {
    throw new S3Error(
      400,
      "InvalidEncryptionAlgorithmError",
      "the encryption request you specified is not valid",
    );
  }
  if (hasKey && !encryption?.startsWith("aws:kms")) {
    throw invalidArgument("a KMS key id needs the aws:kms encryption");
  }
}

function checkMetadata(headers: Readonly<Record<string, string>>): void {
  const entries = Object.entries(headers).filter(([name]) => name.startsWith("x-amz-meta-"));
  const bytes = entries.reduce(
    (sum, [name, value]) => sum + name.length - "x-amz-meta-".length + value.length,
    0,
  );
  if (bytes > MAX_METADATA_BYTES) throw new S3Error(400, "MetadataTooLarge");
}

export function isKmsEncrypted({ headers }: Properties): boolean {
  return headers["x-amz-server-side-encryption"]?.startsWith("aws:kms") ?? false;
}

/** Headers about encryption, which every answer about the object repeats. */
export function encryptionHeaders({ headers }: Properties): Record<string, string> {
  return Object.fromEntries(
    Object.entries(headers).filter(([name]) => name.startsWith("x-amz-server-side-encryption")),
  );
}

/** Headers of an answer to GET or HEAD, without the length. */
export function objectHeaders(object: ObjectRecord, withChecksum: boolean): Record<string, string> {
  const { "x-amz-storage-class": storageClass, ...headers } = object.properties.headers;
  return {
    ...headers,
    ...(storageClass !== undefined && storageClass !== "STANDARD" && { "x-amz-storage-class": storageClass }),
    "content-type": object.properties.contentType,
    "accept-ranges": "bytes",
    etag: `"${object.etag}"`,
    "last-modified": new Date(object.modifiedMs).toUTCString(),
    ...(withChecksum && checksumHeaders(object)),
  };
}

export function checksumHeaders({ checksum }: Pick<ObjectRecord, "checksum">): Record<string, string> {
  if (checksum === null) return {};
  return {
    [`x-amz-checksum-${checksum.name}`]: checksum.value,
    "x-amz-checksum-type": checksum.value.includes("-") ? "COMPOSITE" : "FULL_OBJECT",
  };
}
