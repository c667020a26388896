import { describe, expect, it } from "vitest";
import { OperatorError, TransientError } from "../../src/core/errors.ts";
import { classifyS3Error, type S3Attempt } from "../../src/stores/s3-errors.ts";

const attempt: S3Attempt = {
  action: "s3:PutObject",
  bucket: "bucket",
  target: "s3://bucket/stage/key",
  endpoint: "https://store.example",
  answered: true,
};

/** An error as the SDK throws it after an answer. */
function answered(name: string, httpStatusCode: number, more: object = {}): Error {
  const $response = { headers: {}, body: { req: { getHeader: () => "the-session-token" } } };
  return Object.assign(new Error(`${name} happened`), {
    name,
    $metadata: { httpStatusCode },
    $response,
    ...more,
  });
}

/** An error as Node or the SDK throws it without one. */
function unanswered(code: string, name = "Error"): Error {
  return Object.assign(new Error(`connect ${code}`), { code, name });
}

describe("classifyS3Error", () => {
  it.each([
    answered("SlowDown", 503),
    answered("ServiceUnavailable", 503),
    answered("InternalError", 500),
    answered("Unknown", 502),
    answered("Throttling", 429),
    answered("RequestTimeout", 400),
    answered("ExpiredToken", 400),
    answered("ExpiredTokenException", 403),
    answered("BadDigest", 400),
    answered("XAmzContentSHA256Mismatch", 400),
    answered("OperationAborted", 409),
    answered("TemporaryRedirect", 307),
    answered("KMS.ThrottlingException", 400),
    answered("KMS.KMSInternalException", 400),
    unanswered("ECONNRESET"),
    unanswered("ECONNREFUSED"),
    unanswered("EPIPE"),
    unanswered("EAI_AGAIN"),
    unanswered("ETIMEDOUT", "TimeoutError"),
    Object.assign(new Error("silent"), { name: "TimeoutError" }),
    unanswered("ENOTFOUND"),
    Object.assign(new Error("no provider"), { name: "CredentialsProviderError" }),
  ])("waits for what passes: $name $code", (error) => {
    expect(classifyS3Error(error, attempt)).toBeInstanceOf(TransientError);
  });

  it.each([
    answered("NoSuchBucket", 404),
    answered("AccessDenied", 403),
    answered("AllAccessDisabled", 403),
    answered("Forbidden", 403),
    answered("InvalidAccessKeyId", 403),
    answered("SignatureDoesNotMatch", 403),
    answered("InvalidToken", 400),
    answered("PermanentRedirect", 301),
    answered("AuthorizationHeaderMalformed", 400, { Region: "eu-west-1" }),
    answered("RequestTimeTooSkewed", 403),
    answered("KMS.NotFoundException", 400),
    answered("KMS.DisabledException", 400),
    answered("InvalidStorageClass", 400),
    answered("InvalidRequest", 400),
    answered("MethodNotAllowed", 405),
    answered("NotImplemented", 501),
    unanswered("DEPTH_ZERO_SELF_SIGNED_CERT"),
    unanswered("CERT_HAS_EXPIRED"),
  ])("asks a person to mend what does not: $name $code", (error) => {
    const classified = classifyS3Error(error, attempt);
    expect(classified).toBeInstanceOf(OperatorError);
    expect((classified as OperatorError).mend).not.toBe("");
  });

  it.each([
    unanswered("ENOTFOUND"),
    unanswered("EPROTO"),
    Object.assign(new Error("no provider"), { name: "CredentialsProviderError" }),
  ])("takes what never worked for a wrong setup: $name $code", (error) => {
    expect(classifyS3Error(error, { ...attempt, answered: false })).toBeInstanceOf(OperatorError);
  });

  it.each([unanswered("ECONNREFUSED"), unanswered("ECONNRESET"), answered("ExpiredToken", 400)])(
    "waits for a store that may only be late: $name $code",
    (error) => {
      expect(classifyS3Error(error, { ...attempt, answered: false })).toBeInstanceOf(TransientError);
    },
  );

  it.each([answered("MethodNotAllowed", 405), answered("NotImplemented", 501)])(
    "says that a store lacks what is asked of it: $name",
    (error) => {
      const { message, mend } = classifyS3Error(error, attempt) as OperatorError;
      expect(message).toContain(`the store does not know ${attempt.action}`);
      expect(mend).toContain("use a store that knows multipart uploads and conditional writes");
    },
  );

  it("names the region of the bucket", () => {
    const redirect = answered("PermanentRedirect", 301, {
      $response: { headers: { "x-amz-bucket-region": "eu-west-1" } },
    });
    expect(classifyS3Error(redirect, attempt)).toMatchObject({
      mend: expect.stringContaining("stage.region=eu-west-1"),
    });
  });

  it("does not take the region that every refusal carries for the reason", () => {
    const denied = answered("AccessDenied", 403, {
      $response: { headers: { "x-amz-bucket-region": "eu-west-1" } },
    });
    expect(classifyS3Error(denied, attempt).message).toContain("access denied");
  });

  it("keeps facts as the cause, but not the request with its token", () => {
    const { cause } = classifyS3Error(
      answered("SlowDown", 503, { $metadata: { httpStatusCode: 503, requestId: "4442587F" } }),
      attempt,
    );
    expect(cause).toMatchObject({ name: "SlowDown", status: 503, requestId: "4442587F" });
    expect(cause).not.toHaveProperty("$response");
  });

  it("leaves bugs and what is classified already as they are", () => {
    for (const error of [
      new TypeError("bug"),
      new RangeError("bug"),
      new TransientError("x"),
      new OperatorError("x", "y"),
    ]) {
      expect(classifyS3Error(error, attempt)).toBe(error);
    }
  });
});
