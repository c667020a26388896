import { expect, test } from "vitest";
import { Fixture } from "./fixture.ts";

const at = new Fixture({
  setup: `CREATE TYPE mood AS ENUM ('good', 'bad');
    CREATE TYPE note AS (n int, m mood);
    CREATE TABLE moods (id int PRIMARY KEY, m mood[]); INSERT INTO moods VALUES (1, '{good,bad}');
    CREATE TABLE notes (id int PRIMARY KEY, n note); INSERT INTO notes VALUES (1, '(1,)')`,
});

test.each([
  {
    table: "moods",
    there: "ALTER TYPE mood RENAME VALUE 'good' TO 'fine'",
    insert: "INSERT INTO moods VALUES (2, '{fine}')",
    back: "ALTER TYPE mood RENAME VALUE 'fine' TO 'good'",
  },
  {
    table: "notes",
    there: "ALTER TYPE note ADD ATTRIBUTE more text",
    insert: "INSERT INTO notes VALUES (2, '(2,,more)')",
    back: "ALTER TYPE note DROP ATTRIBUTE more",
  },
])("a type that is altered and altered back leaves no text of $table behind", async ({ table, ...steps }) => {
  const { pipeline } = at;
  await pipeline.untilCopied(`public.${table}`);
  await pipeline.discovered();
  await pipeline.drain();
  for (const statement of [steps.there, steps.insert, steps.back]) await pipeline.sql(statement);
  await pipeline.start();
  expect(await pipeline.differences(`public.${table}`)).toEqual([]);
});
