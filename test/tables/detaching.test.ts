import { expect, test } from "vitest";
import { Fixture } from "./fixture.ts";

const at = new Fixture();
const sql = async (...statements: string[]): Promise<void> => {
  for (const statement of statements) await at.pipeline.sql(statement);
};

const warned = (table: string): boolean =>
  at.pipeline.lines.some((line) => line.level === "warn" && JSON.stringify(line).includes(table));

test("a partition that is being detached is not the root's any more", async () => {
  await sql(
    "CREATE TABLE leaving (id int PRIMARY KEY, v int) PARTITION BY RANGE (id)",
    "CREATE TABLE leaving_1 PARTITION OF leaving FOR VALUES FROM (0) TO (10)",
    "CREATE TABLE leaving_2 PARTITION OF leaving FOR VALUES FROM (10) TO (20)",
    "INSERT INTO leaving VALUES (1, 1), (11, 1)",
  );
  await at.pipeline.untilCopied("public.leaving");
  const [reader, owner] = [
    await at.server.connect({ database: "app" }),
    await at.server.connect({ database: "app" }),
  ];
  try {
    await reader.query("BEGIN; SELECT FROM leaving");
    await owner.query("SET statement_timeout = 500");
    const detached = owner.query("ALTER TABLE leaving DETACH PARTITION leaving_2 CONCURRENTLY");
    await expect(detached).rejects.toThrow("canceling statement");
  } finally {
    await Promise.all([reader.end(), owner.end()]);
  }
  await sql("INSERT INTO leaving_2 VALUES (12, 1)", "DELETE FROM leaving_2 WHERE id = 11");
  expect(await at.pipeline.differences("public.leaving")).toEqual([]);
  expect(warned("leaving_2")).toBe(true);
  await sql("ALTER TABLE leaving DETACH PARTITION leaving_2 FINALIZE");
  expect(await at.pipeline.differences("public.leaving", "public.leaving_2")).toEqual([]);
});
