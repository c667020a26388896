import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Client } from "pg";
import { startPostgres, type EmbeddedPostgres } from "../support/postgres.ts";
import { differences, type Verdict } from "../support/rebuild.ts";
import { COLUMN_CASES } from "../support/schemas-columns.ts";
import { OTHER_CASES } from "../support/schemas-rest.ts";
import { statementsFor } from "../support/schemas.ts";
import { stagedFiles } from "../support/values-csv.ts";
import { statementsOf } from "./fixture.ts";
import { Pipeline } from "./pipeline.ts";

/** The daemon was faster. */
const ALREADY_MEMBER = "42710";

/** Runs the statements one by one, on one connection, so that SET and BEGIN work. */
async function run(client: Client, script: string): Promise<void> {
  for (const statement of statementsOf(script)) {
    await client.query(statement).catch((error: Error & { code?: string }) => {
      if (error.code !== ALREADY_MEMBER) throw new Error(`${statement}: ${error.message}`, { cause: error });
    });
  }
}

const UNTIL_UPDATE_WORKS_MS = 10_000;

/** The UPDATE of a table that is published without an identity. */
const NO_IDENTITY = "55000";

/** The application sees an UPDATE fail until the daemon has noticed that the table has lost its identity. */
async function insistently(client: Client, statement: string): Promise<void> {
  const deadline = performance.now() + UNTIL_UPDATE_WORKS_MS;
  for (;;) {
    try {
      await client.query(statement);
      return;
    } catch (error) {
      const passing = (error as { code?: string }).code === NO_IDENTITY && performance.now() < deadline;
      if (!passing) throw new Error(`${statement}: ${(error as Error).message}`, { cause: error });
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}

async function touch(client: Client, script: string): Promise<void> {
  for (const statement of statementsOf(script)) await insistently(client, statement);
}

describe.each([
  { version: 13, discovery: "300ms", slow: false },
  { version: 18, discovery: "300ms", slow: false },
  { version: 13, discovery: "4s", slow: true },
  { version: 18, discovery: "4s", slow: true },
] as const)("Postgres $version, a look at the catalog every $discovery", ({ version, discovery, slow }) => {
  let server: EmbeddedPostgres;
  let client: Client;
  let pipeline: Pipeline;
  let verdict: Verdict;
  let since = 0;
  const cases = [...COLUMN_CASES, ...OTHER_CASES]
    .filter((shape) => version >= (shape.since ?? 0) && version < (shape.before ?? 99))
    .map((shape, i) => {
      const table = `shape_${i}`;
      return { shape, table, ...statementsFor(shape, { table, publication: "pgstage" }) };
    });

  beforeAll(async () => {
    server = await startPostgres({ version });
    const database = await server.createDatabase("shapes");
    client = await server.connect({ database });
    await client.query("CREATE SCHEMA elsewhere");
    for (const { create } of cases) await run(client, create);
    const settings = { DISCOVERY_INTERVAL: discovery, SOURCE_EXCLUDE: "*.hidden*" };
    pipeline = await Pipeline.start({ server, database, settings });
    await pipeline.until("all copies", () => pipeline.linesOf("table copied").length > cases.length);
    since = pipeline.lines.length;
    const longest = Math.max(...cases.map(({ steps }) => steps.length));
    for (let k = 0; k < longest; k++) {
      for (const { steps, touch: text } of cases) {
        const step = steps[k];
        if (step === undefined) continue;
        await run(client, step);
        await touch(client, text(k));
      }
      if (slow) continue;
      await pipeline.discovered();
      await pipeline.copiesDone();
    }
    await pipeline.discovered();
    verdict = await pipeline.compared();
    await pipeline.drain();
  }, 240_000);

  afterAll(async () => {
    await pipeline?.destroy();
    await client?.end();
    await server?.destroy();
  });

  for (const { shape, table } of cases) {
    test(shape.name, async () => {
      expect(verdict.tables.filter((one) => one.table === `public.${table}`)).toMatchObject([
        { outcome: "equal" },
      ]);
      const reasons = pipeline.lines
        .slice(since)
        .filter((line) => line.table === `public.${table}` && /^table (copied afresh|found)$/.test(line.msg))
        .map(({ reason }) => String(reason));
      if (!slow) {
        const story = pipeline.lines
          .filter((line) => line.table === `public.${table}`)
          .map((line) => JSON.stringify(line));
        expect(reasons, story.join("\n")).toHaveLength(shape.reasons.length);
        for (const [i, reason] of reasons.entries()) expect(reason).toMatch(shape.reasons[i] as RegExp);
      } else if (shape.reasons.length === 0) {
        expect(reasons.filter((reason) => !/meanwhile|it is new/.test(reason))).toEqual([]);
      }
    });
  }

  test("no file mixes shapes, and the stage keeps the contract", async () => {
    expect(verdict.stage.problems).toEqual([]);
    for (const { table } of cases) {
      const files = await stagedFiles(pipeline.directory, "public", table);
      for (const { key, header, rows } of files) {
        const columns = header.split(",").length;
        for (const row of rows)
          expect({ key, columns: row.values.split(",").length + 5 >= columns }).toEqual({
            key,
            columns: true,
          });
      }
    }
  });

  test("everything is equal", () => {
    expect(differences(verdict)).toEqual([]);
  });
});
