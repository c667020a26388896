import { S3Client, type S3ClientConfig } from "@aws-sdk/client-s3";
import { messageOf, SettingsError } from "../core/errors.ts";

/** How to reach the store. Credentials come from the SDK's default chain. */
export interface S3Address {
  readonly endpoint?: string | undefined;
  readonly region?: string | undefined;
  /** By default only with an endpoint: stores other than AWS rarely have a host name per bucket. */
  readonly forcePathStyle?: boolean | undefined;
  readonly timeouts?: Partial<S3Timeouts> | undefined;
}

interface S3Timeouts {
  readonly connectMs: number;
  /** Longest silence of a connection while a request is under way. */
  readonly idleMs: number;
  /** Longest time from the first byte of a request to the head of its answer. */
  readonly requestMs: number;
}

/**
 * The SDK has no limits of its own: a connection that a firewall forgot would hang for ever. Silence finds that
 * out; the limit on the whole request is wide, because a slow line may need minutes for a part.
 */
const TIMEOUTS: S3Timeouts = { connectMs: 10_000, idleMs: 30_000, requestMs: 300_000 };

/** Attempts in all; whoever calls a store decides about more. */
const MAX_ATTEMPTS = 3;

/** The region in the signature for stores that have none. */
const ANY_REGION = "us-east-1";

/** Makes clients, with their region known. Rejects with a SettingsError if no region is set anywhere. */
export async function s3ClientFactory(address: S3Address): Promise<() => S3Client> {
  // The SDK's announcement that it will want a newer Node some day is not for who runs this.
  process.env["AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED"] ??= "true";
  const config = configOf(address);
  const region = await regionOf(new S3Client(config), address);
  return () => new S3Client({ ...config, region });
}

async function regionOf(client: S3Client, { endpoint }: S3Address): Promise<string> {
  try {
    return await client.config.region();
  } catch (error) {
    if (endpoint !== undefined) return ANY_REGION;
    throw new SettingsError([
      `stage.region: no AWS region is set; set it to the bucket's region (PGSTAGE_STAGE_REGION or AWS_REGION): ${messageOf(error)}`,
    ]);
  } finally {
    client.destroy();
  }
}

/** The SDK hands its configuration on to the default credential chain, which knows one thing more. */
type Config = S3ClientConfig & { readonly ignoreCache: boolean };

function configOf({ endpoint, region, forcePathStyle, timeouts }: S3Address): Config {
  const { connectMs, idleMs, requestMs } = { ...TIMEOUTS, ...timeouts };
  return {
    ...(endpoint !== undefined && { endpoint }),
    ...(region !== undefined && { region }),
    forcePathStyle: forcePathStyle ?? endpoint !== undefined,
    maxAttempts: MAX_ATTEMPTS,
    // A new client reads the credentials file anew, which somebody may have renewed.
    ignoreCache: true,
    // With `Expect: 100-continue` the SDK opens a connection for every part, and waits the whole request timeout
    // for stores and proxies that never answer it.
    expectContinueHeader: false,
    requestHandler: {
      connectionTimeout: connectMs,
      socketTimeout: idleMs,
      requestTimeout: requestMs,
      throwOnRequestTimeout: true,
    },
  };
}
