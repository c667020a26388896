import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { Fixture } from "./fixture.ts";

const at = new Fixture({ setup: "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)" });

test("a server that is a standby for a while, as a failover may leave it, is waited for", async () => {
  const { pipeline, server } = at;
  await pipeline.untilCopied("public.t");
  await server.stop("fast");
  await writeFile(join(server.dataDir, "standby.signal"), "");
  const since = pipeline.lines.length;
  await server.start();
  const isTold = (): boolean =>
    pipeline.lines.slice(since).some((line) => /is a standby/.test(JSON.stringify(line)));
  await pipeline.until("what it waits for", isTold);
  await pipeline.sql("SELECT pg_promote()");
  await pipeline.sql("INSERT INTO t VALUES (2)");
  expect(await pipeline.differences("public.t")).toEqual([]);
});
