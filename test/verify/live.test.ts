import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterEach, expect, test } from "vitest";
import { Daemon, killDaemons } from "../support/daemon.ts";
import { startPostgres } from "../support/postgres.ts";
import { compareStageWithSource, differences } from "../support/rebuild.ts";

afterEach(killDaemons);

test("compares at one moment while the real daemon and writers go on", { timeout: 240_000 }, async () => {
  await using server = await startPostgres();
  const directory = await mkdtemp(join(tmpdir(), "pgstage-test-"));
  const database = await server.createDatabase();
  const place = { database };
  await server.sql(
    `CREATE TABLE keyed (id int PRIMARY KEY, n int NOT NULL DEFAULT 0, note text);
     CREATE TABLE bag (a int, b text); ALTER TABLE bag REPLICA IDENTITY FULL;
     INSERT INTO keyed SELECT i, 0, repeat('x', i % 3000) FROM generate_series(1, 5000) i;
     INSERT INTO bag SELECT i % 100, 'b' FROM generate_series(1, 2000) i`,
    undefined,
    place,
  );
  const daemon = await Daemon.start({
    source: server.url(database),
    stage: { PGSTAGE_STAGE_URL: pathToFileURL(directory).href },
  });
  let over = false;
  const write = async (seed: number): Promise<void> => {
    const client = await server.connect(place);
    for (let n = seed; !over; n += 7) {
      await client.query("UPDATE keyed SET n = n + 1 WHERE id % 500 = $1", [n % 500]);
      await client.query("UPDATE bag SET a = a + 1 WHERE ctid = (SELECT ctid FROM bag OFFSET $1 LIMIT 1)", [
        n % 1000,
      ]);
      await client.query("DELETE FROM keyed WHERE id = $1", [n % 5000]);
      await client.query("INSERT INTO keyed VALUES ($1, 1, NULL) ON CONFLICT DO NOTHING", [(n * 3) % 6000]);
    }
    await client.end();
  };
  const writers = Promise.all([write(1), write(2)]);
  try {
    const copied = ({ phase }: { readonly phase: string }): boolean => phase === "copied";
    await daemon.until(({ tables }) => tables.length === 2 && tables.every(copied), "copied");
    for (let round = 0; round < 3; round++) {
      const verdict = await compareStageWithSource(directory, server.url(database), { timeoutMs: 60_000 });
      expect(differences(verdict)).toEqual([]);
      expect(verdict.tables.map(({ table }) => table)).toEqual(["public.bag", "public.keyed"]);
    }
  } finally {
    over = true;
    await writers;
  }
  await daemon.drain();
  expect(differences(await compareStageWithSource(directory, server.url(database)))).toEqual([]);
  await rm(directory, { recursive: true });
});
