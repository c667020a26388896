import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { VERSION } from "../../src/version.ts";
import { startPostgres } from "../support/postgres.ts";
import { Pipeline } from "../tables/pipeline.ts";

/**
 * Writes down the stage that this version makes of a small database, for the tests of later versions:
 * `npx tsx test/upgrade/main.ts`. Each line is a key and its content, as JSON. Do it before a release, and keep the
 * files of earlier ones.
 */
await using server = await startPostgres();
const pipeline = await Pipeline.start({ server, database: await server.createDatabase("shop") });
try {
  await pipeline.sql(`
    CREATE TABLE orders (id bigint PRIMARY KEY, customer text, total numeric(12,2), at timestamptz);
    CREATE TABLE visits (page text);
    CREATE TABLE "Odd ""name""/é" (id int PRIMARY KEY);
    INSERT INTO orders SELECT i, 'customer ' || i, i / 7.0, '2026-11-22 07:00:00+00' FROM generate_series(1, 20) i;
    INSERT INTO visits VALUES ('/'), (NULL), ('')`);
  for (const table of ["public.orders", "public.visits", 'public.Odd "name"/é'])
    await pipeline.untilCopied(table);
  await pipeline.sql("UPDATE orders SET total = 'NaN' WHERE id = 1; DELETE FROM orders WHERE id = 2");
  await pipeline.sql("UPDATE orders SET id = 100 WHERE id = 3; INSERT INTO visits VALUES ('/shop')");
  await pipeline.sql(
    "ALTER TABLE orders ADD note text; INSERT INTO orders VALUES (101, 'new', 1, NULL, 'with a note')",
  );
  await pipeline.sql("TRUNCATE visits");
  await pipeline.settled();
  await pipeline.drain();
  const names = await readdir(pipeline.directory, { recursive: true, withFileTypes: true });
  const paths = names.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  const lines = await Promise.all(
    paths
      .toSorted()
      .map(async (path) =>
        JSON.stringify([path.slice(pipeline.directory.length + 1), await readFile(path, "utf8")]),
      ),
  );
  await writeFile(join(import.meta.dirname, `stage-${VERSION}.txt`), `${lines.join("\n")}\n`);
  console.log(`${lines.length} files`);
} finally {
  await pipeline.destroy();
}
