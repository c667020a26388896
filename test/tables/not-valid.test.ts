import { expect, test } from "vitest";
import { Fixture } from "./fixture.ts";

const at = new Fixture({ version: 18 });
const sql = async (...statements: string[]): Promise<void> => {
  for (const statement of statements) await at.pipeline.sql(statement);
};

const warned = (table: string): boolean =>
  at.pipeline.lines.some((line) => line.level === "warn" && JSON.stringify(line).includes(table));

test("a unique index whose column may still be NULL identifies nothing", async () => {
  await sql(
    "CREATE TABLE half (k int, v int)",
    "INSERT INTO half VALUES (NULL, 1), (NULL, 2), (3, 3)",
    "ALTER TABLE half ADD CONSTRAINT half_k NOT NULL k NOT VALID",
    "CREATE UNIQUE INDEX half_key ON half (k)",
    "ALTER TABLE half REPLICA IDENTITY USING INDEX half_key",
  );
  await at.pipeline.untilCopied("public.half");
  expect(warned("public.half")).toBe(true);
  expect(await at.pipeline.differences("public.half")).toEqual([]);
  await sql(
    "UPDATE half SET k = 10 + v WHERE k IS NULL",
    "ALTER TABLE half VALIDATE CONSTRAINT half_k",
    "UPDATE half SET v = v + 1",
  );
  expect(await at.pipeline.differences("public.half")).toEqual([]);
});
