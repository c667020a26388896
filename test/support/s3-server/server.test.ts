import { createHash, randomBytes } from "node:crypto";
import { appendFile, mkdtemp, rm } from "node:fs/promises";
import { request as httpRequest } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import {
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateMultipartUploadCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  type S3Client,
  type S3ClientConfig,
  UploadPartCommand,
} from "@aws-sdk/client-s3";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { crc32c } from "./checksums.ts";
import { startS3, type S3 } from "./index.ts";
import { clientOf, refused } from "./test-client.ts";

/** The server held to what S3 does, by the SDK: tests that trust it are worth no more than this. */
let s3: S3;
let client: S3Client;

beforeAll(async () => {
  s3 = await startS3();
  client = clientOf(s3);
});

afterAll(async () => {
  client.destroy();
  await s3.close();
});

const at = (Key: string) => ({ Bucket: s3.bucket, Key });

async function get(Key: string, Range?: string): Promise<string> {
  const { Body } = await client.send(new GetObjectCommand({ ...at(Key), Range }));
  return (await Body?.transformToString()) ?? "";
}

describe("who asks", () => {
  it.each<[string, S3ClientConfig]>([
    ["SignatureDoesNotMatch", { credentials: { accessKeyId: "", secretAccessKey: "wrong" } }],
    ["InvalidAccessKeyId", { credentials: { accessKeyId: "AKIAWRONG", secretAccessKey: "wrong" } }],
    ["AuthorizationHeaderMalformed", { region: "eu-west-1" }],
    ["InvalidToken", { credentials: { accessKeyId: "", secretAccessKey: "", sessionToken: "wrong" } }],
  ])("is refused with %s", async (code, config) => {
    const { accessKeyId, secretAccessKey } = s3.credentials;
    const given = config.credentials as { accessKeyId: string; secretAccessKey: string } | undefined;
    const credentials = given && {
      ...given,
      accessKeyId: given.accessKeyId || accessKeyId,
      secretAccessKey: given.secretAccessKey || secretAccessKey,
    };
    const stranger = clientOf(s3, { ...config, ...(credentials && { credentials }) });
    await expect(stranger.send(new ListObjectsV2Command({ Bucket: s3.bucket }))).rejects.toMatchObject(
      refused(code),
    );
    stranger.destroy();
  });

  it("is refused without a signature, and with a clock that is off", async () => {
    expect(await rawStatus("GET", `/${s3.bucket}?list-type=2`, {})).toBe(403);
    const late = clientOf(s3, { systemClockOffset: -20 * 60_000 });
    const listing = late.send(new ListObjectsV2Command({ Bucket: s3.bucket }));
    await expect(listing).rejects.toMatchObject(refused("RequestTimeTooSkewed"));
    late.destroy();
  });

  it("is refused what is denied, and everything once credentials expired", async () => {
    s3.access.deny("ListObjectsV2");
    await expect(client.send(new ListObjectsV2Command({ Bucket: s3.bucket }))).rejects.toMatchObject(
      refused("AccessDenied"),
    );
    s3.access.allow("ListObjectsV2");
    s3.access.expire();
    await expect(client.send(new ListObjectsV2Command({ Bucket: s3.bucket }))).rejects.toMatchObject(
      refused("ExpiredToken"),
    );
    s3.access.restore();
    await client.send(new ListObjectsV2Command({ Bucket: s3.bucket }));
  });
});

function rawStatus(method: string, path: string, headers: Record<string, string>): Promise<number> {
  return new Promise((resolve, reject) => {
    const request = httpRequest(`${s3.endpoint}${path}`, { method, headers }, (response) => {
      response.resume();
      resolve(response.statusCode ?? 0);
    });
    request.on("error", reject).end();
  });
}

describe("what is sent", () => {
  const wrong = Buffer.from("not this").toString("base64");
  const md5 = createHash("md5").update("not this").digest("base64");

  it.each([
    [{ ChecksumCRC32: "AAAAAA==" }],
    [{ ChecksumCRC32C: "AAAAAA==" }],
    [{ ChecksumSHA256: createHash("sha256").update(wrong).digest("base64") }],
    [{ ContentMD5: md5 }],
  ])("is refused if it is damaged: %j", async (promise) => {
    const put = client.send(new PutObjectCommand({ ...at("damaged"), Body: "content", ...promise }));
    await expect(put).rejects.toMatchObject(refused("BadDigest"));
    expect(s3.object("damaged")).toBeUndefined();
  });

  it("may be a stream with a checksum at its end", async () => {
    const bytes = randomBytes(300_000);
    const pieces = [bytes.subarray(0, 100), bytes.subarray(100, 200_000), bytes.subarray(200_000)];
    await client.send(
      new PutObjectCommand({ ...at("stream"), Body: Readable.from(pieces), ContentLength: bytes.length }),
    );
    expect((await s3.read("stream")).equals(bytes)).toBe(true);
    expect(s3.object("stream")?.properties.headers).not.toHaveProperty("content-encoding");
  });

  it("may wait for the server to say go on", async () => {
    const bytes = randomBytes(3 * 1024 * 1024);
    const patient = clientOf(s3, { expectContinueHeader: true });
    await patient.send(new PutObjectCommand({ ...at("expected"), Body: bytes }));
    const missing = patient.send(new PutObjectCommand({ Bucket: "missing", Key: "x", Body: bytes }));
    await expect(missing).rejects.toMatchObject(refused("NoSuchBucket"));
    expect((await s3.read("expected")).equals(bytes)).toBe(true);
    patient.destroy();
  });

  it("has checksums that the standards agree with", () => {
    // RFC 3720 B.4
    expect(crc32c(Buffer.alloc(32))).toBe(0x8a9136aa);
    expect(crc32c(Buffer.alloc(32, 0xff))).toBe(0x62a8ab43);
    expect(crc32c(Buffer.from("123456789"))).toBe(0xe3069283);
  });
});

describe("what is stored", () => {
  it("comes back with its properties", async () => {
    const given = {
      ContentType: "text/csv",
      ContentEncoding: "gzip",
      Metadata: { lsn: "0/16B3748" },
      ServerSideEncryption: "aws:kms",
      SSEKMSKeyId: "key",
      StorageClass: "STANDARD_IA",
    } as const;
    await client.send(new PutObjectCommand({ ...at("properties"), Body: "content", ...given }));
    const head = await client.send(new HeadObjectCommand({ ...at("properties"), ChecksumMode: "ENABLED" }));
    expect(head).toMatchObject({ ...given, ContentLength: 7, ChecksumType: "FULL_OBJECT" });
    await client.send(new CopyObjectCommand({ ...at("copy"), CopySource: `${s3.bucket}/properties` }));
    expect(await client.send(new HeadObjectCommand(at("copy")))).toMatchObject(given);
    expect(await get("copy")).toBe("content");
  });

  it("is read by ranges", async () => {
    await client.send(new PutObjectCommand({ ...at("range"), Body: "0123456789" }));
    expect(await get("range", "bytes=2-4")).toBe("234");
    expect(await get("range", "bytes=8-100")).toBe("89");
    expect(await get("range", "bytes=7-")).toBe("789");
    expect(await get("range", "bytes=-3")).toBe("789");
    await expect(get("range", "bytes=10-")).rejects.toMatchObject(refused("InvalidRange"));
    await expect(get("no such key")).rejects.toMatchObject(refused("NoSuchKey"));
  });

  it.each([
    [{ SSEKMSKeyId: "key" }, "InvalidArgument"],
    [{ ServerSideEncryption: "rot13" as "AES256" }, "InvalidEncryptionAlgorithmError"],
    [{ StorageClass: "CELLAR" as "GLACIER" }, "InvalidStorageClass"],
    [{ Metadata: { long: "x".repeat(3000) } }, "MetadataTooLarge"],
  ])("is refused with settings that do not fit: %j", async (settings, code) => {
    const put = client.send(new PutObjectCommand({ ...at("unfit"), Body: "x", ...settings }));
    await expect(put).rejects.toMatchObject(refused(code));
  });

  it("is written on conditions", async () => {
    const put = (Body: string, condition: object) =>
      client.send(new PutObjectCommand({ ...at("condition"), Body, ...condition }));
    await expect(put("x", { IfMatch: '"0"' })).rejects.toMatchObject(refused("NoSuchKey"));
    const { ETag } = await put("first", { IfNoneMatch: "*" });
    await expect(put("second", { IfNoneMatch: "*" })).rejects.toMatchObject(refused("PreconditionFailed"));
    await expect(put("second", { IfMatch: '"0"' })).rejects.toMatchObject(refused("PreconditionFailed"));
    await put("second", { IfMatch: ETag });
    expect(await get("condition")).toBe("second");
  });

  it("survives a restart, and a server that was killed in the middle of a note", async () => {
    const dir = await mkdtemp(join(tmpdir(), "pgstage-s3-test-"));
    const first = await startS3({ dir });
    const one = clientOf(first);
    await one.send(new PutObjectCommand({ Bucket: "stage", Key: "kept", Body: "content" }));
    await one.send(new PutObjectCommand({ Bucket: "stage", Key: "kept", Body: "replaced" }));
    const upload = await one.send(new CreateMultipartUploadCommand({ Bucket: "stage", Key: "upload" }));
    const part = { Bucket: "stage", Key: "upload", UploadId: upload.UploadId, PartNumber: 1 };
    const { ETag } = await one.send(new UploadPartCommand({ ...part, Body: "part" }));
    one.destroy();
    await first.close();
    await appendFile(join(dir, "stage", "journal"), '{"put":{"key":"ha');
    const second = await startS3({ dir, credentials: first.credentials });
    const two = clientOf(second);
    await two.send(
      new CompleteMultipartUploadCommand({ ...part, MultipartUpload: { Parts: [{ PartNumber: 1, ETag }] } }),
    );
    expect([second.keys(), String(await second.read("kept")), String(await second.read("upload"))]).toEqual([
      ["kept", "upload"],
      "replaced",
      "part",
    ]);
    two.destroy();
    await second.close();
    await rm(dir, { recursive: true });
  });
});
