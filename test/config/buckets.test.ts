import {
  PutBucketLifecycleConfigurationCommand,
  PutBucketNotificationConfigurationCommand,
  S3Client,
} from "@aws-sdk/client-s3";
import { describe, expect, it } from "vitest";
import { json } from "./files.ts";

/** The XML that the SDK would send; it leaves out members that S3's model does not have. */
async function sent(command: object): Promise<string> {
  let body = "";
  const client = new S3Client({
    region: "eu-central-1",
    credentials: { accessKeyId: "a", secretAccessKey: "b" },
    requestHandler: {
      handle(request: { body: string }) {
        body = String(request.body);
        throw new Error("enough");
      },
    },
    maxAttempts: 1,
  });
  await expect(client.send(command as never)).rejects.toThrow("enough");
  return body;
}

/** All values at the ends of a document, as text. */
function leaves(value: unknown): string[] {
  return typeof value === "object" && value !== null ? Object.values(value).flatMap(leaves) : [String(value)];
}

const Bucket = "my-bucket";

process.env["AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED"] = "true";

describe("config/s3/lifecycle.json", () => {
  const rules = json("s3/lifecycle.json") as {
    Rules: { Filter: { Prefix: string }; AbortIncompleteMultipartUpload?: { DaysAfterInitiation: number } }[];
  };

  it("is as S3's model has it", async () => {
    const xml = await sent(
      new PutBucketLifecycleConfigurationCommand({ Bucket, LifecycleConfiguration: rules as never }),
    );
    for (const leaf of leaves(rules)) expect(xml).toContain(`>${leaf}<`);
  });

  it("ends unfinished uploads late enough for an outage, and touches nothing that is published", () => {
    const aborts = rules.Rules.flatMap(({ AbortIncompleteMultipartUpload: abort }) => abort ?? []);
    expect(aborts).toHaveLength(1);
    expect(aborts[0]?.DaysAfterInitiation).toBeGreaterThanOrEqual(7);
    expect(JSON.stringify(rules)).not.toMatch(/"Expiration"|"Transitions"/);
  });
});

describe("config/s3/notification.json", () => {
  const notification = json("s3/notification.json") as { QueueConfigurations: [{ Events: string[] }] };

  it("is as S3's model has it", async () => {
    const xml = await sent(
      new PutBucketNotificationConfigurationCommand({
        Bucket,
        NotificationConfiguration: notification as never,
      }),
    );
    for (const leaf of leaves(notification)) expect(xml).toContain(`>${leaf}<`);
  });

  it("tells of every way in which an object appears: PUT, and the end of a multipart upload", () => {
    expect(notification.QueueConfigurations[0].Events).toEqual(["s3:ObjectCreated:*"]);
  });
});
