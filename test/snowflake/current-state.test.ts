import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { IdentifierMode, SnowflakeInput, TableShape } from "../../src/snowflake/input.ts";
import { snowflakeSections } from "../../src/snowflake/script.ts";
import { SnowflakeOnDuckDB } from "../support/snowflake-duckdb.ts";
import { Snowpipe } from "../support/snowpipe.ts";
import { historyArb, stageFiles, TABLES, type History, type Row } from "./history.ts";
import { options } from "./input.ts";

/**
 * The generated SQL, run on DuckDB over generated stages that a Snowpipe loads in any order, in pieces, with every
 * notification possibly twice: views, MERGE task and as-of functions against a model of the tables.
 */
describe.each<IdentifierMode>(["upper", "quoted"])("with %s identifiers", (identifiers) => {
  let snowflake: SnowflakeOnDuckDB;
  let statements: string[];
  const spelled = (name: string): string => `"${identifiers === "upper" ? name.toUpperCase() : name}"`;
  const input: SnowflakeInput = {
    pipeline: { stageUrl: "s3://bucket/pre/fix", compression: "none", slot: "pgstage" },
    tables: TABLES.map((shape) => ({ shape, earlier: [] })),
    options: options({ identifiers, currentState: "task" }),
  };

  beforeAll(async () => {
    snowflake = await SnowflakeOnDuckDB.open();
    statements = snowflakeSections(input).flatMap((section) => section.statements.map(({ sql }) => sql));
    await snowflake.create(statements);
  });
  afterAll(() => snowflake.close());

  async function rowsOf(shape: TableShape, from: string): Promise<string[]> {
    const columns = shape.columns.map(({ name }) => `CAST(${spelled(name)} AS VARCHAR)`).join(", ");
    const reader = await snowflake.connection.runAndReadAll(`SELECT ${columns} FROM ${from}`);
    return reader
      .getRowsJson()
      .map((row) => JSON.stringify(row))
      .toSorted();
  }

  async function emptyEverything(): Promise<void> {
    for (const { tableName } of TABLES) {
      await snowflake.connection.run(`DELETE FROM "PUBLIC_LANDING".${spelled(tableName)}`);
      await snowflake.connection.run(`DELETE FROM "PUBLIC".${spelled(tableName)}`);
    }
  }

  /** Loads a stage; the task runs now and then, whatever has landed by then. */
  async function load(history: History, random: () => number): Promise<Snowpipe> {
    const directory = mkdtempSync(join(tmpdir(), "pgstage-snowflake-"));
    try {
      stageFiles(directory, history.files);
      const pipe = new Snowpipe({
        connection: snowflake.connection,
        directory,
        statements: statements.map((sql) => snowflake.local(sql)),
        random,
      });
      for (const { key } of history.files) {
        pipe.notify(key);
        if (random() < 0.3) pipe.notify(key);
      }
      while (await pipe.step()) if (random() < 0.1) await snowflake.runTasks();
      await snowflake.runTasks();
      return pipe;
    } finally {
      rmSync(directory, { recursive: true });
    }
  }

  test("every table ends as the source, whatever the order of loading", async () => {
    await fc.assert(
      fc.asyncProperty(historyArb, fc.integer(), async (history, seed) => {
        await emptyEverything();
        const pipe = await load(history, randomFrom(seed));
        expect(pipe.skipped).toEqual([]);
        expect(pipe.loaded.map(({ key }) => key).toSorted()).toEqual(
          history.files.map(({ key }) => key).toSorted(),
        );
        for (const [index, shape] of TABLES.entries()) {
          const expected = asLines(history.final[index] ?? []);
          const name = shape.tableName;
          expect(
            await rowsOf(shape, `"PUBLIC_LANDING".${spelled(`${name}__text`)}`),
            `${name}: view`,
          ).toEqual(expected);
          expect(await rowsOf(shape, `"PUBLIC".${spelled(name)}`), `${name}: task`).toEqual(expected);
        }
      }),
      { numRuns: 40 },
    );
  });

  test("as of an LSN or a time, all tables are as they were after one commit", async () => {
    await fc.assert(
      fc.asyncProperty(historyArb, fc.integer(), fc.nat(), async (history, seed, pick) => {
        await emptyEverything();
        await load(history, randomFrom(seed));
        const moment = history.moments[pick % history.moments.length];
        if (!moment) return;
        // The last commit, in commit order, that is not later than this time; clocks may have gone back.
        const then =
          history.moments.findLast(({ committedAt }) => committedAt <= moment.committedAt) ?? moment;
        for (const [index, shape] of TABLES.entries()) {
          const name = shape.tableName;
          const byLsn = `"PUBLIC".${spelled(`${name}_as_of_lsn`)}('${moment.lsn}')`;
          expect(await rowsOf(shape, byLsn), `${name} at ${moment.lsn}`).toEqual(
            asLines(moment.states[index] ?? []),
          );
          const byTime = `"PUBLIC".${spelled(`${name}_as_of`)}('${moment.committedAt}'::TIMESTAMPTZ)`;
          expect(await rowsOf(shape, byTime), `${name} at ${then.lsn}`).toEqual(
            asLines(then.states[index] ?? []),
          );
        }
      }),
      { numRuns: 40 },
    );
  });

  test("a t row that comes last voids the old part of a bag's balance only", async () => {
    await emptyEverything();
    const land = async (row: number, op: string, lsn: string, a: string | null): Promise<void> => {
      const names = ["_op", "_lsn", "_seq", "_committed_at", "_file", "_row", "a"];
      const columns = names.map((name) => spelled(name)).join(", ");
      const value = a === null ? "NULL" : `'${a}'`;
      await snowflake.connection.run(
        `INSERT INTO "PUBLIC_LANDING".${spelled("bag")} (${columns})
         VALUES ('${op}', '00000000/0000000${lsn}', 0, '2026-11-22 07:03:12.123456+00', 'f', ${row}, ${value})`,
      );
      await snowflake.runTasks();
    };
    const bag = TABLES.find(({ tableName }) => tableName === "bag") as TableShape;
    // An old row, the same row copied again, and a later delete: while the t row is missing, one row is left over.
    await land(1, "c", "1", "x");
    await land(2, "r", "2", "x");
    await land(3, "d", "3", "x");
    expect(await rowsOf(bag, `"PUBLIC".${spelled("bag")}`)).toEqual(['["x",null]']);
    await land(4, "t", "2", null);
    expect(await rowsOf(bag, `"PUBLIC".${spelled("bag")}`)).toEqual([]);
  });

  test("running the script again changes nothing", async () => {
    const [history] = fc.sample(historyArb, { numRuns: 1, seed: 7 });
    await emptyEverything();
    await load(history as History, randomFrom(7));
    await snowflake.create(statements);
    await snowflake.runTasks();
    for (const [index, shape] of TABLES.entries()) {
      expect(await rowsOf(shape, `"PUBLIC".${spelled(shape.tableName)}`)).toEqual(
        asLines(history?.final[index] ?? []),
      );
    }
  });
});

function asLines(rows: readonly Row[]): string[] {
  return rows.map((row) => JSON.stringify(row)).toSorted();
}

/** Mulberry32: from 0 up to 1. */
function randomFrom(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
