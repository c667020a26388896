import {
  DeleteObjectsCommand,
  ListMultipartUploadsCommand,
  ListObjectsV2Command,
  type ListObjectsV2CommandOutput,
  type MultipartUpload,
} from "@aws-sdk/client-s3";
import { Upload as ManagedUpload } from "@aws-sdk/lib-storage";
import PQueue from "p-queue";
import { isOurKey, safeKey, safePrefix } from "./keys.ts";
import { probeStore } from "./probe.ts";
import { s3ClientFactory, type S3Address } from "./s3-client.ts";
import { hasS3Checksum, publishS3Bytes, publishS3Upload, putS3IfAbsent } from "./s3-publish.ts";
import { S3Requests, type S3Writing } from "./s3-requests.ts";
import { abortS3Upload, beginS3Upload, MIN_PART_BYTES } from "./s3-upload.ts";
import type { ProbeResult, Receipt, Store, Upload } from "./store.ts";

/** S3 takes this many keys in one DeleteObjects. */
const KEYS_PER_DELETE = 1000;

const ABORTS_AT_ONCE = 16;

export interface S3Options extends S3Address, S3Writing {
  readonly bucket: string;
  /** Without slashes at its ends; empty for the whole bucket. */
  readonly prefix: string;
}

/** A stage in a bucket of S3, or of a store that speaks its protocol. */
export class S3Store implements Store {
  readonly url: string;
  readonly minPartBytes = MIN_PART_BYTES;
  readonly #requests: S3Requests;

  private constructor(url: string, requests: S3Requests) {
    this.url = url;
    this.#requests = requests;
  }

  /** Sends nothing yet. Rejects with a SettingsError if the region is not known. */
  static async open(options: S3Options): Promise<S3Store> {
    const { bucket, prefix } = options;
    const requests = new S3Requests({
      makeClient: await s3ClientFactory(options),
      bucket,
      prefix: prefix === "" ? "" : `${prefix}/`,
      writing: options,
      endpoint: options.endpoint,
    });
    return new S3Store(`s3://${bucket}${prefix === "" ? "" : `/${prefix}`}`, requests);
  }

  async begin(key: string): Promise<Upload> {
    return beginS3Upload(this.#requests, safeKey(key));
  }

  async publish(key: string, receipt: Receipt): Promise<"published" | "gone"> {
    return publishS3Upload(this.#requests, safeKey(key), receipt);
  }

  async publishBytes(key: string, bytes: Buffer, checksum: string): Promise<void> {
    await publishS3Bytes({ requests: this.#requests, key: safeKey(key), bytes, checksum });
  }

  async has(key: string, checksum: string): Promise<boolean> {
    return hasS3Checksum(this.#requests, safeKey(key), checksum);
  }

  async discardUploads(isNamed: (receiptId: string) => boolean): Promise<number> {
    let discarded = 0;
    for await (const uploads of this.#uploads()) {
      const leftovers = uploads
        .map(({ Key = "", UploadId = "" }) => ({
          key: Key.slice(this.#requests.prefix.length),
          id: UploadId,
        }))
        .filter(({ key, id }) => isOurKey(key) && !isNamed(id));
      const queue = new PQueue({ concurrency: ABORTS_AT_ONCE });
      await queue.addAll(
        leftovers.map(
          ({ key, id }) =>
            () =>
              abortS3Upload(this.#requests, key, id),
        ),
      );
      discarded += leftovers.length;
    }
    return discarded;
  }

  async put(key: string, bytes: Buffer): Promise<void> {
    const { client, writing } = this.#requests;
    const params = {
      ...this.#requests.at(safeKey(key)),
      ...writing,
      ContentType: key.endsWith(".json") ? "application/json" : "application/octet-stream",
      Body: bytes,
    };
    await this.#requests.run("s3:PutObject", key, () => new ManagedUpload({ client, params }).done());
  }

  async putIfAbsent(key: string, bytes: Buffer): Promise<"created" | "exists"> {
    return putS3IfAbsent(this.#requests, safeKey(key), bytes);
  }

  async get(key: string, range?: { offset: number; length: number }): Promise<Buffer | null> {
    return this.#requests.get(safeKey(key), range);
  }

  async *list(prefix: string, options?: { startAfter?: string }): AsyncIterable<string> {
    const { prefix: root } = this.#requests;
    const startAfter = options?.startAfter === undefined ? {} : { StartAfter: root + options.startAfter };
    for await (const page of this.#pages(safePrefix(prefix), startAfter)) {
      // Consoles and copying tools make empty objects whose names end in a slash, to show a folder: no files.
      for (const { Key = "/" } of page.Contents ?? []) if (!Key.endsWith("/")) yield Key.slice(root.length);
    }
  }

  async listFolders(prefix: string): Promise<string[]> {
    const from = this.#requests.prefix.length + safePrefix(prefix).length;
    const folders: string[] = [];
    for await (const page of this.#pages(prefix, { Delimiter: "/" })) {
      for (const { Prefix } of page.CommonPrefixes ?? [])
        if (Prefix !== undefined) folders.push(Prefix.slice(from));
    }
    return folders;
  }

  async delete(keys: readonly string[]): Promise<void> {
    for (let at = 0; at < keys.length; at += KEYS_PER_DELETE) {
      await this.#deleteSome(keys.slice(at, at + KEYS_PER_DELETE).map(safeKey));
    }
  }

  async probe(): Promise<ProbeResult[]> {
    return probeStore(this);
  }

  close(): void {
    this.#requests.client.destroy();
  }

  async #deleteSome(keys: readonly string[]): Promise<void> {
    const { bucket, client } = this.#requests;
    const Objects = keys.map((key) => ({ Key: this.#requests.at(key).Key }));
    const command = new DeleteObjectsCommand({ Bucket: bucket, Delete: { Objects, Quiet: true } });
    const action = "s3:DeleteObject";
    const { Errors = [] } = await this.#requests.run(action, keys[0] ?? "", () => client.send(command));
    const failed = Errors.find(({ Code }) => Code !== "NoSuchKey");
    if (failed === undefined) return;
    // One refused key of many is told in the body of a 200.
    const status = failed.Code === "AccessDenied" ? 403 : 500;
    const error = Object.assign(new Error(failed.Message), {
      name: failed.Code,
      $metadata: { httpStatusCode: status },
    });
    throw this.#requests.classify(error, action, (failed.Key ?? "").slice(this.#requests.prefix.length));
  }

  async *#pages(
    prefix: string,
    options: { StartAfter?: string; Delimiter?: string },
  ): AsyncIterable<ListObjectsV2CommandOutput> {
    const { bucket, client, prefix: root } = this.#requests;
    let token: string | undefined;
    do {
      const command = new ListObjectsV2Command({
        Bucket: bucket,
        Prefix: root + prefix,
        ...options,
        ...(token !== undefined && { ContinuationToken: token }),
      });
      const page = await this.#requests.run("s3:ListBucket", prefix, () => client.send(command));
      yield page;
      // Some stores give one with the last page, too, if only an empty one, which would begin the listing again.
      token = page.IsTruncated === true ? page.NextContinuationToken : undefined;
    } while (token !== undefined);
  }

  /** Uploads below the prefix, by pages, that are begun and neither completed nor aborted. */
  async *#uploads(): AsyncIterable<MultipartUpload[]> {
    const { bucket, client, prefix } = this.#requests;
    let next: { KeyMarker?: string; UploadIdMarker?: string } = {};
    for (;;) {
      const command = new ListMultipartUploadsCommand({ Bucket: bucket, Prefix: prefix, ...next });
      const page = await this.#requests.run("s3:ListBucketMultipartUploads", "", () => client.send(command));
      yield page.Uploads ?? [];
      const { IsTruncated, NextKeyMarker, NextUploadIdMarker } = page;
      if (IsTruncated !== true || NextKeyMarker === undefined) return;
      next = {
        KeyMarker: NextKeyMarker,
        ...(NextUploadIdMarker !== undefined && { UploadIdMarker: NextUploadIdMarker }),
      };
    }
  }
}
