import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Client } from "pg";
import { wayFor } from "../../src/daemon/give-way.ts";
import { startPostgres, type EmbeddedPostgres } from "../support/postgres.ts";
import { Pipeline } from "./pipeline.ts";

describe("who waits behind a copy", () => {
  test.each([
    ["lock", 1_500, true, "wait"],
    ["lock", 2_000, true, "cancel"],
    ["lock", 5_000, true, "end"],
    ["transaction", 1_500, true, "wait"],
    ["transaction", 2_000, true, "end"],
    // Cancelling a range does not end a transaction: the snapshot would never be whole, and the other would wait for ever.
    ["transaction", 60_000, false, "wait"],
    ["lock", 60_000, false, "cancel"],
  ] as const)(
    "for a %s, for %i ms, of a session that may end (%s): %s",
    (waitsFor, waitedMs, mayEnd, way) => {
      expect(wayFor(waitsFor, waitedMs, mayEnd)).toBe(way);
    },
  );
});

/** Two seconds of patience, three more for a COPY that does not hear, a look a second; and its own work. */
const A_FEW_SECONDS = "10s";
/** So slow that a copy of the table takes two minutes: all that follows is beside it. */
const SLOW = { SNAPSHOT_RANGE_BYTES: "8MiB", SNAPSHOT_MAX_BYTES_PER_SECOND: "1MiB", SNAPSHOT_WORKERS: "2" };

describe("beside a copy, whose role may not see what others do", () => {
  let server: EmbeddedPostgres;
  let pipeline: Pipeline;
  let application: Client;
  beforeAll(async () => {
    server = await startPostgres();
    const database = await server.createDatabase("app");
    application = await server.connect({ database });
    await application.query(`
      CREATE ROLE app; CREATE ROLE reader LOGIN REPLICATION IN ROLE app; GRANT CREATE ON DATABASE app TO reader;
      CREATE TABLE zz_ticks (n int PRIMARY KEY); ALTER TABLE zz_ticks OWNER TO app;
      CREATE TABLE other (id int PRIMARY KEY, v text); ALTER TABLE other OWNER TO app;
      CREATE TABLE large (id int PRIMARY KEY, v text); ALTER TABLE large OWNER TO app;
      INSERT INTO large SELECT i, repeat(md5(i::text), 32) FROM generate_series(1, 100000) i`);
    await application.query(`SET statement_timeout = '${A_FEW_SECONDS}'`);
    pipeline = await Pipeline.start({ server, database, user: "reader", settings: SLOW });
  });
  afterAll(async () => {
    await application.end();
    await pipeline.destroy();
    await server.destroy();
  });

  /** A worker reads rows of the table now, under its lock. */
  async function isRead(): Promise<void> {
    await pipeline.until("a range that is read", async () => {
      const found = await pipeline.sql(
        "SELECT 1 FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'COPY (%large%'",
      );
      return found.length > 0;
    });
    expect(pipeline.linesOf("table copied", "public.large")).toEqual([]);
  }

  test.each([
    "ALTER TABLE large ADD COLUMN note text",
    "ALTER TABLE large ALTER id TYPE bigint",
    "VACUUM FULL large",
    "CREATE INDEX ON large (id, note)",
    "CREATE INDEX CONCURRENTLY ON other (v)",
    "REINDEX TABLE CONCURRENTLY large",
  ])("%s waits for a few seconds at most", async (statement) => {
    await isRead();
    await application.query(statement);
  });

  test("what pg_dump does does not wait at all", async () => {
    await isRead();
    await application.query(
      "BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY; SET lock_timeout = '1ms'",
    );
    await application.query("LOCK TABLE large, other IN ACCESS SHARE MODE");
    await application.query("SELECT count(v) FROM large");
    await application.query("COMMIT");
  });

  test("and the copy comes to its end, with what they made of the table", async () => {
    await pipeline.drain();
    await pipeline.start({ SNAPSHOT_MAX_BYTES_PER_SECOND: "0" });
    await pipeline.untilCopied("public.large");
    expect(await pipeline.differences()).toEqual([]);
  });
});
