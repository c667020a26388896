import { createHash, createHmac, timingSafeEqual } from "node:crypto";
import type { IncomingHttpHeaders } from "node:http";
import { S3Error } from "./errors.ts";

export interface Credentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string;
}

export interface SignedRequest {
  readonly method: string;
  /** As it stands in the request line. */
  readonly rawPath: string;
  readonly rawQuery: string;
  readonly headers: IncomingHttpHeaders;
}

/** S3 refuses requests whose date is further off than this. */
const MAX_SKEW_MS = 15 * 60_000;

const AUTHORIZATION =
  /^AWS4-HMAC-SHA256 Credential=([^/]+)\/(\d{8})\/([^/]+)\/s3\/aws4_request, *SignedHeaders=([^,]+), *Signature=([0-9a-f]{64})$/;

/**
 * Verifies AWS Signature Version 4 in the Authorization header
 * (docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html). Throws an S3Error.
 */
export function verifySignature(request: SignedRequest, known: Credentials, region: string): void {
  const { headers } = request;
  const match = AUTHORIZATION.exec(headers.authorization ?? "");
  if (!match) throw new S3Error(403, "AccessDenied", "the request is not signed with Signature Version 4");
  const [, accessKeyId = "", day = "", signedRegion = "", signedHeaders = "", signature = ""] = match;
  if (accessKeyId !== known.accessKeyId) {
    throw new S3Error(403, "InvalidAccessKeyId", "the access key does not exist in our records");
  }
  if (headers["x-amz-security-token"] !== known.sessionToken) {
    throw new S3Error(400, "InvalidToken", "the provided token is malformed or otherwise invalid");
  }
  if (signedRegion !== region) {
    const message = `the authorization header is malformed; the region '${signedRegion}' is wrong; expecting '${region}'`;
    throw new S3Error(400, "AuthorizationHeaderMalformed", message, { Region: region });
  }
  const date = single(headers["x-amz-date"]);
  checkDate(date, day);
  checkSignedHeaders(signedHeaders.split(";"), headers);
  const scope = `${day}/${region}/s3/aws4_request`;
  const wanted = hmac(
    signingKey(known.secretAccessKey, day, region),
    ["AWS4-HMAC-SHA256", date, scope, sha256(canonicalRequest(request, signedHeaders))].join("\n"),
  );
  if (!timingSafeEqual(wanted, Buffer.from(signature, "hex"))) {
    throw new S3Error(
      403,
      "SignatureDoesNotMatch",
      "the signature we calculated does not match the one you provided",
    );
  }
}

function checkDate(date: string, day: string): void {
  const match = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(date);
  if (!match || !date.startsWith(day))
    throw new S3Error(403, "AccessDenied", "x-amz-date is missing or malformed");
  const [, year, month, dayOfMonth, hour, minute, second] = match;
  const time = Date.parse(`${year}-${month}-${dayOfMonth}T${hour}:${minute}:${second}Z`);
  if (Math.abs(Date.now() - time) > MAX_SKEW_MS) {
    throw new S3Error(
      403,
      "RequestTimeTooSkewed",
      "the difference between the request time and the current time is too large",
    );
  }
}

function checkSignedHeaders(signed: readonly string[], headers: IncomingHttpHeaders): void {
  const needed = Object.keys(headers).filter(
    (name) => name === "host" || name === "content-md5" || name.startsWith("x-amz-"),
  );
  const missing = needed.find((name) => !signed.includes(name));
  if (missing !== undefined) {
    throw new S3Error(
      403,
      "AccessDenied",
      `there were headers present in the request which were not signed: ${missing}`,
    );
  }
}

function canonicalRequest(
  { method, rawPath, rawQuery, headers }: SignedRequest,
  signedHeaders: string,
): string {
  const lines = signedHeaders
    .split(";")
    .map((name) => `${name}:${single(headers[name]).trim().replace(/ +/g, " ")}`);
  const path = rawPath.split("/").map(reencode).join("/");
  const payload = single(headers["x-amz-content-sha256"]);
  return [method, path, canonicalQuery(rawQuery), ...lines, "", signedHeaders, payload].join("\n");
}

function canonicalQuery(rawQuery: string): string {
  const pairs = rawQuery.split("&").filter(Boolean);
  const encoded = pairs.map((pair) => {
    const [name = "", ...value] = pair.split("=");
    return `${reencode(name)}=${reencode(value.join("="))}`;
  });
  return encoded.sort((a, b) => (a < b ? -1 : 1)).join("&");
}

function reencode(text: string): string {
  return encodeRfc3986(decode(text));
}

/** Undoes percent-encoding. Throws an S3Error if it is malformed. */
export function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new S3Error(400, "InvalidURI", "could not parse the specified URI");
  }
}

/** Percent-encodes everything but RFC 3986's unreserved characters. */
export function encodeRfc3986(text: string): string {
  return encodeURIComponent(text).replace(
    /[!'()*]/g,
    (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}

function signingKey(secret: string, day: string, region: string): Buffer {
  return ["s3", "aws4_request"].reduce(hmac, hmac(hmac(Buffer.from(`AWS4${secret}`), day), region));
}

function hmac(key: Buffer, text: string): Buffer {
  return createHmac("sha256", key).update(text).digest();
}

function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

function single(header: string | string[] | undefined): string {
  return Array.isArray(header) ? header.join(",") : (header ?? "");
}
