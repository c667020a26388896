import { randomBytes } from "node:crypto";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Access } from "./access.ts";
import type { ObjectRecord, UploadRecord } from "./bucket.ts";
import type { IgnoredConditions, ObjectCreated } from "./context.ts";
import type { Faults } from "./faults.ts";
import type { RequestLog } from "./requests.ts";
import { S3HttpServer } from "./server.ts";
import type { Credentials } from "./signature.ts";

export type { ObjectCreated } from "./context.ts";
export type { Operation } from "./route.ts";
export type { Credentials } from "./signature.ts";

export interface S3Options {
  /** Where objects live; a second server on it continues. By default a folder that goes away at the end. */
  readonly dir?: string;
  readonly port?: number;
  readonly bucket?: string;
  readonly region?: string;
  readonly credentials?: Credentials;
}

/** A running server with one bucket. `await using` closes it. */
export interface S3 extends AsyncDisposable {
  /** `http://127.0.0.1:port` */
  readonly endpoint: string;
  readonly bucket: string;
  readonly region: string;
  readonly credentials: Credentials;
  /** What a process needs in its environment to use it by the SDK's default chain. */
  readonly env: Readonly<Record<string, string>>;
  readonly faults: Faults;
  readonly requests: RequestLog;
  readonly access: Access;

  /** All keys of the bucket below a prefix, in the order of their UTF-8 bytes. */
  keys(prefix?: string): string[];
  /** An object's content. Rejects if there is none. */
  read(key: string): Promise<Buffer>;
  object(key: string): ObjectRecord | undefined;
  /** Deletes an object behind everybody's back. */
  remove(key: string): void;
  uploads(): readonly UploadRecord[];
  /** Aborts an upload behind everybody's back, as a bucket rule does; all of them without an id. */
  dropUploads(id?: string): void;
  /** Behaves as a store that knows fewer conditions. */
  ignoreConditions(ignored: IgnoredConditions): void;
  /** Calls `listener` for each object from now on; the result ends that. */
  onCreated(listener: (event: ObjectCreated) => void): () => void;
  /** Rejects if the server itself had an error. */
  close(): Promise<void>;
}

/** Starts a strict S3 server on 127.0.0.1. */
export async function startS3(options: S3Options = {}): Promise<S3> {
  const dir = options.dir ?? (await mkdtemp(join(tmpdir(), "pgstage-s3-")));
  const region = options.region ?? "us-east-1";
  const access = new Access(options.credentials ?? newCredentials(), region);
  const server = new S3HttpServer(dir, access);
  const bugs: unknown[] = [];
  server.on("bug", (bug) => bugs.push(bug));
  const bucket = server.createBucket(options.bucket ?? "stage");
  const endpoint = await server.listen(options.port ?? 0);
  const close = async (): Promise<void> => {
    await server.close();
    if (options.dir === undefined) await rm(dir, { recursive: true, force: true });
    if (bugs.length > 0) throw new AggregateError(bugs, `the S3 server failed: ${String(bugs[0])}`);
  };
  return {
    endpoint,
    bucket: bucket.name,
    region,
    get credentials() {
      return access.credentials;
    },
    get env() {
      return environmentOf(access.credentials, region);
    },
    faults: server.faults,
    requests: server.requests,
    access,
    keys: (prefix = "") => bucket.keys().filter((key) => key.startsWith(prefix)),
    read: async (key) => {
      const object = bucket.object(key);
      if (object === undefined) throw new Error(`there is no ${key} in the bucket`);
      return Buffer.concat(await Promise.all(object.blobs.map((blob) => readFile(bucket.blobPath(blob.id)))));
    },
    object: (key) => bucket.object(key),
    remove: (key) => bucket.apply({ remove: key }),
    uploads: () => bucket.uploads(),
    dropUploads: (id) => {
      for (const upload of bucket.uploads())
        if (id === undefined || upload.id === id) bucket.apply({ abort: upload.id });
    },
    ignoreConditions: (ignored) => {
      server.ignoredConditions = ignored;
    },
    onCreated: (listener) => {
      server.on("created", listener);
      return () => void server.off("created", listener);
    },
    close,
    [Symbol.asyncDispose]: close,
  };
}

function newCredentials(): Credentials {
  return {
    accessKeyId: `AKIA${randomBytes(8).toString("hex").toUpperCase()}`,
    secretAccessKey: randomBytes(20).toString("hex"),
  };
}

function environmentOf(credentials: Credentials, region: string): Record<string, string> {
  const { accessKeyId, secretAccessKey, sessionToken } = credentials;
  return {
    AWS_ACCESS_KEY_ID: accessKeyId,
    AWS_SECRET_ACCESS_KEY: secretAccessKey,
    ...(sessionToken !== undefined && { AWS_SESSION_TOKEN: sessionToken }),
    AWS_REGION: region,
    // Without these the SDK may look at the machine's own configuration, or ask its instance metadata.
    AWS_CONFIG_FILE: "/dev/null",
    AWS_SHARED_CREDENTIALS_FILE: "/dev/null",
    AWS_EC2_METADATA_DISABLED: "true",
  };
}
