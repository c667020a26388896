import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { OperatorError } from "../../src/core/errors.ts";
import { startPostgres, type EmbeddedPostgres } from "../support/postgres.ts";
import { stagedRows } from "../support/values-csv.ts";
import { Pipeline } from "./pipeline.ts";

describe("databases in other encodings than UTF-8", () => {
  let server: EmbeddedPostgres;
  beforeAll(async () => {
    server = await startPostgres({});
  });
  afterAll(() => server.destroy());

  async function start(database: string, encoding: string, setup: string): Promise<Pipeline> {
    await server.sql(
      `CREATE DATABASE ${database} ENCODING '${encoding}' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0`,
    );
    await server.sql(setup, [], { database });
    return Pipeline.start({ server, database });
  }

  test.each([
    ["LATIN1", "é ü"],
    ["EUC_JP", "日本語"],
    ["SQL_ASCII", "é 日本語"],
  ])("%s is staged as UTF-8: names and values", async (encoding, text) => {
    const database = `in_${encoding.toLowerCase()}`;
    const make = `CREATE TABLE "t ${text}" (id int PRIMARY KEY, "c ${text}" text); INSERT INTO "t ${text}" VALUES (1, '${text}')`;
    const pipeline = await start(database, encoding, make);
    try {
      await pipeline.untilCopied(`public.t ${text}`);
      await pipeline.sql(`INSERT INTO "t ${text}" VALUES (2, '${text}')`);
      expect(await pipeline.differences(`public.t ${text}`)).toEqual([]);
      const rows = await stagedRows(pipeline.directory, "public", `t ${text}`);
      // As bytes, one character each.
      expect(rows.map(({ values }) => Buffer.from(values, "latin1").toString())).toEqual([
        ",",
        `1,${text}`,
        `2,${text}`,
      ]);
    } finally {
      await pipeline.destroy();
    }
  });

  test("bytes that are no UTF-8 are told of, in a copy by the table and in the stream by what to do", async () => {
    const pipeline = await start(
      "bytes",
      "SQL_ASCII",
      "CREATE TABLE plain (id int PRIMARY KEY, v text); CREATE TABLE odd (id int PRIMARY KEY, v text); INSERT INTO odd VALUES (1, E'\\xff')",
    );
    try {
      await pipeline.untilCopied("public.plain");
      const [refused] = await pipeline.until("a refusal", () => {
        const lines = pipeline.linesOf("copy refused", "public.odd");
        return lines.length > 0 && lines;
      });
      expect(JSON.stringify(refused)).toContain("0xff");
      await pipeline.sql("INSERT INTO plain VALUES (1, E'\\xfe')");
      const failure = await pipeline.until("the end", () => false).catch((error: unknown) => error);
      expect(failure).toBeInstanceOf(OperatorError);
      expect((failure as OperatorError).message).toMatch(/cannot be sent as UTF-8: .*0xfe/);
    } finally {
      await pipeline.destroy();
    }
  });
});
