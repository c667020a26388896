import { randomUUID } from "node:crypto";
import { openStore } from "../../src/stores/open.ts";
import { startS3 } from "../support/s3-server/index.ts";
import { storeContract, type Place } from "./contract.ts";
import { keysOf } from "./support.ts";

/**
 * By default the contract runs on the test server. With S3_TEST_BUCKET, and S3_TEST_ENDPOINT and S3_TEST_REGION for
 * stores other than AWS, it runs on that bucket instead, such as one of the gateway that .ci/ceph starts; credentials
 * come from the environment as ever.
 */
const { S3_TEST_BUCKET: bucket, S3_TEST_ENDPOINT: endpoint, S3_TEST_REGION: region } = process.env;

if (bucket === undefined) {
  storeContract("a bucket of the test server, below a prefix with odd characters", () =>
    onTestServer("/pre fix/'()*/é"),
  );
  storeContract("a whole bucket of the test server", () => onTestServer(""));
} else {
  storeContract(`the bucket ${bucket}`, () => inBucket(`s3://${bucket}/pgstage-test-${randomUUID()}`));
}

async function onTestServer(prefix: string): Promise<Place> {
  const s3 = await startS3();
  Object.assign(process.env, s3.env);
  return {
    open: () => openStore({ url: `s3://${s3.bucket}${prefix}`, endpoint: s3.endpoint }),
    clean: () => s3.close(),
  };
}

async function inBucket(url: string): Promise<Place> {
  const open = () => openStore({ url, endpoint, region });
  const clean = async (): Promise<void> => {
    const store = await open();
    await store.discardUploads(() => false);
    await store.delete(await keysOf(store, ""));
    store.close();
  };
  return { open, clean };
}
