import { expect, test } from "vitest";
import { Fixture } from "./fixture.ts";

const at = new Fixture({
  settings: {
    SNAPSHOT_RANGE_BYTES: "1MiB",
    SNAPSHOT_MAX_BYTES_PER_SECOND: "1MiB",
    SNAPSHOT_WORKERS: "1",
    DISCOVERY_INTERVAL: "6s",
  },
  setup: `
    CREATE DOMAIN texts AS text[];
    CREATE TABLE swapped (id int PRIMARY KEY, a text, b text, d texts);
    INSERT INTO swapped SELECT i, repeat('a', 30), repeat('b', 35), ARRAY['d'] FROM generate_series(1, 40000) i`,
});
const SWAP =
  "BEGIN; ALTER TABLE swapped RENAME a TO c; ALTER TABLE swapped RENAME b TO a; ALTER TABLE swapped RENAME c TO b; COMMIT";

test("columns that have each other's names for a while are not copied under them", async () => {
  const { pipeline } = at;
  const lines = (msg: string): number => pipeline.linesOf(msg, "public.swapped").length;
  await pipeline.until("a range", () => lines("copied") >= 1);
  await pipeline.sql(SWAP);
  const [copied, planned] = [lines("copied"), lines("copying")];
  await pipeline.until("more", () => lines("copied") >= copied + 2 || lines("copying") > planned);
  await pipeline.sql(SWAP);
  await pipeline.untilCopied("public.swapped");
  expect(await pipeline.differences("public.swapped")).toEqual([]);
});
