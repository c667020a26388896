import { createHash, randomBytes } from "node:crypto";
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  DeleteObjectsCommand,
  GetObjectCommand,
  ListMultipartUploadsCommand,
  ListObjectsV2Command,
  ListPartsCommand,
  PutObjectCommand,
  type S3Client,
  UploadPartCommand,
} from "@aws-sdk/client-s3";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startS3, type ObjectCreated, type S3 } from "./index.ts";
import { clientOf, refused } from "./test-client.ts";

const PART = 5 * 1024 * 1024;

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

describe("an upload in parts", () => {
  const begin = async (Key: string): Promise<string> => {
    const { UploadId = "" } = await client.send(
      new CreateMultipartUploadCommand({ ...at(Key), ChecksumAlgorithm: "CRC32" }),
    );
    return UploadId;
  };
  const send = async (Key: string, UploadId: string, PartNumber: number, Body: Buffer) => {
    const { ETag, ChecksumCRC32 } = await client.send(
      new UploadPartCommand({ ...at(Key), UploadId, PartNumber, Body }),
    );
    return { PartNumber, ETag, ChecksumCRC32 };
  };
  const complete = (Key: string, UploadId: string, Parts: object[], more: object = {}) =>
    client.send(
      new CompleteMultipartUploadCommand({ ...at(Key), UploadId, MultipartUpload: { Parts }, ...more }),
    );

  it("is one object in the end, and nothing before", async () => {
    const bytes = randomBytes(2 * PART + 10);
    const id = await begin("multi");
    const second = await send("multi", id, 7, bytes.subarray(PART, 2 * PART));
    const first = await send("multi", id, 3, bytes.subarray(0, PART));
    const third = await send("multi", id, 9, bytes.subarray(2 * PART));
    expect(s3.object("multi")).toBeUndefined();
    const { Parts } = await client.send(new ListPartsCommand({ ...at("multi"), UploadId: id }));
    expect(Parts?.map(({ PartNumber, Size }) => [PartNumber, Size])).toEqual([
      [3, PART],
      [7, PART],
      [9, 10],
    ]);
    const { ETag, ChecksumCRC32 } = await complete("multi", id, [first, second, third]);
    const md5 = (part: Buffer): Buffer => createHash("md5").update(part).digest();
    const parts = [bytes.subarray(0, PART), bytes.subarray(PART, 2 * PART), bytes.subarray(2 * PART)];
    expect(ETag).toBe(`"${md5(Buffer.concat(parts.map(md5))).toString("hex")}-3"`);
    expect(ChecksumCRC32).toMatch(/-3$/);
    expect((await s3.read("multi")).equals(bytes)).toBe(true);
    const across = await client.send(
      new GetObjectCommand({ ...at("multi"), Range: `bytes=${PART - 5}-${2 * PART + 4}` }),
    );
    expect(
      Buffer.from((await across.Body?.transformToByteArray()) ?? []).equals(
        bytes.subarray(PART - 5, 2 * PART + 5),
      ),
    ).toBe(true);
    await expect(complete("multi", id, [first])).rejects.toMatchObject(refused("NoSuchUpload"));
  });

  it("is refused if its parts do not fit", async () => {
    const id = await begin("unfit");
    const small = await send("unfit", id, 1, Buffer.from("small"));
    const last = await send("unfit", id, 2, Buffer.from("last"));
    await expect(complete("unfit", id, [small, last])).rejects.toMatchObject(refused("EntityTooSmall"));
    await expect(complete("unfit", id, [last, small])).rejects.toMatchObject(refused("InvalidPartOrder"));
    await expect(complete("unfit", id, [{ ...last, PartNumber: 5 }])).rejects.toMatchObject(
      refused("InvalidPart"),
    );
    await expect(complete("unfit", id, [{ ...last, ETag: small.ETag }])).rejects.toMatchObject(
      refused("InvalidPart"),
    );
    await expect(complete("unfit", id, [{ ...last, ChecksumCRC32: undefined }])).rejects.toMatchObject(
      refused("InvalidRequest"),
    );
    await expect(complete("unfit", id, [])).rejects.toMatchObject(refused("MalformedXML"));
    await expect(send("unfit", id, 10_001, Buffer.from("x"))).rejects.toMatchObject(
      refused("InvalidArgument"),
    );
    await complete("unfit", id, [last]);
    expect(String(await s3.read("unfit"))).toBe("last");
  });

  it("does not replace an object on that condition, and can be tried again without", async () => {
    await client.send(new PutObjectCommand({ ...at("taken"), Body: "first" }));
    const id = await begin("taken");
    const part = await send("taken", id, 1, Buffer.from("second"));
    await expect(complete("taken", id, [part], { IfNoneMatch: "*" })).rejects.toMatchObject(
      refused("PreconditionFailed"),
    );
    await complete("taken", id, [part]);
    expect(String(await s3.read("taken"))).toBe("second");
  });

  it("can be listed and aborted", async () => {
    const ids = [
      await begin("listed/a"),
      await begin("listed/a"),
      await begin("listed/b"),
      await begin("other"),
    ];
    const list = (more: object) =>
      client.send(new ListMultipartUploadsCommand({ Bucket: s3.bucket, Prefix: "listed/", ...more }));
    const page = await list({ MaxUploads: 2 });
    expect(page.Uploads?.map(({ UploadId }) => UploadId)).toEqual(ids.slice(0, 2));
    const next = await list({ KeyMarker: page.NextKeyMarker, UploadIdMarker: page.NextUploadIdMarker });
    expect(next).toMatchObject({ IsTruncated: false, Uploads: [{ UploadId: ids[2] }] });
    for (const { id, key } of s3.uploads())
      await client.send(new AbortMultipartUploadCommand({ ...at(key), UploadId: id }));
    expect(s3.uploads()).toEqual([]);
    const late = client.send(
      new UploadPartCommand({ ...at("other"), UploadId: ids[3], PartNumber: 1, Body: "x" }),
    );
    await expect(late).rejects.toMatchObject(refused("NoSuchUpload"));
  });
});

describe("a listing", () => {
  it("goes by pages, prefixes and folders, in the order of UTF-8 bytes", async () => {
    const names = ["a/1", "a/2", "a-", "a0", "b/c/3", "b/4", "é", "\uff5e", "\u{1f600}", "odd '()*&<>\"+=/x"];
    for (const name of names) await client.send(new PutObjectCommand({ ...at(`list/${name}`), Body: "x" }));
    const sorted = names
      .toSorted((x, y) => Buffer.compare(Buffer.from(x), Buffer.from(y)))
      .map((name) => `list/${name}`);
    const all: string[] = [];
    let token: string | undefined;
    do {
      const page = await client.send(
        new ListObjectsV2Command({
          Bucket: s3.bucket,
          Prefix: "list/",
          MaxKeys: 3,
          ContinuationToken: token,
        }),
      );
      all.push(...(page.Contents ?? []).map(({ Key = "" }) => Key));
      token = page.NextContinuationToken;
    } while (token !== undefined);
    expect(all).toEqual(sorted);
    const list = (more: object) => client.send(new ListObjectsV2Command({ Bucket: s3.bucket, ...more }));
    const after = await list({ Prefix: "list/", StartAfter: "list/a/1" });
    expect(after.Contents?.map(({ Key }) => Key)).toEqual(sorted.slice(sorted.indexOf("list/a/1") + 1));
    const folders = await list({ Prefix: "list/", Delimiter: "/", MaxKeys: 2 });
    expect([folders.Contents?.map(({ Key }) => Key), folders.CommonPrefixes]).toEqual([
      ["list/a-"],
      [{ Prefix: "list/a/" }],
    ]);
    const rest = await list({
      Prefix: "list/",
      Delimiter: "/",
      ContinuationToken: folders.NextContinuationToken,
    });
    expect(rest.CommonPrefixes?.map(({ Prefix }) => Prefix)).toEqual(["list/b/", "list/odd '()*&<>\"+=/"]);
    await client.send(
      new DeleteObjectsCommand({ Bucket: s3.bucket, Delete: { Objects: all.map((Key) => ({ Key })) } }),
    );
    expect(s3.keys("list/")).toEqual([]);
  });
});

describe("what tests ask of it", () => {
  it("tells of every object that appears, and counts requests", async () => {
    const seen: ObjectCreated[] = [];
    const off = s3.onCreated((event) => seen.push(event));
    s3.requests.clear();
    await client.send(new PutObjectCommand({ ...at("event"), Body: "content" }));
    off();
    await client.send(new PutObjectCommand({ ...at("event"), Body: "content" }));
    expect(seen).toMatchObject([
      {
        eventName: "ObjectCreated:Put",
        key: "event",
        size: 7,
        eTag: createHash("md5").update("content").digest("hex"),
      },
    ]);
    expect(s3.requests.count("PutObject")).toBe(2);
    expect(s3.requests.count()).toBe(2);
    expect(s3.requests.list("PutObject").map(({ key }) => key)).toEqual(["event", "event"]);
  });

  it("fails when, where and as often as it is told", async () => {
    const put = (key: string) => client.send(new PutObjectCommand({ ...at(key), Body: key }));
    const fault = s3.faults.add({
      op: "PutObject",
      key: /^fault/,
      skip: 1,
      times: 2,
      status: 503,
      code: "SlowDown",
    });
    await put("other");
    await put("fault/1");
    await expect(put("fault/2")).rejects.toMatchObject(refused("SlowDown"));
    await expect(put("fault/3")).rejects.toMatchObject(refused("SlowDown"));
    await put("fault/4");
    expect(fault.hits).toBe(2);
    expect(s3.keys("fault/")).toEqual(["fault/1", "fault/4"]);
  });

  it("holds a request until it is let go, before or after it takes effect", async () => {
    for (const afterCommit of [false, true]) {
      let release = (): void => {};
      const hold = new Promise<void>((resolve) => (release = resolve));
      const key = `held-${afterCommit}`;
      const fault = s3.faults.add({ op: "PutObject", afterCommit, hold });
      const putting = client.send(new PutObjectCommand({ ...at(key), Body: "x" }));
      await fault.met;
      if (afterCommit) await expect.poll(() => s3.object(key)).toBeDefined();
      else expect(s3.object(key)).toBeUndefined();
      release();
      await putting;
      expect(s3.object(key)).toBeDefined();
    }
  });

  it("can take effect and lose the answer", async () => {
    s3.faults.add({ op: "PutObject", afterCommit: true, reset: true });
    await expect(client.send(new PutObjectCommand({ ...at("lost"), Body: "x" }))).rejects.toThrow();
    expect(String(await s3.read("lost"))).toBe("x");
    s3.faults.add({ op: "PutObject", reset: true });
    await expect(client.send(new PutObjectCommand({ ...at("never"), Body: "x" }))).rejects.toThrow();
    expect(s3.object("never")).toBeUndefined();
  });
});
