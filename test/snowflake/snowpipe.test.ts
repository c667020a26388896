import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { gzipSync } from "node:zlib";
import { DuckDBInstance, type DuckDBConnection } from "@duckdb/node-api";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { csvFormatOf, readCsv } from "../../src/snowpipe/csv.ts";
import { Snowpipe } from "../support/snowpipe.ts";

/** The model of Snowpipe that other tests rely on, against what Snowflake documents. */
const FORMAT = `CREATE FILE FORMAT IF NOT EXISTS "F" TYPE = CSV PARSE_HEADER = TRUE FIELD_OPTIONALLY_ENCLOSED_BY = '"'`;
const OURS = `${FORMAT} ESCAPE_UNENCLOSED_FIELD = NONE NULL_IF = ()`;

function read(text: string, format = OURS): (string | null)[][] {
  return readCsv(Buffer.from(text), csvFormatOf(format)).records.map((record) => [...record]);
}

describe("the reading of CSV", () => {
  test("unquoted empty is NULL, quoted empty is the empty text", () => {
    expect(read('a,b\n,""\n')).toEqual([[null, ""]]);
    expect(read("a,b\n,\n", `${OURS} EMPTY_FIELD_AS_NULL = FALSE`)).toEqual([["", ""]]);
    expect(read('a,b\nx,""\n', OURS.replace("()", "('')"))).toEqual([["x", null]]);
  });

  test("defaults that lose data", () => {
    const defaults = FORMAT;
    expect(read("a,b\n\\N,x\n", defaults)).toEqual([[null, "x"]]);
    expect(() => read("a,b\nx,y\\\nz,w\n", defaults)).toThrow("fields");
    expect(read("a,b\n\\N,y\\\n")).toEqual([["\\N", "y\\"]]);
    const unenclosed = FORMAT.replace(/ FIELD_OPT.*/, "");
    expect(read('a,b\n"x",y\n', unenclosed)).toEqual([['"x"', "y"]]);
  });

  test("quotes, line breaks and delimiters in quoted fields", () => {
    expect(read('a,b\n"x""y","1,2\n3"\r\n')).toEqual([['x"y', "1,2\n3"]]);
    expect(() => read('a\n"1\n2"\n', `${OURS} MULTI_LINE = FALSE`)).toThrow("line break");
    expect(() => read('a\n"x"y\n')).toThrow("closing quote");
    expect(() => read('a\n"x\n')).toThrow("not closed");
  });

  test("blank lines and invalid UTF-8 are errors", () => {
    expect(() => read("a\n\nx\n")).toThrow("blank line");
    expect(() => readCsv(Buffer.from([0x61, 0x0a, 0xff, 0x0a]), csvFormatOf(OURS))).toThrow();
  });
});

describe("the loader", () => {
  let directory: string;
  let instance: DuckDBInstance;
  let connection: DuckDBConnection;
  const statements = (path: string): string[] => [
    OURS,
    `CREATE STAGE IF NOT EXISTS "S" URL = 's3://bucket/stage/'`,
    `CREATE TABLE IF NOT EXISTS "T" (\n  "A" VARCHAR(5),\n  "N" NUMBER(38,0),\n  "FILE" VARCHAR(99),\n  "ROW" NUMBER(38,0)\n)`,
    `CREATE PIPE IF NOT EXISTS "P"\nAS\nCOPY INTO "T"\nFROM @"S"/${path}\nFILE_FORMAT = (FORMAT_NAME = '"F"')\n` +
      `MATCH_BY_COLUMN_NAME = CASE_INSENSITIVE\nINCLUDE_METADATA = ("FILE" = METADATA$FILENAME, "ROW" = METADATA$FILE_ROW_NUMBER)`,
  ];

  beforeEach(async () => {
    directory = mkdtempSync(join(tmpdir(), "pgstage-snowpipe-"));
    instance = await DuckDBInstance.create(":memory:");
    connection = await instance.connect();
    await connection.run(`CREATE TABLE "T" ("A" VARCHAR, "N" DECIMAL(38,0), "FILE" VARCHAR, "ROW" BIGINT)`);
  });
  afterEach(() => {
    connection.closeSync();
    instance.closeSync();
    rmSync(directory, { recursive: true });
  });

  function stage(key: string, text: string): void {
    mkdirSync(dirname(join(directory, key)), { recursive: true });
    writeFileSync(join(directory, key), key.endsWith(".gz") ? gzipSync(text) : text);
  }

  async function loaded(): Promise<unknown[]> {
    const reader = await connection.runAndReadAll(
      `SELECT "A", "FILE", "ROW" FROM "T" ORDER BY "FILE", "ROW"`,
    );
    return reader.getRowsJson();
  }

  test("loads a name once, whatever its content, until it forgets it after 14 days", async () => {
    let nowMs = 0;
    const pipe = new Snowpipe({ connection, directory, statements: statements("t/"), now: () => nowMs });
    stage("t/1.csv.gz", "a\nx\n");
    pipe.notify("t/1.csv.gz");
    pipe.notify("t/1.csv.gz");
    await pipe.run();
    stage("t/1.csv.gz", "a\ny\n");
    nowMs = 13 * 24 * 3_600_000;
    pipe.notify("t/1.csv.gz");
    await pipe.run();
    expect(await loaded()).toEqual([["x", "stage/t/1.csv.gz", "1"]]);
    nowMs = 15 * 24 * 3_600_000;
    pipe.notify("t/1.csv.gz");
    await pipe.run();
    expect((await loaded()).length).toBe(2);
  });

  test("without a closing slash it takes a neighbour's files, too", async () => {
    stage("t/1.csv", "a\nmine\n");
    stage("table/1.csv", "a\nother\n");
    const strict = new Snowpipe({ connection, directory, statements: statements("t/") });
    strict.refresh();
    await strict.run();
    expect((await loaded()).length).toBe(1);
    const loose = new Snowpipe({ connection, directory, statements: statements("t") });
    loose.refresh();
    await loose.run();
    expect((await loaded()).length).toBe(3);
  });

  test("skips a whole file for one bad value, and never looks at it again", async () => {
    stage("t/1.csv", "a,n\nx,1\ny,many\n");
    stage("t/2.csv", "a,n\ntoo long,1\n");
    const pipe = new Snowpipe({ connection, directory, statements: statements("t/") });
    pipe.refresh();
    pipe.refresh();
    await pipe.run();
    expect(pipe.skipped.map(({ key }) => key).toSorted()).toEqual(["t/1.csv", "t/2.csv"]);
    expect(await loaded()).toEqual([]);
  });

  test("loads in pieces, between which other things happen", async () => {
    stage("t/1.csv", `a\n${"x\n".repeat(9)}`);
    const pipe = new Snowpipe({ connection, directory, statements: statements("t/"), random: () => 0.99 });
    pipe.notify("t/1.csv");
    const seen: number[] = [];
    while (await pipe.step()) seen.push((await loaded()).length);
    expect(seen).toEqual([0, 3, 6, 9]);
  });
});
