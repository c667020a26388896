import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { Fixture } from "./fixture.ts";

/** So slow that a copy of each table takes seconds: all that follows is in the middle of one. */
const at = new Fixture({
  settings: {
    SNAPSHOT_RANGE_BYTES: "1MiB",
    SNAPSHOT_MAX_BYTES_PER_SECOND: "1MiB",
    SNAPSHOT_WORKERS: "1",
  },
});

async function twoRanges(table: string): Promise<void> {
  const { pipeline } = at;
  await pipeline.until("ranges", () => pipeline.linesOf("copied", table).length >= 2);
}

test("a partition is renamed while its root is copied: the copy goes on", async () => {
  const { pipeline } = at;
  await pipeline.sql(`
    CREATE TABLE renamed (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);
    CREATE TABLE renamed_1 PARTITION OF renamed FOR VALUES FROM (0) TO (10000);
    CREATE TABLE renamed_2 PARTITION OF renamed FOR VALUES FROM (10000) TO (20000);
    INSERT INTO renamed SELECT i, repeat(md5(i::text), 6) FROM generate_series(0, 19999) i`);
  await twoRanges("public.renamed");
  await pipeline.sql("ALTER TABLE renamed_2 RENAME TO renamed_archived");
  await pipeline.untilCopied("public.renamed");
  expect(await pipeline.differences("public.renamed")).toEqual([]);
});

test("a table whose updates are not sent is copied at one moment: a row that moved would be missed", async () => {
  const { pipeline } = at;
  await pipeline.sql(`
    CREATE TABLE inserts (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);
    CREATE TABLE inserts_1 PARTITION OF inserts FOR VALUES FROM (0) TO (100000);
    ALTER TABLE inserts_1 REPLICA IDENTITY NOTHING;
    INSERT INTO inserts SELECT i, repeat(md5(i::text), 6) FROM generate_series(0, 29999) i`);
  await twoRanges("public.inserts");
  await pipeline.drain();
  await pipeline.sql("DELETE FROM inserts WHERE id < 4000");
  await pipeline.sql("VACUUM inserts_1");
  await pipeline.sql("UPDATE inserts SET v = v || 'x' WHERE id > 20000");
  const moved = await pipeline.sql<{ id: number }>(
    "SELECT id FROM inserts_1 WHERE ctid < '(250,0)' AND id > 20000",
  );
  expect(moved.length).toBeGreaterThan(100);
  await pipeline.start();
  await pipeline.untilCopied("public.inserts");
  const folder = join(pipeline.directory, "public/inserts");
  const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((one) => one.isFile());
  const staged = new Set<string>();
  for (const { parentPath, name } of files) {
    const rows = readFileSync(join(parentPath, name), "utf8").split("\n");
    for (const row of rows) staged.add(row.split(",")[5] ?? "");
  }
  expect(moved.filter(({ id }) => !staged.has(String(id)))).toEqual([]);
});
