import { randomBytes, randomUUID } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { OperatorError, TransientError, UploadLostError } from "../../src/core/errors.ts";
import { S3Store } from "../../src/stores/s3.ts";
import { startS3, type Credentials, type Operation, type S3 } from "../support/s3-server/index.ts";
import { checksum, freshKey, stageFile } from "./support.ts";

let s3: S3;
let store: S3Store;

beforeAll(async () => {
  s3 = await startS3();
  Object.assign(process.env, s3.env);
  store = await openStore();
});

afterEach(() => {
  s3.faults.clear();
  s3.access.restore();
});

afterAll(async () => {
  store.close();
  await s3.close();
});

/** Another instance, as patient with a silent connection as it is told. */
function openStore(idleMs = 30_000): Promise<S3Store> {
  return S3Store.open({ bucket: s3.bucket, prefix: "stage", endpoint: s3.endpoint, timeouts: { idleMs } });
}

const document = (): string => `_pgstage/test/${randomUUID()}.json`;
const read = async (key: string): Promise<string> => String(await s3.read(`stage/${key}`));

describe("an answer that is lost after the request took effect", () => {
  it.each(["reset", "500"])("is found out for a document (%s)", async (how) => {
    const key = document();
    s3.faults.add({ op: "PutObject", afterCommit: true, ...lost(how) });
    expect(await store.putIfAbsent(key, Buffer.from("mine"))).toBe("created");
    expect(await store.putIfAbsent(key, Buffer.from("theirs"))).toBe("exists");
    expect(await read(key)).toBe("mine");
  });

  it.each(["reset", "500"])("is found out for a small data file (%s)", async (how) => {
    const key = freshKey();
    s3.faults.add({ op: "PutObject", afterCommit: true, ...lost(how) });
    await store.publishBytes(key, Buffer.from("rows"), checksum(Buffer.from("rows")));
    expect(await read(key)).toBe("rows");
  });

  it.each(["reset", "500"])("is found out for an upload (%s)", async (how) => {
    const key = freshKey();
    const receipt = await stageFile(store, key, Buffer.from("rows"));
    s3.faults.add({ op: "CompleteMultipartUpload", afterCommit: true, ...lost(how) });
    expect(await store.publish(key, receipt)).toBe("published");
    expect(await read(key)).toBe("rows");
  });

  it("is found out for a part, which is then sent again", async () => {
    const key = freshKey();
    s3.faults.add({ op: "UploadPart", afterCommit: true, reset: true, times: 2 });
    expect(await store.publish(key, await stageFile(store, key, Buffer.from("rows")))).toBe("published");
    expect(await read(key)).toBe("rows");
    expect(s3.uploads()).toEqual([]);
  });

  it("leaves an upload behind that is discarded later", async () => {
    const key = freshKey();
    s3.faults.add({ op: "CreateMultipartUpload", afterCommit: true, reset: true });
    const receipt = await stageFile(store, key, Buffer.from("rows"));
    expect(s3.uploads()).toHaveLength(2);
    expect(await store.discardUploads((id) => id === receipt.id)).toBe(1);
    expect(await store.publish(key, receipt)).toBe("published");
  });

  it("is no proof when somebody else's object is there", async () => {
    const key = freshKey();
    const receipt = await stageFile(store, key, Buffer.from("rows"));
    await store.publishBytes(key, Buffer.from("them"), checksum(Buffer.from("them")));
    s3.dropUploads(receipt.id);
    await expect(store.publish(key, receipt)).rejects.toThrow(OperatorError);
    expect(await read(key)).toBe("them");
  });
});

function lost(how: string): { reset: true } | { status: number } {
  return how === "reset" ? { reset: true } : { status: 500 };
}

describe("a conflict with another write", () => {
  it("is tried again", async () => {
    s3.faults.add({
      op: ["PutObject", "CompleteMultipartUpload"],
      status: 409,
      code: "ConditionalRequestConflict",
      times: 2,
    });
    expect(await store.putIfAbsent(document(), Buffer.from("x"))).toBe("created");
    s3.faults.add({
      op: "CompleteMultipartUpload",
      status: 409,
      code: "ConditionalRequestConflict",
      times: 2,
    });
    const key = freshKey();
    expect(await store.publish(key, await stageFile(store, key, Buffer.from("x")))).toBe("published");
  });

  it("is left to the caller if it stays", async () => {
    const receipt = await stageFile(store, freshKey(), Buffer.from("x"));
    s3.faults.add({ op: "PutObject", status: 409, code: "ConditionalRequestConflict", times: Infinity });
    s3.faults.add({
      op: "CompleteMultipartUpload",
      status: 409,
      code: "ConditionalRequestConflict",
      times: Infinity,
    });
    await expect(store.putIfAbsent(document(), Buffer.from("x"))).rejects.toThrow(TransientError);
    await expect(store.publishBytes(freshKey(), Buffer.from("x"), "sha256:x")).rejects.toThrow(
      TransientError,
    );
    await expect(store.publish(freshKey(), receipt)).rejects.toThrow();
  });
});

describe("a store that is away for a while", () => {
  const faults = [
    ["503 SlowDown", { status: 503, code: "SlowDown" }],
    ["500 InternalError", { status: 500, code: "InternalError" }],
    ["a reset", { reset: true }],
    ["silence", { silent: true }],
  ] as const;

  it.each(faults)("is asked again by itself: %s", async (_name, fault) => {
    const fresh = await openStore(3000);
    s3.faults.add({ ...fault, times: 1 });
    const key = document();
    await fresh.put(key, Buffer.from("x"));
    expect(await read(key)).toBe("x");
    fresh.close();
  });

  it.each(faults)("is the caller's to wait for, if it stays: %s", async (_name, fault) => {
    const receipt = await stageFile(store, freshKey(), Buffer.from("x"));
    const impatient = await openStore(300);
    s3.faults.add({ ...fault, times: Infinity });
    const attempts = [
      impatient.put(document(), Buffer.from("x")),
      impatient.get(document()),
      impatient.begin(freshKey()),
      impatient.publish(freshKey(), receipt),
      impatient.publishBytes(freshKey(), Buffer.from("x"), "sha256:x"),
      impatient.has(freshKey(), "sha256:x"),
      impatient.listFolders(""),
      impatient.delete([document()]),
      impatient.discardUploads(() => false),
    ];
    const outcomes = await Promise.allSettled(attempts);
    for (const outcome of outcomes)
      expect(outcome).toMatchObject({ status: "rejected", reason: { name: "TransientError" } });
    s3.faults.clear();
    await store.put(document(), Buffer.from("x"));
    impatient.close();
  });

  it("may come back in the middle of an upload", async () => {
    const key = freshKey();
    const bytes = randomBytes(store.minPartBytes + 10);
    const upload = await store.begin(key);
    const fault = s3.faults.add({ op: "UploadPart", status: 503, code: "SlowDown", times: Infinity });
    const first = (): Promise<void> => upload.write(bytes.subarray(0, store.minPartBytes), 1, 0);
    const last = (): Promise<void> => upload.write(bytes.subarray(store.minPartBytes), 2, store.minPartBytes);
    await expect(first()).rejects.toThrow(TransientError);
    await expect(last()).rejects.toThrow(TransientError);
    fault.remove();
    await Promise.all([last(), first()]);
    expect(await store.publish(key, await upload.finish())).toBe("published");
    expect((await s3.read(`stage/${key}`)).equals(bytes)).toBe(true);
  });

  it("may be away for longer than the SDK tries", async () => {
    const key = freshKey();
    const receipt = await stageFile(store, key, Buffer.from("rows"));
    // The SDK gives up sooner after many failures, so another instance counts its attempts.
    const fresh = await openStore();
    s3.faults.add({ reset: true, times: 3 });
    await expect(fresh.publish(key, receipt)).rejects.toThrow(TransientError);
    expect(await fresh.publish(key, receipt)).toBe("published");
    fresh.close();
  });
});

describe("a body that is damaged on its way", () => {
  it("is not taken for the document", async () => {
    const key = document();
    await store.put(key, randomBytes(200_000));
    s3.faults.add({ op: "GetObject", corrupt: true });
    await expect(store.get(key)).rejects.toThrow(TransientError);
    s3.faults.add({ op: "GetObject", cutAfterBytes: 1000 });
    await expect(store.get(key)).rejects.toThrow(TransientError);
    s3.faults.add({ op: "GetObject", cutAfterBytes: 1000 });
    await expect(store.get(key, { offset: 10, length: 100_000 })).rejects.toThrow(TransientError);
    expect(await store.get(key)).toHaveLength(200_000);
  });
});

describe("credentials", () => {
  it("that expired are waited for", async () => {
    s3.access.expire();
    await expect(store.put(document(), Buffer.from("x"))).rejects.toThrow(TransientError);
    await expect(store.has(freshKey(), "sha256:x")).rejects.toThrow(TransientError);
    s3.access.restore();
    await store.put(document(), Buffer.from("x"));
  });

  it("that somebody renews in the file are read again", async () => {
    const dir = await mkdtemp(join(tmpdir(), "pgstage-credentials-"));
    const file = join(dir, "credentials");
    const before = s3.credentials;
    const environment = { ...process.env };
    const write = async (credentials: Credentials): Promise<void> => {
      s3.access.restore(credentials);
      const { accessKeyId, secretAccessKey, sessionToken } = credentials;
      await writeFile(
        file,
        `[default]\naws_access_key_id=${accessKeyId}\naws_secret_access_key=${secretAccessKey}\naws_session_token=${sessionToken}\n`,
      );
    };
    await write({ accessKeyId: "ASIAFIRST", secretAccessKey: "first", sessionToken: "one" });
    delete process.env["AWS_ACCESS_KEY_ID"];
    delete process.env["AWS_SECRET_ACCESS_KEY"];
    process.env["AWS_SHARED_CREDENTIALS_FILE"] = file;
    const fresh = await openStore();
    await fresh.put(document(), Buffer.from("x"));
    s3.access.expire();
    await expect(fresh.put(document(), Buffer.from("x"))).rejects.toThrow(TransientError);
    await write({ accessKeyId: "ASIASECOND", secretAccessKey: "second", sessionToken: "two" });
    s3.access.expire();
    await expect(fresh.put(document(), Buffer.from("x"))).rejects.toThrow(TransientError);
    s3.access.restore();
    await fresh.put(document(), Buffer.from("x"));
    fresh.close();
    Object.assign(process.env, environment);
    s3.access.restore(before);
    await rm(dir, { recursive: true });
  });

  it("that the store does not know are a person's to mend", async () => {
    s3.access.expire("InvalidAccessKeyId");
    await expect(store.put(document(), Buffer.from("x"))).rejects.toThrow(OperatorError);
    await expect(store.has(freshKey(), "sha256:x")).rejects.toThrow("access key");
  });
});

describe("an upload that a bucket rule removed", () => {
  it("is gone, and says so to whoever still writes to it", async () => {
    const key = freshKey();
    const receipt = await stageFile(store, key, Buffer.from("rows"));
    const upload = await store.begin(freshKey());
    s3.dropUploads();
    expect(await store.publish(key, receipt)).toBe("gone");
    await expect(upload.write(Buffer.from("x"), 1, 0)).rejects.toThrow(UploadLostError);
    await upload.abort();
  });

  it("is gone also for a store that answers 500 to its completion", async () => {
    const key = freshKey();
    const receipt = await stageFile(store, key, Buffer.from("rows"));
    s3.faults.add({ op: "CompleteMultipartUpload", status: 500, times: 3 });
    await expect(store.publish(key, receipt)).rejects.toThrow(TransientError);
    s3.dropUploads();
    s3.faults.add({ op: "CompleteMultipartUpload", status: 500, times: Infinity });
    expect(await store.publish(key, receipt)).toBe("gone");
  });
});

describe("requests", () => {
  const counted: [string, (key: string) => Promise<unknown>, Partial<Record<Operation, number>>][] = [
    ["a small file", (key) => store.publishBytes(key, Buffer.from("x"), "sha256:x"), { PutObject: 1 }],
    ["a document", (key) => store.putIfAbsent(key, Buffer.from("x")), { PutObject: 1 }],
    [
      "an upload of one part",
      async (key) => store.publish(key, await stageFile(store, key, Buffer.from("x"))),
      { CreateMultipartUpload: 1, UploadPart: 1, CompleteMultipartUpload: 1 },
    ],
  ];

  it.each(counted)("are no more than needed for %s", async (_name, run, expected) => {
    const key = freshKey();
    s3.requests.clear();
    await run(key);
    expect(s3.requests.counts()).toEqual(expected);
  });
});
