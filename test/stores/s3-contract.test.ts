import { randomUUID } from "node:crypto";
import { openStore } from "../../src/stores/open.ts";
import { startS3 } from "../support/s3-server/index.ts";
import { storeContract, type Place } from "./contract.ts";
import { keysOf } from "./support.ts";

storeContract("a bucket of the test server, below a prefix with odd characters", async () =>
  placeOnTestServer("/pre fix/'()*/é"),
);
storeContract("a whole bucket of the test server", async () => placeOnTestServer(""));

async function placeOnTestServer(prefix: string): Promise<Place> {
  const s3 = await startS3();
  Object.assign(process.env, s3.env);
  return {
    open: () => openStore({ url: `s3://${s3.bucket}${prefix}`, endpoint: s3.endpoint }),
    clean: () => s3.close(),
  };
}

/**
 * Another store, such as a bucket of AWS or the gateway that .ci/ceph starts: S3_TEST_BUCKET, S3_TEST_ENDPOINT,
 * S3_TEST_REGION; credentials from the environment as ever.
 */
const { S3_TEST_BUCKET: bucket, S3_TEST_ENDPOINT: endpoint, S3_TEST_REGION: region } = process.env;

if (bucket !== undefined) {
  const credentials = { ...process.env };
  storeContract(`the bucket ${bucket}`, async () => {
    for (const name of ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"]) {
      if (credentials[name] === undefined) delete process.env[name];
      else process.env[name] = credentials[name];
    }
    const url = `s3://${bucket}/pgstage-test-${randomUUID()}`;
    const open = () => openStore({ url, endpoint, region });
    return { open, clean: async () => emptyStage(await open()) };
  });
}

async function emptyStage(store: Awaited<ReturnType<typeof openStore>>): Promise<void> {
  await store.discardUploads(() => false);
  await store.delete(await keysOf(store, ""));
  store.close();
}
