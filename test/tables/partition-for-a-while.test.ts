import { expect, test } from "vitest";
import { Fixture } from "./fixture.ts";

const at = new Fixture();
const sql = async (...statements: string[]): Promise<void> => {
  for (const statement of statements) await at.pipeline.sql(statement);
};

test("a table that is a partition for a while gets what was sent as its root's", async () => {
  await sql(
    "CREATE TABLE host (id int PRIMARY KEY, v int) PARTITION BY RANGE (id)",
    "CREATE TABLE guest (id int PRIMARY KEY, v int)",
    "INSERT INTO guest VALUES (11, 1), (12, 1)",
    "CREATE TABLE guests (id int PRIMARY KEY, v int) PARTITION BY RANGE (id)",
    "CREATE TABLE guests_1 PARTITION OF guests FOR VALUES FROM (20) TO (30)",
    "INSERT INTO guests VALUES (21, 1), (22, 1)",
  );
  for (const table of ["host", "guest", "guests"]) await at.pipeline.untilCopied(`public.${table}`);
  await at.pipeline.discovered();
  const since = at.pipeline.lines.length;
  await at.pipeline.drain();
  await sql(
    "ALTER TABLE host ATTACH PARTITION guest FOR VALUES FROM (10) TO (20)",
    "ALTER TABLE host ATTACH PARTITION guests FOR VALUES FROM (20) TO (30)",
    "UPDATE host SET v = 2 WHERE id IN (11, 21)",
    "DELETE FROM host WHERE id IN (12, 22)",
    "INSERT INTO host VALUES (13, 3), (23, 3)",
    "ALTER TABLE host DETACH PARTITION guest",
    "ALTER TABLE host DETACH PARTITION guests",
  );
  await at.pipeline.start();
  expect(await at.pipeline.differences("public.host", "public.guest", "public.guests")).toEqual([]);
  expect(at.pipeline.reasonsSince(since)).toContain(
    "public.guest: it was another table's partition for a while",
  );
});
