import type { IncomingMessage } from "node:http";
import type { Bucket, ObjectRecord } from "./bucket.ts";
import type { Route } from "./route.ts";

/** What a bucket tells its listeners, as S3's event notifications do. */
export interface ObjectCreated {
  readonly eventName: "ObjectCreated:Put" | "ObjectCreated:CompleteMultipartUpload" | "ObjectCreated:Copy";
  readonly bucket: string;
  readonly key: string;
  /** Bytes. */
  readonly size: number;
  readonly eTag: string;
  /** ISO 8601. */
  readonly eventTime: string;
}

/** Conditions that a weaker store than S3 ignores. */
export interface IgnoredConditions {
  readonly put?: boolean;
  readonly complete?: boolean;
}

/** One request, authorised, on a bucket that exists. */
export interface Context {
  readonly route: Route;
  readonly request: IncomingMessage;
  readonly bucket: Bucket;
  readonly buckets: ReadonlyMap<string, Bucket>;
  readonly ignoredConditions: IgnoredConditions;
  readonly created: (eventName: ObjectCreated["eventName"], object: ObjectRecord) => void;
}

/** An answer that says yes. */
export interface Answer {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  /** XML text, or pieces of an object. */
  readonly body?: string | { readonly bytes: number; readonly pieces: AsyncIterable<Buffer> };
  /** Of the body that a HEAD does not send. */
  readonly contentLength?: number;
}

export function xmlAnswer(body: string, headers: Readonly<Record<string, string>> = {}): Answer {
  return { status: 200, headers: { "content-type": "application/xml", ...headers }, body };
}
