import { isAbsolute } from "node:path";
import { fileURLToPath } from "node:url";
import { SettingsError } from "../core/errors.ts";
import type { Store } from "./store.ts";

/** The `stage` settings. Credentials come from the AWS SDK's default chain. */
export interface StageOptions {
  /** `s3://bucket/prefix` or `file:///directory`. */
  readonly url: string;
  readonly endpoint?: string | undefined;
  readonly region?: string | undefined;
  /** By default only if there is an endpoint. */
  readonly forcePathStyle?: boolean | undefined;
  readonly sse?: string | undefined;
  readonly kmsKeyId?: string | undefined;
  readonly storageClass?: string | undefined;
}

export type StageLocation =
  | { readonly kind: "s3"; readonly bucket: string; readonly prefix: string }
  | { readonly kind: "directory"; readonly path: string };

/** Opens the stage without touching it. Rejects with a SettingsError if the URL or the region is missing or wrong. */
export async function openStore(options: StageOptions): Promise<Store> {
  const location = parseStageUrl(options.url);
  switch (location.kind) {
    case "s3": {
      // Loaded only here: the SDK costs a stage in a directory a fifth of a second and 40 MB.
      const { S3Store } = await import("./s3.ts");
      return S3Store.open({ ...options, bucket: location.bucket, prefix: location.prefix });
    }
    case "directory": {
      const { DirectoryStore } = await import("./directory.ts");
      return new DirectoryStore(location.path);
    }
    default:
      return location satisfies never;
  }
}

/** Reads a stage URL. An S3 key is taken as it stands, as the AWS CLI does; a file URL is decoded. Throws a SettingsError. */
export function parseStageUrl(url: string): StageLocation {
  const s3 = /^s3:\/\/([^/?#]+)(?:\/(.*))?$/s.exec(url);
  if (s3?.[1] !== undefined)
    return { kind: "s3", bucket: s3[1], prefix: (s3[2] ?? "").replace(/^\/+|\/+$/g, "") };
  if (url.startsWith("file:")) return { kind: "directory", path: pathOf(url) };
  throw wrongUrl(url, "it is neither s3://bucket/prefix nor file:///directory");
}

function pathOf(url: string): string {
  try {
    const path = fileURLToPath(url);
    if (url.startsWith("file:///") && isAbsolute(path)) return path;
  } catch {
    throw wrongUrl(url, "it is not a file URL");
  }
  throw wrongUrl(url, "the directory must be absolute: file:///directory");
}

function wrongUrl(url: string, why: string): SettingsError {
  return new SettingsError([`stage.url: ${JSON.stringify(url)}: ${why}`]);
}
