import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { csvRecord, metadataColumns } from "../../src/csv/header.ts";
import type { TableShape } from "../../src/snowflake/input.ts";
import { snowflakeSections } from "../../src/snowflake/script.ts";
import { mapType, mayBeUnchanged, numericModifier } from "../../src/snowflake/types.ts";
import { startPostgres, type EmbeddedPostgres } from "../support/postgres.ts";
import { SnowflakeOnDuckDB } from "../support/snowflake-duckdb.ts";
import { Snowpipe } from "../support/snowpipe.ts";
import { stageFiles } from "./history.ts";
import { options } from "./input.ts";
import { CASES, OPTIONAL, same, type Case } from "./type-cases.ts";

describe("types of a real Postgres", () => {
  let postgres: EmbeddedPostgres;
  let cases: readonly Case[];
  let shape: TableShape;
  let texted: (string | null)[][];
  let typed: (string | null)[][];
  let skipped: readonly unknown[];

  beforeAll(async () => {
    postgres = await startPostgres({});
    await postgres.sql(
      "CREATE TYPE pair AS (a int, b text); CREATE TYPE mood AS ENUM ('happy'); CREATE DOMAIN positive AS int CHECK (VALUE > 0)",
    );
    cases = [...CASES, ...(await available(postgres))];
    shape = await createTable(postgres, cases);
    texted = await rowTexts(postgres, cases);
    ({ typed, skipped } = await throughSnowflake(shape, texted));
  });
  afterAll(() => postgres.destroy());

  test("no file is refused, and every text arrives as it was", async () => {
    expect(skipped).toEqual([]);
    expect(typed.length).toBe(texted.length);
  });

  test.each([...CASES, ...OPTIONAL].map((one) => [one.type, one] as const))(
    "%s",
    (type, { values, snowflake }) => {
      const index = cases.findIndex((one) => one.type === type);
      const column = shape.columns[index + 1];
      if (index < 0 || !column) {
        // Without the type in this server its mapping is still what it has to be.
        expect(mapType({ type, typeOid: 99_999, typeModifier: -1 }).type).toBe(snowflake);
        return;
      }
      expect(mapType(column).type).toBe(snowflake);
      for (const [row, [written, expected]] of values.entries()) {
        const text = texted[row]?.[index + 1] ?? null;
        expect(text, `${written} is not NULL in Postgres`).not.toBeNull();
        expect(typed[row]?.[index + 1], short(written)).toBe(expected === same ? text : expected);
      }
    },
  );

  test("exactly the types of fixed length are never unchanged", async () => {
    const types = await postgres.sql<{ oid: number; typlen: number; typname: string }>(
      "SELECT oid::int, typlen, typname FROM pg_type WHERE typtype = 'b' AND typlen <> -2 AND oid < 16384",
    );
    const wrong = types.filter(({ oid, typlen }) => mayBeUnchanged({ typeOid: oid }) !== typlen < 0);
    expect(
      wrong.map(({ typname }) => typname).filter((name) => !name.startsWith("pg_") || name === "pg_lsn"),
    ).toEqual([]);
    expect(types.length).toBeGreaterThan(100);
  });
});

test("a numeric's modifier may have a negative scale or one larger than its precision", () => {
  expect(numericModifier(-1)).toBeNull();
  expect(numericModifier(((10 << 16) | 2) + 4)).toEqual({ precision: 10, scale: 2 });
  expect(numericModifier(((5 << 16) | (-2 & 0x7ff)) + 4)).toEqual({ precision: 5, scale: -2 });
});

test("types of extensions that no server here has", () => {
  const vector = mapType({ type: "vector(3)", typeOid: 90_001, typeModifier: 3 });
  expect([vector.type, vector.cast('"V"')]).toEqual(["VARIANT", 'TRY_PARSE_JSON("V")']);
  expect(mapType({ type: "public.geometry(Point,4326)", typeOid: 90_002, typeModifier: 1 }).reason).toContain(
    "TRY_TO_GEOMETRY",
  );
  expect(mapType({ type: "geography", typeOid: 90_003, typeModifier: -1 }).reason).toContain(
    "TRY_TO_GEOGRAPHY",
  );
});

async function available(postgres: EmbeddedPostgres): Promise<Case[]> {
  const found: Case[] = [];
  for (const one of OPTIONAL) {
    try {
      if (one.extension) await postgres.sql(`CREATE EXTENSION ${one.extension} SCHEMA public`);
      await postgres.sql(`SELECT $1::text::${one.type}`, [one.values[0]?.[0]]);
      found.push(one);
    } catch {
      // Not in this build; its mapping is tested by its name.
    }
  }
  return found;
}

async function createTable(postgres: EmbeddedPostgres, cases: readonly Case[]): Promise<TableShape> {
  const columns = cases.map(({ type }, i) => `c${i} ${type}`);
  await postgres.sql(`CREATE TABLE every_type (id int PRIMARY KEY, ${columns.join(", ")})`);
  const described = await postgres.sql<{ name: string; type: string; oid: number; modifier: number }>(
    `SELECT attname AS name, format_type(atttypid, atttypmod) AS type, atttypid::int AS oid, atttypmod AS modifier
     FROM pg_attribute WHERE attrelid = 'every_type'::regclass AND attnum > 0 ORDER BY attnum`,
  );
  return {
    schemaName: "public",
    tableName: "every_type",
    metadataPrefix: "_",
    replicaIdentity: "default",
    key: ["id"],
    columns: described.map(({ name, type, oid, modifier }) => {
      return { name, type, typeOid: oid, typeModifier: modifier, key: name === "id" };
    }),
  };
}

/** Row n holds the nth value of every type, as the types' output functions print it. */
async function rowTexts(postgres: EmbeddedPostgres, cases: readonly Case[]): Promise<(string | null)[][]> {
  const client = await postgres.connect();
  try {
    await client.query("SET TimeZone = 'UTC'; SET extra_float_digits = 1");
    const rows = Math.max(...cases.map(({ values }) => values.length));
    for (let row = 0; row < rows; row++) {
      const values = cases.map(({ values: all }) => all[row]?.[0] ?? null);
      const casts = cases.map(({ type }, i) => `$${i + 1}::text::${type}`);
      await client.query(`INSERT INTO every_type VALUES (${row}, ${casts.join(", ")})`, values);
    }
    const result = await client.query<(string | null)[]>({
      text: "SELECT * FROM every_type ORDER BY id",
      rowMode: "array",
      types: { getTypeParser: () => (text: string) => text },
    });
    return result.rows;
  } finally {
    await client.end();
  }
}

async function throughSnowflake(
  shape: TableShape,
  rows: readonly (readonly (string | null)[])[],
): Promise<{ typed: (string | null)[][]; skipped: readonly unknown[] }> {
  const directory = mkdtempSync(join(tmpdir(), "pgstage-types-"));
  const snowflake = await SnowflakeOnDuckDB.open();
  try {
    const header = csvRecord([...metadataColumns("_"), ...shape.columns.map(({ name }) => name)]);
    const metadata = ["r", "00000000/00000001", "0", "2026-11-22 07:03:12.123456+00", null];
    const bytes = Buffer.concat([header, ...rows.map((row) => csvRecord([...metadata, ...row]))]);
    stageFiles(directory, [{ key: "public/every_type/2026/11/22/07/0-snapshot-00001.csv", bytes }]);
    const input = {
      pipeline: { stageUrl: "s3://bucket/stage", compression: "none" as const, slot: "pgstage" },
      tables: [{ shape, earlier: [] }],
      options: options(),
    };
    const statements = snowflakeSections(input).flatMap((section) =>
      section.statements.map(({ sql }) => sql),
    );
    await snowflake.create(statements);
    const local = statements.map((sql) => snowflake.local(sql));
    const pipe = new Snowpipe({ connection: snowflake.connection, directory, statements: local });
    pipe.refresh();
    await pipe.run();
    const texts = await select(snowflake, shape, "PUBLIC_LANDING", "EVERY_TYPE__TEXT");
    expect(texts).toEqual(rows.map((row) => [...row]));
    return { typed: await select(snowflake, shape, "PUBLIC", "EVERY_TYPE"), skipped: pipe.skipped };
  } finally {
    snowflake.close();
    rmSync(directory, { recursive: true });
  }
}

async function select(
  snowflake: SnowflakeOnDuckDB,
  shape: TableShape,
  schema: string,
  view: string,
): Promise<(string | null)[][]> {
  const columns = shape.columns.map(({ name }) => `CAST("${name.toUpperCase()}" AS VARCHAR)`).join(", ");
  const reader = await snowflake.connection.runAndReadAll(
    `SELECT ${columns} FROM "${schema}"."${view}" ORDER BY CAST("ID" AS INTEGER)`,
  );
  return reader.getRowsJson() as (string | null)[][];
}

function short(text: string): string {
  return text.length > 50 ? `${text.slice(0, 50)}…` : text;
}
