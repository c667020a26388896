import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { Fixture } from "./fixture.ts";

const at = new Fixture({
  settings: { FLUSH_INTERVAL: "2s" },
  setup: "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)",
});

test("a clock that was set back between two transactions of a batch is no restored volume", async () => {
  const { pipeline, server } = at;
  await pipeline.untilCopied("public.t");
  const saved = join(server.dataDir, "pg_replslot/slot_app/state");
  await pipeline.sql("SELECT pg_replication_origin_create('ahead')");
  await pipeline.sql("CHECKPOINT");
  const then = await readFile(saved);
  const since = pipeline.lines.length;
  await pipeline.sql(
    `SELECT pg_replication_origin_session_setup('ahead');
     BEGIN; SELECT pg_replication_origin_xact_setup('0/1000', now() + interval '1 hour'); INSERT INTO t VALUES (2); COMMIT;
     SELECT pg_replication_origin_session_reset(); INSERT INTO t VALUES (3)`,
  );
  await pipeline.until("both in one batch", () =>
    pipeline.linesOf("staged", undefined, since).some(({ ["rows"]: rows }) => rows === 2),
  );
  await server.stop("immediate");
  // Postgres saves a slot at checkpoints: it goes back, and what is published is sent again.
  await writeFile(saved, then);
  await server.start();
  expect(await pipeline.differences("public.t")).toEqual([]);
});
