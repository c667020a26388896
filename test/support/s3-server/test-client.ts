import { S3Client, type S3ClientConfig } from "@aws-sdk/client-s3";
import type { S3 } from "./index.ts";

process.env["AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED"] = "true";

/** A client of the server that tries everything once. */
export function clientOf({ endpoint, region, credentials }: S3, config: S3ClientConfig = {}): S3Client {
  return new S3Client({ endpoint, region, credentials, forcePathStyle: true, maxAttempts: 1, ...config });
}

export const refused = (code: string): { name: string } => ({ name: code });
