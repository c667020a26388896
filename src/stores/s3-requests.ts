import type { Readable } from "node:stream";
import {
  GetObjectCommand,
  HeadObjectCommand,
  PutObjectCommand,
  type PutObjectCommandInput,
  type S3Client,
} from "@aws-sdk/client-s3";
import { messageOf, TransientError } from "../core/errors.ts";
import { checksumOf } from "./checksum.ts";
import { classifyS3Error, failureOf, isExpired, type S3Attempt } from "./s3-errors.ts";

/** How objects are written, from the settings; undefined leaves it to the bucket's defaults. */
export interface S3Writing {
  readonly sse?: string | undefined;
  readonly kmsKeyId?: string | undefined;
  readonly storageClass?: string | undefined;
}

export interface S3Object {
  readonly bytes: number;
  /** User metadata, names in lower case. */
  readonly metadata: Readonly<Record<string, string>>;
}

type WriteParameters = Pick<PutObjectCommandInput, "ServerSideEncryption" | "SSEKMSKeyId" | "StorageClass">;

/** The requests that the stage needs, on one bucket and below one prefix, with every failure classified. */
export class S3Requests {
  readonly bucket: string;
  /** Empty, or ending in `/`. */
  readonly prefix: string;
  readonly writing: WriteParameters;
  readonly #endpoint: string;
  readonly #makeClient: () => S3Client;
  #client: S3Client;
  #answered = false;

  constructor(options: {
    makeClient: () => S3Client;
    bucket: string;
    prefix: string;
    writing: S3Writing;
    endpoint: string | undefined;
  }) {
    this.#makeClient = options.makeClient;
    this.#client = options.makeClient();
    this.bucket = options.bucket;
    this.prefix = options.prefix;
    this.#endpoint = options.endpoint ?? "S3";
    const { sse, kmsKeyId, storageClass } = options.writing;
    this.writing = {
      ...(sse !== undefined && { ServerSideEncryption: sse as "aws:kms" }),
      ...(kmsKeyId !== undefined && { SSEKMSKeyId: kmsKeyId }),
      ...(storageClass !== undefined && { StorageClass: storageClass as "STANDARD" }),
    };
  }

  /** Ask for it anew for each request: it is replaced when its credentials expire. */
  get client(): S3Client {
    return this.#client;
  }

  /** Bucket and full key of a key below the prefix. */
  at(key: string): { Bucket: string; Key: string } {
    return { Bucket: this.bucket, Key: this.prefix + key };
  }

  /** What to call the object in messages. */
  nameOf(key: string): string {
    return `s3://${this.bucket}/${this.prefix}${key}`;
  }

  /** Runs a request, and rejects with a classified error that names `action` and `key`. */
  async run<T>(action: string, key: string, request: () => Promise<T>): Promise<T> {
    const client = this.#client;
    try {
      const result = await request();
      this.#answered = true;
      return result;
    } catch (error) {
      if (isExpired(error)) this.#renew(client);
      throw this.classify(error, action, key);
    }
  }

  /** A client keeps credentials that name no expiry for ever, also when a file or the chain has new ones by now. */
  #renew(expired: S3Client): void {
    if (this.#client === expired) this.#client = this.#makeClient();
  }

  classify(error: unknown, action: string, key: string): Error {
    const attempt: S3Attempt = {
      action,
      bucket: this.bucket,
      target: this.nameOf(key),
      endpoint: this.#endpoint,
      answered: this.#answered,
    };
    return classifyS3Error(error, attempt);
  }

  /**
   * Creates an object if its key is free. `taken` after a 412, which may also be the echo of a first attempt
   * of our own whose answer was lost: look at the object. `again` after a conflict with another writer.
   */
  async putIfFree(
    key: string,
    bytes: Buffer,
    details: Pick<PutObjectCommandInput, "ContentType" | "Metadata">,
  ): Promise<"created" | "taken" | "again"> {
    const command = new PutObjectCommand({
      ...this.at(key),
      ...this.writing,
      ...details,
      Body: bytes,
      IfNoneMatch: "*",
    });
    return this.run("s3:PutObject", key, async () => {
      try {
        await this.client.send(command);
        return "created";
      } catch (error) {
        const outcome = conditionOf(error);
        if (outcome === null) throw error;
        return outcome;
      }
    });
  }

  /** Size and metadata of an object, or null if there is none. */
  async head(key: string): Promise<S3Object | null> {
    try {
      const answer = await this.client.send(new HeadObjectCommand(this.at(key)));
      return { bytes: answer.ContentLength ?? 0, metadata: answer.Metadata ?? {} };
    } catch (error) {
      const status = error instanceof Error ? failureOf(error).status : undefined;
      if (status === 404) return this.#bucketIsThere(key);
      // An answer to HEAD has no body, so a refusal does not say why. GET does.
      if (status === undefined || status < 300 || status >= 500)
        throw this.classify(error, "s3:GetObject", key);
      await this.get(key, { offset: 0, length: 1 });
      throw new TransientError(`${this.nameOf(key)}: HEAD was refused with ${status}, but GET was not`);
    }
  }

  /** Bytes of an object, or null if there is none. A range beyond the end is empty. */
  async get(key: string, range?: { offset: number; length: number }): Promise<Buffer | null> {
    return this.run("s3:GetObject", key, async () => {
      try {
        const { Body } = await this.client.send(
          new GetObjectCommand({
            ...this.at(key),
            ...(range !== undefined && { Range: rangeHeader(range) }),
          }),
        );
        const bytes = Body === undefined ? Buffer.alloc(0) : await this.#read(Body, key);
        return range === undefined ? bytes : bytes.subarray(0, range.length);
      } catch (error) {
        if (!(error instanceof Error)) throw error;
        const { name, status } = failureOf(error);
        if (name === "NoSuchKey") return null;
        if (status === 416) return Buffer.alloc(0);
        throw error;
      }
    });
  }

  /** `sha256:<hex>` of an object's bytes, which are not held in memory; null if there is none. */
  async checksum(key: string): Promise<string | null> {
    return this.run("s3:GetObject", key, async () => {
      try {
        const { Body } = await this.client.send(new GetObjectCommand(this.at(key)));
        return await checksumOf(Body as Readable);
      } catch (error) {
        if (error instanceof Error && failureOf(error).name === "NoSuchKey") return null;
        throw error;
      }
    });
  }

  /** A HEAD answers 404 for a missing bucket as well; GET tells them apart. */
  async #bucketIsThere(key: string): Promise<null> {
    await this.get(key, { offset: 0, length: 1 });
    return null;
  }

  /** Reads a whole body. The SDK retries requests, not bodies: one that breaks off, or does not fit its checksum, is passing. */
  async #read(body: { transformToByteArray(): Promise<Uint8Array> }, key: string): Promise<Buffer> {
    try {
      const bytes = await body.transformToByteArray();
      return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    } catch (error) {
      throw new TransientError(`${this.nameOf(key)}: the answer broke off: ${messageOf(error)}`);
    }
  }
}

/** `bytes=0-0` for an empty range: HTTP has no way to ask for nothing, and an unreadable range gets everything. */
function rangeHeader({ offset, length }: { offset: number; length: number }): string {
  return `bytes=${offset}-${offset + Math.max(length, 1) - 1}`;
}

/** What a refused condition means, or null if the error is none. */
export function conditionOf(error: unknown): "taken" | "again" | null {
  if (!(error instanceof Error)) return null;
  const { name, status } = failureOf(error);
  if (status === 412) return "taken";
  return status === 409 && name === "ConditionalRequestConflict" ? "again" : null;
}
