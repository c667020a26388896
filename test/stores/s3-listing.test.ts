import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { expect, it } from "vitest";
import { openStore } from "../../src/stores/open.ts";

it("a listing ends with its last page, also if the store gives a token with it", async () => {
  const page = `<ListBucketResult><IsTruncated>false</IsTruncated><NextContinuationToken></NextContinuationToken>
    <Contents><Key>stage/_pgstage/log/one.json</Key></Contents></ListBucketResult>`;
  const server = createServer((_request, response) => response.end(page)).listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  Object.assign(process.env, { AWS_ACCESS_KEY_ID: "any", AWS_SECRET_ACCESS_KEY: "any" });
  const store = await openStore({ url: "s3://bucket/stage", endpoint: `http://127.0.0.1:${port}` });
  try {
    const keys: string[] = [];
    for await (const key of store.list("_pgstage/log/")) if (keys.push(key) > 1) break;
    expect(keys).toEqual(["_pgstage/log/one.json"]);
  } finally {
    store.close();
    server.closeAllConnections();
    server.close();
  }
});
