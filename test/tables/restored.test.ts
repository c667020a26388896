import { execFileSync } from "node:child_process";
import { readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startPostgres, type EmbeddedPostgres } from "../support/postgres.ts";
import { Pipeline } from "./pipeline.ts";

let server: EmbeddedPostgres;
beforeAll(async () => {
  server = await startPostgres();
});
afterAll(() => server.destroy());

/** A restore takes its time: what is in the log has committed two minutes earlier. */
async function makeOlder(log: string): Promise<void> {
  const files = await readdir(log, { recursive: true, withFileTypes: true });
  for (const file of files.filter((one) => one.isFile())) {
    const path = join(file.parentPath, file.name);
    const document = JSON.parse(await readFile(path, "utf8")) as Record<string, unknown>;
    for (const field of ["time", "firstCommittedAt", "committedAt"]) {
      const time = document[field];
      if (typeof time === "string") document[field] = new Date(Date.parse(time) - 120_000).toISOString();
    }
    await writeFile(path, JSON.stringify(document));
  }
}

test("a volume that was restored, and has grown beyond what is staged, stops the daemon", async () => {
  const database = await server.createDatabase("back");
  await server.sql("CREATE TABLE t (id int PRIMARY KEY, v text)", [], { database });
  const pipeline = await Pipeline.start({ server, database });
  try {
    await pipeline.untilCopied("public.t");
    await pipeline.drain();
    await server.stop("immediate");
    execFileSync("cp", ["-a", server.dataDir, `${server.dataDir}.bak`]);
    await server.start();
    await pipeline.start();
    await pipeline.sql("INSERT INTO t SELECT i, 'lost by the restore' FROM generate_series(1, 2000) i");
    const staged = (): boolean => pipeline.linesOf("staged").some(({ ["rows"]: rows }) => rows === 2000);
    await pipeline.until("the rows", staged);
    await pipeline.drain();
    await server.stop("immediate");
    await rm(server.dataDir, { recursive: true });
    await rename(`${server.dataDir}.bak`, server.dataDir);
    await server.start();
    await makeOlder(join(pipeline.directory, "_pgstage/log"));
    await pipeline.sql("INSERT INTO t SELECT i, 'new history' FROM generate_series(3001, 3100) i");
    await pipeline.sql("CREATE TABLE filler AS SELECT repeat('f', 300) FROM generate_series(1, 20000) i");
    await pipeline.start();
    const end = pipeline.until<never>("the end", () => null);
    await expect(end).rejects.toMatchObject({
      name: "OperatorError",
      message: expect.stringMatching(/went back in time/) as string,
    });
  } finally {
    await pipeline.destroy();
  }
}, 180_000);
