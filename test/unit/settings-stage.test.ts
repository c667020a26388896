import { describe, expect, it } from "vitest";
import { loadSettings } from "../../src/settings/load.ts";
import { BASE, problemsBeside } from "./settings-support.ts";

describe("stage.url", () => {
  it.each([
    ["s3://bucket", "s3://bucket"],
    ["s3://my.bucket-1/a/b/", "s3://my.bucket-1/a/b"],
    ["file:///var/stage/", "file:///var/stage"],
    ["file:///with%20blank", "file:///with%20blank"],
  ])("%s", (given, url) => {
    expect(loadSettings({ env: { ...BASE, PGSTAGE_STAGE_URL: given } }).stage.url).toBe(url);
  });

  it.each([
    ["/var/stage", "is neither s3://bucket/prefix nor file:///directory"],
    ["https://bucket.s3.amazonaws.com/x", "is neither"],
    ["file://stage", "is not absolute"],
    ["file:///", "is the root directory"],
    ["file:///50%", "with % written as %25"],
    ["s3://", "is neither"],
    ["s3://b", "is not a bucket's name"],
    ["s3:///prefix", "is not a bucket's name"],
    ["s3://AKIAXX:secretkey@bucket/x", "is not a bucket's name"],
    ["s3://bucket/a//b", "has an empty, . or .. part"],
    ["s3://bucket/../b", "has an empty, . or .. part"],
    ["s3://bucket/a?region=eu", "stage.region"],
  ])("%s is refused", (url, expected) => {
    const found = problemsBeside({ PGSTAGE_STAGE_URL: url });
    expect(found).toContain(`stage.url (PGSTAGE_STAGE_URL): `);
    expect(found).toContain(expected);
    expect(found).not.toContain("secretkey");
  });

  it("has options that fit each other", () => {
    const stage = {
      PGSTAGE_STAGE_ENDPOINT: "http://127.0.0.1:9000",
      PGSTAGE_STAGE_REGION: "eu-west-1",
      PGSTAGE_STAGE_FORCE_PATH_STYLE: "true",
      PGSTAGE_STAGE_SSE: "aws:kms",
      PGSTAGE_STAGE_KMS_KEY_ID: "key",
      PGSTAGE_STAGE_STORAGE_CLASS: "STANDARD_IA",
    };
    expect(loadSettings({ env: { ...BASE, ...stage } }).stage).toEqual({
      url: "s3://bucket/prefix",
      endpoint: "http://127.0.0.1:9000",
      region: "eu-west-1",
      forcePathStyle: true,
      sse: "aws:kms",
      kmsKeyId: "key",
      storageClass: "STANDARD_IA",
    });
    expect(problemsBeside({ PGSTAGE_STAGE_KMS_KEY_ID: "key" })).toContain(
      "stage.kmsKeyId (PGSTAGE_STAGE_KMS_KEY_ID): needs stage.sse aws:kms",
    );
    expect(problemsBeside({ PGSTAGE_STAGE_KMS_KEY_ID: "key", PGSTAGE_STAGE_SSE: "AES256" })).toContain(
      "needs stage.sse aws:kms",
    );
    expect(problemsBeside({ PGSTAGE_STAGE_STORAGE_CLASS: "GLACIER" })).toContain(
      "cannot be read by Snowpipe",
    );
    expect(problemsBeside({ PGSTAGE_STAGE_ENDPOINT: "localhost:9000" })).toContain("is not a URL");
  });
});
