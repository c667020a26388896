import { randomUUID } from "node:crypto";
import { PutObjectCommand } from "@aws-sdk/client-s3";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { OperatorError, SettingsError } from "../../src/core/errors.ts";
import { discardLeftovers, findLeftovers } from "../../src/delivery/recover.ts";
import { openStore, type StageOptions } from "../../src/stores/open.ts";
import type { ProbeResult, Store } from "../../src/stores/store.ts";
import { startS3, type Operation, type S3 } from "../support/s3-server/index.ts";
import { clientOf } from "../support/s3-server/test-client.ts";
import { checksum, freshKey, inTurns, keysOf, stageFile } from "./support.ts";

let s3: S3;
const opened: Store[] = [];

beforeAll(async () => {
  s3 = await startS3();
  Object.assign(process.env, s3.env);
});

afterEach(() => {
  s3.faults.clear();
  s3.access.restore();
  s3.ignoreConditions({});
  s3.dropUploads();
  for (const store of opened.splice(0)) store.close();
});

afterAll(() => s3.close());

async function open(options: Partial<StageOptions> = {}): Promise<Store> {
  const store = await openStore({ url: `s3://${s3.bucket}/stage`, endpoint: s3.endpoint, ...options });
  opened.push(store);
  return store;
}

const document = (): string => `_pgstage/test/${randomUUID()}.json`;

/** Everything that somebody could print about an error. */
function printed(error: unknown): string {
  const { cause, stack } = error as Error;
  return JSON.stringify([String(error), stack, error, String(cause), cause]);
}

describe("a setup that only a person can mend", () => {
  const rights: [string, Operation, (store: Store) => Promise<unknown>][] = [
    ["s3:PutObject", "PutObject", (store) => store.put(document(), Buffer.from("x"))],
    ["s3:PutObject", "PutObject", (store) => store.putIfAbsent(document(), Buffer.from("x"))],
    ["s3:PutObject", "CreateMultipartUpload", (store) => store.begin(freshKey())],
    ["s3:GetObject", "GetObject", (store) => store.get(document())],
    ["s3:ListBucket", "ListObjectsV2", (store) => keysOf(store, "")],
    ["s3:ListBucketMultipartUploads", "ListMultipartUploads", (store) => store.discardUploads(() => false)],
    ["s3:DeleteObject", "DeleteObjects", (store) => store.delete([document()])],
  ];

  it.each(rights)("names the right that is missing: %s (%s)", async (action, op, run) => {
    const store = await open();
    s3.access.deny(op);
    const error = await run(store).catch((reason: unknown) => reason);
    s3.access.allow(op);
    expect(error).toBeInstanceOf(OperatorError);
    expect(String(error)).toContain(action);
    expect((error as OperatorError).mend).toContain(`allow ${action} on arn:aws:s3:::${s3.bucket}`);
  });

  it("names the right to read behind a HEAD, whose refusal has no text", async () => {
    const store = await open();
    s3.access.deny("HeadObject", "GetObject");
    await expect(store.has(freshKey(), "sha256:x")).rejects.toThrow("s3:GetObject");
    s3.access.allow("HeadObject", "GetObject");
  });

  it("names the bucket that does not exist", async () => {
    const store = await open({ url: "s3://no-such-bucket/stage" });
    const message = "the bucket no-such-bucket does not exist";
    await expect(store.put(document(), Buffer.from("x"))).rejects.toThrow(message);
    await expect(store.listFolders("")).rejects.toThrow(message);
    await expect(store.has(freshKey(), "sha256:x")).rejects.toThrow(message);
  });

  it("names the region that the bucket is in", async () => {
    const store = await open({ region: "eu-central-1" });
    const error = await store.listFolders("").catch((reason: unknown) => reason as OperatorError);
    expect(error).toMatchObject({
      name: "OperatorError",
      mend: expect.stringContaining("stage.region=us-east-1"),
    });
  });

  it("says that the secret is wrong, and does not print it", async () => {
    const secret = "a-secret-that-nobody-may-see";
    const token = "a-token-that-nobody-may-see";
    const right = s3.credentials;
    Object.assign(process.env, { AWS_SECRET_ACCESS_KEY: secret });
    const wrongSecret = await open();
    const error = await wrongSecret.listFolders("").catch((reason: unknown) => reason);
    Object.assign(process.env, { AWS_SECRET_ACCESS_KEY: right.secretAccessKey, AWS_SESSION_TOKEN: token });
    const wrongToken = await open();
    const other = await wrongToken.listFolders("").catch((reason: unknown) => reason);
    delete process.env["AWS_SESSION_TOKEN"];
    expect(error).toMatchObject({ name: "OperatorError", message: expect.stringContaining("signature") });
    expect(other).toMatchObject({ name: "OperatorError", message: expect.stringContaining("session token") });
    for (const text of [secret, token, right.secretAccessKey])
      expect(printed(error) + printed(other)).not.toContain(text);
  });

  it("says that there are no credentials", async () => {
    const { AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY } = s3.env;
    delete process.env["AWS_ACCESS_KEY_ID"];
    delete process.env["AWS_SECRET_ACCESS_KEY"];
    const store = await open();
    await expect(store.listFolders("")).rejects.toThrow("no AWS credentials were found");
    Object.assign(process.env, { AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY });
  });

  it("says that no region is set", async () => {
    delete process.env["AWS_REGION"];
    await expect(openStore({ url: "s3://bucket/stage" })).rejects.toThrow(SettingsError);
    await expect(openStore({ url: "s3://bucket/stage" })).rejects.toThrow("stage.region");
    const withEndpoint = await open();
    expect(await withEndpoint.listFolders("nothing/")).toEqual([]);
    process.env["AWS_REGION"] = s3.region;
  });

  it("names the host that does not exist", async () => {
    const store = await open({ endpoint: "http://store.invalid" });
    await expect(store.listFolders("")).rejects.toThrow("http://store.invalid");
  });

  it.each([
    ["KMS.NotFoundException", 400, "stage.kmsKeyId"],
    ["KMS.DisabledException", 400, "enable the key"],
    ["RequestTimeTooSkewed", 403, "set the clock"],
    ["InvalidStorageClass", 400, "stage.storageClass"],
    ["NotImplemented", 501, "stage.endpoint"],
  ])("explains %s", async (code, status, mend) => {
    const store = await open();
    s3.faults.add({ op: "PutObject", status, code, times: Infinity });
    const error = await store.put(document(), Buffer.from("x")).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ name: "OperatorError", mend: expect.stringContaining(mend) });
  });
});

describe("a probe", () => {
  const verdictOf = (results: readonly ProbeResult[], name: string): ProbeResult | undefined =>
    results.find((result) => result.name === name);

  it("fails for a store without conditional writes, and says what that means", async () => {
    const store = await open();
    s3.ignoreConditions({ put: true });
    const result = verdictOf(await store.probe(), "stage conditional write");
    expect(result).toMatchObject({ verdict: "fail", mend: expect.stringContaining("conditional writes") });
  });

  it("warns of a store without conditional completion, which still works", async () => {
    const store = await open();
    s3.ignoreConditions({ complete: true });
    const results = await store.probe();
    expect(verdictOf(results, "stage conditional publish")?.verdict).toBe("warn");
    expect(results.filter(({ verdict }) => verdict === "fail")).toEqual([]);
    const key = freshKey();
    const receipt = await stageFile(store, key, Buffer.from("rows"));
    expect(await store.publish(key, receipt)).toBe("published");
    expect(await store.publish(key, receipt)).toBe("published");
  });

  it("stops at what makes the rest pointless", async () => {
    const store = await open({ url: "s3://no-such-bucket" });
    expect(await store.probe()).toMatchObject([
      { verdict: "fail", mend: expect.stringContaining("aws s3 mb") },
    ]);
  });

  it.each<[Operation, string]>([
    ["ListObjectsV2", "s3:ListBucket"],
    ["PutObject", "s3:PutObject"],
    ["GetObject", "s3:GetObject"],
    ["AbortMultipartUpload", "s3:AbortMultipartUpload"],
    ["ListMultipartUploads", "s3:ListBucketMultipartUploads"],
    ["DeleteObjects", "s3:DeleteObject"],
  ])("shows that %s is denied", async (op, action) => {
    const store = await open();
    s3.access.deny(op);
    const failed = (await store.probe()).filter(({ verdict }) => verdict === "fail");
    s3.access.allow(op);
    expect(failed[0]?.mend).toContain(action);
  });
});

describe("objects", () => {
  it("carry encryption, storage class and type on every way into the bucket", async () => {
    const store = await open({ sse: "aws:kms", kmsKeyId: "alias/stage", storageClass: "STANDARD_IA" });
    const [large, small, log, state] = [freshKey(), freshKey(), document(), document()];
    await store.publish(large, await stageFile(store, large, Buffer.from("rows")));
    await store.publishBytes(small, Buffer.from("rows"), checksum(Buffer.from("rows")));
    await store.putIfAbsent(log, Buffer.from("{}"));
    await store.put(state, Buffer.alloc(6 * 1024 * 1024));
    for (const key of [large, small, log, state]) {
      expect(s3.object(`stage/${key}`)?.properties, key).toMatchObject({
        contentType: key.endsWith(".json") ? "application/json" : "text/csv",
        headers: {
          "x-amz-server-side-encryption": "aws:kms",
          "x-amz-server-side-encryption-aws-kms-key-id": "alias/stage",
          "x-amz-storage-class": "STANDARD_IA",
        },
      });
    }
    expect(s3.object(`stage/${large}`)?.checksum?.name).toBe("crc32");
  });

  it("are announced once each", async () => {
    const store = await open();
    const events: string[] = [];
    const off = s3.onCreated(({ eventName, key }) => events.push(`${eventName} ${key}`));
    const [large, small] = [freshKey(), freshKey()];
    const receipt = await stageFile(store, large, Buffer.from("rows"));
    await store.publish(large, receipt);
    await store.publish(large, receipt);
    await store.publishBytes(small, Buffer.from("x"), checksum(Buffer.from("x")));
    await store.publishBytes(small, Buffer.from("x"), checksum(Buffer.from("x")));
    off();
    expect(events).toEqual([
      `ObjectCreated:CompleteMultipartUpload stage/${large}`,
      `ObjectCreated:Put stage/${small}`,
    ]);
  });
});

describe("empty objects that a console or a copying tool makes to show a folder", () => {
  it("are no files, and so nobody deletes them", async () => {
    const store = await open({ url: `s3://${s3.bucket}/copied` });
    const client = clientOf(s3);
    const keys = ["", "_pgstage/", "_pgstage/packs/"].map((folder) => `copied/${folder}`);
    for (const Key of keys) await client.send(new PutObjectCommand({ Bucket: s3.bucket, Key }));
    client.destroy();
    await store.put("_pgstage/packs/left", Buffer.from("x"));
    expect(await keysOf(store, "")).toEqual(["_pgstage/packs/left"]);
    const leftovers = await findLeftovers(store);
    await discardLeftovers(store, leftovers);
    expect(s3.keys("copied/")).toEqual(keys);
  });
});

describe("uploads of others in the same bucket", () => {
  it("are left alone: other programs', and those of a stage below this one", async () => {
    const whole = await open({ url: `s3://${s3.bucket}` });
    const below = await open({ url: `s3://${s3.bucket}/team/` });
    const beside = await open({ url: `s3://${s3.bucket}/team-two` });
    const ours = await stageFile(whole, freshKey(), Buffer.from("x"));
    const key = freshKey();
    const receipts = [
      await stageFile(below, key, Buffer.from("x")),
      await stageFile(beside, key, Buffer.from("x")),
    ];
    await whole.begin("backups/2026/database.tar");
    expect(await whole.discardUploads(() => false)).toBe(1);
    expect(s3.uploads().map(({ id }) => id)).not.toContain(ours.id);
    expect(s3.uploads()).toHaveLength(3);
    expect(await below.discardUploads((id) => id === receipts[0]?.id)).toBe(0);
    expect(await beside.publish(key, receipts[1] ?? ours)).toBe("published");
  });

  it("are found on every page of the listing", async () => {
    const store = await open();
    const named = await stageFile(store, freshKey(), Buffer.from("x"));
    await inTurns(Array.from({ length: 1100 }, freshKey), (key) => store.begin(key));
    expect(await store.discardUploads((id) => id === named.id)).toBe(1100);
    expect(s3.uploads().map(({ id }) => id)).toEqual([named.id]);
  });
});
