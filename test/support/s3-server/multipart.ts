import { createHash, randomBytes } from "node:crypto";
import { receiveFile, receiveText } from "./body.ts";
import type { ObjectRecord, PartRecord, UploadRecord } from "./bucket.ts";
import { checksumName, compositeChecksum } from "./checksums.ts";
import { checkWriteConditions, unquote } from "./conditions.ts";
import { xmlAnswer, type Answer, type Context } from "./context.ts";
import { invalidArgument, invalidRequest, S3Error } from "./errors.ts";
import { etagOf, withBlob } from "./objects.ts";
import { checksumHeaders, encryptionHeaders, propertiesOf } from "./properties.ts";
import { elementsOf, textOf, xmlDocument } from "./xml.ts";

/** S3's limits (docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html). */
const MIN_PART_BYTES = 5 * 1024 * 1024;
const MAX_PART_NUMBER = 10_000;

export function createUpload({ bucket, request, route }: Context): Answer {
  const algorithm = request.headers["x-amz-checksum-algorithm"];
  const upload: UploadRecord = {
    id: randomBytes(48).toString("base64url"),
    key: route.key,
    initiatedMs: Date.now(),
    properties: propertiesOf(request.headers),
    checksumName: algorithm === undefined ? null : checksumName(String(algorithm)),
    parts: [],
  };
  request.resume();
  bucket.apply({ begin: upload });
  const elements = { Bucket: bucket.name, Key: upload.key, UploadId: upload.id };
  return xmlAnswer(
    xmlDocument("InitiateMultipartUploadResult", elements),
    encryptionHeaders(upload.properties),
  );
}

export async function uploadPart(context: Context): Promise<Answer> {
  const { bucket, request, route } = context;
  const upload = existingUpload(context);
  const number = Number(route.query.get("partNumber"));
  if (!Number.isInteger(number) || number < 1 || number > MAX_PART_NUMBER) {
    throw invalidArgument(`part number must be an integer between 1 and ${MAX_PART_NUMBER}, inclusive`);
  }
  const { id, path } = bucket.newBlob();
  return withBlob(bucket, id, async () => {
    const { bytes, md5, checksum } = await receiveFile(request, path);
    if (upload.checksumName !== null && checksum?.name !== upload.checksumName) {
      throw invalidRequest(
        `checksum type mismatch occurred, expected ${upload.checksumName}, actual ${checksum?.name ?? null}`,
      );
    }
    existingUpload(context);
    const etag = etagOf(md5, upload.properties);
    const part = { number, etag, md5, checksum: checksum?.value ?? null, blob: { id, bytes } };
    bucket.apply({ upload: upload.id, part });
    const sum = checksum === null ? {} : { [`x-amz-checksum-${checksum.name}`]: checksum.value };
    return { status: 200, headers: { etag: `"${etag}"`, ...sum, ...encryptionHeaders(upload.properties) } };
  });
}

function existingUpload({ bucket, route }: Context): UploadRecord {
  const upload = bucket.upload(route.query.get("uploadId") ?? "");
  if (upload === undefined || upload.key !== route.key) {
    throw new S3Error(
      404,
      "NoSuchUpload",
      "the specified upload does not exist; it may have been aborted or completed",
    );
  }
  return upload;
}

export async function completeUpload(context: Context): Promise<Answer> {
  const { bucket, request, route, ignoredConditions, created } = context;
  const headers = ignoredConditions.complete === true ? {} : request.headers;
  const { text } = await receiveText(request);
  const upload = existingUpload(context);
  const parts = chosenParts(upload, text);
  checkWriteConditions(headers, bucket, route.key);
  const object = objectOf(upload, parts);
  const promised = request.headers["x-amz-mp-object-size"];
  if (promised !== undefined && Number(promised) !== object.bytes)
    throw invalidRequest("the object has another size");
  bucket.apply({ put: object, completes: upload.id });
  created("ObjectCreated:CompleteMultipartUpload", object);
  const checksum = checksumHeaders(object);
  const body = xmlDocument("CompleteMultipartUploadResult", {
    Location: `/${bucket.name}/${object.key}`,
    Bucket: bucket.name,
    Key: object.key,
    ETag: `"${object.etag}"`,
    ...(object.checksum && { [`Checksum${object.checksum.name.toUpperCase()}`]: object.checksum.value }),
    ChecksumType: checksum["x-amz-checksum-type"],
  });
  return xmlAnswer(body, encryptionHeaders(upload.properties));
}

/** The parts that the client wants, verified. */
function chosenParts(upload: UploadRecord, xml: string): PartRecord[] {
  const wanted = elementsOf(xml, "Part");
  if (!xml.includes("<CompleteMultipartUpload") || wanted.length === 0)
    throw new S3Error(400, "MalformedXML");
  const byNumber = new Map(upload.parts.map((part) => [part.number, part]));
  const parts = wanted.map((part) => chosenPart(upload, byNumber, part));
  if (parts.some((part, index) => part.number <= (parts[index - 1]?.number ?? 0))) {
    throw new S3Error(400, "InvalidPartOrder", "the list of parts was not in ascending order");
  }
  if (parts.slice(0, -1).some((part) => part.blob.bytes < MIN_PART_BYTES)) {
    throw new S3Error(400, "EntityTooSmall", "your proposed upload is smaller than the minimum allowed size");
  }
  return parts;
}

function chosenPart(
  upload: UploadRecord,
  byNumber: ReadonlyMap<number, PartRecord>,
  xml: string,
): PartRecord {
  const part = byNumber.get(Number(textOf(xml, "PartNumber")));
  const { checksumName: name } = upload;
  const checksum = name === null ? undefined : textOf(xml, `Checksum${name.toUpperCase()}`);
  if (name !== null && checksum === undefined) {
    throw invalidRequest(
      `the upload was created using a ${name} checksum; the complete request must include it for each part`,
    );
  }
  const fits =
    part?.etag === unquote(textOf(xml, "ETag") ?? "") &&
    (checksum === undefined || checksum === part.checksum);
  if (part === undefined || !fits)
    throw new S3Error(400, "InvalidPart", "one or more of the specified parts could not be found");
  return part;
}

function objectOf(upload: UploadRecord, parts: readonly PartRecord[]): ObjectRecord {
  const md5 = createHash("md5");
  for (const part of parts) md5.update(Buffer.from(part.md5, "hex"));
  const { checksumName: name } = upload;
  const checksums = parts.map((part) => part.checksum ?? "");
  return {
    key: upload.key,
    etag: `${etagOf(md5.digest("hex"), upload.properties)}-${parts.length}`,
    bytes: parts.reduce((sum, part) => sum + part.blob.bytes, 0),
    modifiedMs: Date.now(),
    properties: upload.properties,
    checksum: name === null ? null : { name, value: compositeChecksum(name, checksums) },
    blobs: parts.map((part) => part.blob),
  };
}

export function abortUpload(context: Context): Answer {
  context.bucket.apply({ abort: existingUpload(context).id });
  return { status: 204 };
}

export function listParts(context: Context): Answer {
  const upload = existingUpload(context);
  return xmlAnswer(
    xmlDocument("ListPartsResult", {
      Bucket: context.bucket.name,
      Key: upload.key,
      UploadId: upload.id,
      IsTruncated: false,
      Part: upload.parts.map(({ number, etag, blob }) => ({
        PartNumber: number,
        ETag: `"${etag}"`,
        Size: blob.bytes,
      })),
    }),
  );
}
