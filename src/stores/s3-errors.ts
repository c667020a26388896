import { OperatorError, TransientError } from "../core/errors.ts";
import { isClassified } from "./classified.ts";

/** What was being done, so that an error can name the thing and the right that is missing. */
export interface S3Attempt {
  /** The IAM action that the request needs, such as `s3:PutObject`. */
  readonly action: string;
  readonly bucket: string;
  /** `s3://bucket/key`, or the stage's URL. */
  readonly target: string;
  /** Host or URL that was asked. */
  readonly endpoint: string;
  /** True once this process has had an answer: the address and the credentials were right at least once. */
  readonly answered: boolean;
}

/** The parts of an SDK or Node error that decisions rest on. Message texts are for people and never decide. */
export interface S3Failure {
  readonly name: string;
  readonly message: string;
  /** HTTP status, or undefined if there was no answer. */
  readonly status: number | undefined;
  /** Node's or OpenSSL's code, such as `ECONNRESET`. */
  readonly code: string | undefined;
  readonly requestId: string | undefined;
  /** The region that the answer says the bucket is in. */
  readonly region: string | undefined;
}

/**
 * Turns a failure of the SDK into a TransientError or an OperatorError. Bugs (a TypeError and the like) and errors
 * that are classified already come back as they are. The SDK's error is not kept as the cause, because it holds
 * the request with its session token; its facts are.
 */
export function classifyS3Error(error: unknown, attempt: S3Attempt): Error {
  if (!(error instanceof Error)) return new Error(String(error));
  if (isClassified(error)) return error;
  const failure = failureOf(error);
  if (isBug(error, failure)) return error;
  const cause = causeOf(failure);
  const operator = operatorError(failure, attempt);
  if (operator !== null) return new OperatorError(operator.message, operator.mend, { cause });
  return new TransientError(`${attempt.target}: ${describe(failure, attempt)}`, { cause });
}

export function failureOf(error: Error): S3Failure {
  const raw = error as Error & RawFailure;
  const header = raw.$response?.headers?.["x-amz-bucket-region"];
  return {
    name: raw.name,
    message: raw.message,
    status: raw.$metadata?.httpStatusCode,
    code: raw.code ?? raw.cause?.code,
    requestId: raw.$metadata?.requestId,
    region: header ?? raw.Region,
  };
}

/** What SDK and Node errors may carry. */
interface RawFailure {
  readonly code?: string;
  readonly cause?: { readonly code?: string };
  readonly Region?: string;
  readonly $metadata?: { readonly httpStatusCode?: number; readonly requestId?: string };
  readonly $response?: { readonly headers?: Record<string, string> };
}

function isBug(error: Error, failure: S3Failure): boolean {
  const ofTheLanguage = [TypeError, RangeError, ReferenceError].some((kind) => error instanceof kind);
  return ofTheLanguage && failure.status === undefined && failure.code === undefined;
}

function causeOf(failure: S3Failure): Error {
  const { name, message, status, code, requestId } = failure;
  return Object.assign(new Error(message), { name, status, code, requestId });
}

function describe(failure: S3Failure, attempt: S3Attempt): string {
  if (failure.status === undefined) {
    return `no answer from ${attempt.endpoint} (${failure.code ?? failure.name})`;
  }
  const request = failure.requestId === undefined ? "" : `, request ${failure.requestId}`;
  return `${attempt.action} was answered with ${failure.status} ${failure.name}${request}`;
}

interface Verdict {
  readonly message: string;
  readonly mend: string;
}

function operatorError(failure: S3Failure, attempt: S3Attempt): Verdict | null {
  if (failure.status === undefined) return withoutAnswer(failure, attempt);
  if (isPassing(failure)) return null;
  if (failure.name.startsWith("KMS.")) return keyRefused(failure, attempt);
  const named = NAMED[failure.name];
  if (named !== undefined) return named(failure, attempt);
  if (failure.status === 301) return wrongRegion(failure, attempt);
  if (failure.status === 401 || failure.status === 403) return denied(failure, attempt);
  if (failure.status < 400) return null;
  if (failure.status === 405 || failure.status === 501) return lacking(failure, attempt);
  return {
    message: `${attempt.target}: the store refuses ${attempt.action}: ${failure.status} ${failure.name}: ${failure.message}`,
    mend: "correct stage.url, stage.endpoint, stage.sse, stage.kmsKeyId or stage.storageClass",
  };
}

/** An S3-compatible store that knows only a part of the protocol. */
function lacking(failure: S3Failure, attempt: S3Attempt): Verdict {
  return {
    message: `${attempt.target}: the store does not know ${attempt.action}: ${failure.status} ${failure.name}: ${failure.message}`,
    mend: "use a store that knows multipart uploads and conditional writes (AWS S3, recent MinIO or Ceph), or correct stage.endpoint",
  };
}

const EXPIRED = ["ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"];

/**
 * Answers that pass by themselves: overload, conflicts, bytes damaged on the way, credentials that their
 * provider will renew, an upload that was taken away under a writer.
 */
const PASSING = new Set([
  "BadDigest",
  "ConditionalRequestConflict",
  ...EXPIRED,
  "IncompleteBody",
  "InvalidDigest",
  "NoSuchUpload",
  "OperationAborted",
  "RequestExpired",
  "RequestTimeout",
  "SlowDown",
  "TemporaryRedirect",
  "XAmzContentChecksumMismatch",
  "XAmzContentSHA256Mismatch",
]);

function isPassing({ name, status = 0 }: S3Failure): boolean {
  if (name === "NotImplemented" || status === 501) return false;
  const ofTheKeyService = name.startsWith("KMS.") && /(Throttling|Internal|DependencyTimeout)/.test(name);
  return status >= 500 || status === 408 || status === 429 || PASSING.has(name) || ofTheKeyService;
}

/** True if credentials were valid once and are not any more. */
export function isExpired(error: unknown): boolean {
  return error instanceof Error && EXPIRED.includes(error.name);
}

type Explain = (failure: S3Failure, attempt: S3Attempt) => Verdict;

const NAMED: Readonly<Record<string, Explain | undefined>> = {
  NoSuchBucket: (_failure, { bucket }) => ({
    message: `the bucket ${bucket} does not exist`,
    mend: `create it (aws s3 mb s3://${bucket}) or correct stage.url`,
  }),
  InvalidBucketName: (_failure, { bucket }) => ({
    message: `${JSON.stringify(bucket)} is not a valid bucket name`,
    mend: "correct stage.url (s3://bucket/prefix)",
  }),
  AccessDenied: denied,
  InvalidAccessKeyId: (_failure, { target }) => ({
    message: `${target}: the store does not know the access key`,
    mend: "give the process valid AWS credentials (AWS_ACCESS_KEY_ID, a profile, or the role of its task or pod)",
  }),
  SignatureDoesNotMatch: (_failure, { target }) => ({
    message: `${target}: the store does not accept the signature: the secret access key is not the access key's`,
    mend: "correct AWS_SECRET_ACCESS_KEY or the profile; behind a proxy, see that it keeps the Host header",
  }),
  InvalidToken: (_failure, { target }) => ({
    message: `${target}: the session token is not valid for these credentials`,
    mend: "renew the AWS credentials; AWS_SESSION_TOKEN belongs to one access key only",
  }),
  PermanentRedirect: wrongRegion,
  AuthorizationHeaderMalformed: wrongRegion,
  IllegalLocationConstraintException: wrongRegion,
  RequestTimeTooSkewed: (_failure, { target }) => ({
    message: `${target}: this machine's clock is more than 15 minutes off the store's`,
    mend: "set the clock (chronyd or systemd-timesyncd) and start again",
  }),
};

function denied(_failure: S3Failure, { action, bucket, target }: S3Attempt): Verdict {
  const onBucket = action.startsWith("s3:List");
  const resource = `arn:aws:s3:::${onBucket ? bucket : target.slice("s3://".length)}`;
  const read = "; without s3:ListBucket a missing object looks denied, too";
  return {
    message: `${target}: access denied for ${action}`,
    mend: `allow ${action} on ${resource} in the IAM policy (and look at bucket policy, KMS key policy and VPC endpoint policy)${action === "s3:GetObject" ? read : ""}`,
  };
}

function wrongRegion(failure: S3Failure, { bucket }: S3Attempt): Verdict {
  const where = failure.region === undefined ? "another region" : `region ${failure.region}`;
  return {
    message: `the bucket ${bucket} is in ${where}, not in the one that was asked`,
    mend: `set stage.region${failure.region === undefined ? " to the bucket's region" : `=${failure.region}`} (PGSTAGE_STAGE_REGION)`,
  };
}

function keyRefused(failure: S3Failure, { target }: S3Attempt): Verdict {
  return {
    message: `${target}: the KMS key cannot be used: ${failure.name}: ${failure.message}`,
    mend: "correct stage.kmsKeyId, enable the key, and allow kms:GenerateDataKey and kms:Decrypt to this role",
  };
}

const BAD_CERTIFICATE = new Set([
  "CERT_HAS_EXPIRED",
  "CERT_NOT_YET_VALID",
  "DEPTH_ZERO_SELF_SIGNED_CERT",
  "ERR_TLS_CERT_ALTNAME_INVALID",
  "SELF_SIGNED_CERT_IN_CHAIN",
  "UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
  "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
]);

/** Without an answer, a person is needed only where waiting cannot help: what never worked is set up wrongly. */
function withoutAnswer({ name, code = "" }: S3Failure, { endpoint, answered }: S3Attempt): Verdict | null {
  if (BAD_CERTIFICATE.has(code)) {
    return {
      message: `the certificate of ${endpoint} is not trusted (${code})`,
      mend: "name its authority in NODE_EXTRA_CA_CERTS, or correct stage.endpoint",
    };
  }
  if (answered) return null;
  if (name === "CredentialsProviderError" || name === "TokenProviderError") {
    return {
      message: "no AWS credentials were found",
      mend: "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or give the task or pod a role",
    };
  }
  if (code === "ENOTFOUND") {
    return {
      message: `the host of ${endpoint} does not exist`,
      mend: "correct stage.endpoint or stage.region; for most S3-compatible stores set stage.forcePathStyle=true",
    };
  }
  if (code === "EPROTO") {
    return {
      message: `${endpoint} does not speak TLS`,
      mend: "begin stage.endpoint with http:// instead of https://",
    };
  }
  return null;
}
