import { expect, test } from "vitest";
import { hasLostIdentity, publicationsOf } from "../../src/postgres/publication.ts";
import { Fixture } from "./fixture.ts";

const at = new Fixture({
  setup: `
    CREATE TABLE two_levels (id int, k int) PARTITION BY RANGE (id);
    CREATE TABLE level_1 PARTITION OF two_levels FOR VALUES FROM (0) TO (100) PARTITION BY RANGE (k);
    CREATE TABLE level_2 PARTITION OF level_1 FOR VALUES FROM (0) TO (100);
    ALTER TABLE two_levels REPLICA IDENTITY FULL;
    ALTER TABLE level_2 REPLICA IDENTITY FULL;
    INSERT INTO two_levels VALUES (1, 1);
    CREATE UNLOGGED TABLE unlogged PARTITION OF two_levels FOR VALUES FROM (100) TO (200);
    ALTER TABLE unlogged REPLICA IDENTITY FULL;
    INSERT INTO two_levels VALUES (100, 1)`,
});

test.each([
  { level: "level_1", is: "has no rows", lost: false },
  { level: "level_2", is: "has rows", lost: true },
  { level: "unlogged", is: "is not published", lost: false },
])("$level $is: nothing identifies them, and an UPDATE fails: $lost", async ({ level, lost }) => {
  const { pipeline, server } = at;
  await pipeline.untilCopied("public.two_levels");
  const client = await server.connect({ database: "app" });
  try {
    await client.query("BEGIN");
    await client.query(`ALTER TABLE ${level} REPLICA IDENTITY NOTHING`);
    expect(await hasLostIdentity(client, publicationsOf("pgstage"))).toBe(lost);
    const update = client.query("UPDATE two_levels SET k = 2");
    if (lost) await expect(update).rejects.toThrow("does not have a replica identity");
    else await update;
  } finally {
    await client.query("ROLLBACK");
    await client.end();
  }
});
