import { beforeAll, describe, expect, test } from "vitest";
import type * as Polyglot from "@polyglot-sql/sdk";
import { SettingsError } from "../../src/core/errors.ts";
import type {
  CurrentState,
  SnowflakeInput,
  SnowflakeOptions,
  TableShape,
} from "../../src/snowflake/input.ts";
import { changedSections } from "../../src/snowflake/diff.ts";
import { checkNames } from "../../src/snowflake/names.ts";
import { renderScript, snowflakeSections } from "../../src/snowflake/script.ts";
import { statementKind } from "../support/snowflake-grammar.ts";
import { loadPolyglot } from "../support/snowflake-duckdb.ts";
import { options } from "./input.ts";
import { ODD, ORDERS, VISITS } from "./tables.ts";

function input(tables: readonly TableShape[], changed: Partial<SnowflakeOptions> = {}): SnowflakeInput {
  return {
    pipeline: { stageUrl: "s3://my-bucket/pgstage/shop", compression: "gzip", slot: "pgstage" },
    tables: tables.map((shape) => ({ shape, earlier: [] })),
    options: options(changed),
  };
}

function script(from: SnowflakeInput): string {
  return renderScript(["Generated for a test."], snowflakeSections(from));
}

const KINDS: readonly CurrentState[] = ["view", "dynamic-table", "task"];

describe("every statement is of a grammar", () => {
  let polyglot: typeof Polyglot;
  beforeAll(async () => {
    polyglot = await loadPolyglot();
  });

  /** True if the transpiler's parser knows the statement; what it only carries along is `raw` or `command` to it. */
  function isParsed(sql: string): boolean {
    // The parser does not know this clause of functions.
    const known = sql.replace(/^COPY GRANTS\n(?=RETURNS TABLE)/m, "");
    const result = polyglot.parse(known, "snowflake" as Polyglot.Dialect);
    if (!result.success) return false;
    const [statement] = result.ast as unknown as Record<string, unknown>[];
    return !["raw", "command"].includes(Object.keys(statement ?? {})[0] ?? "raw");
  }

  test.each(
    KINDS.flatMap((currentState) =>
      (["upper", "quoted"] as const).map((identifiers) => [currentState, identifiers] as const),
    ),
  )("%s, %s identifiers", (currentState, identifiers) => {
    const sections = snowflakeSections(
      input([ORDERS, VISITS, identifiers === "quoted" ? ODD : oneCase(ODD)], { currentState, identifiers }),
    );
    const statements = sections.flatMap((section) => section.statements);
    const unknown = statements.filter(({ sql }) => !isParsed(sql) && statementKind(sql) === null);
    expect(unknown.map(({ sql }) => sql)).toEqual([]);
    // A function's and a task's body is text to the parser: it is read by itself.
    for (const { sql } of statements) {
      const body =
        /^AS\n\$\$\n([^]*)\n\$\$$/m.exec(sql)?.[1] ??
        /^CREATE OR REPLACE TASK [^]*?\nAS\n([^]*)$/.exec(sql)?.[1];
      if (body !== undefined) expect(isParsed(body), body).toBe(true);
    }
    expect(new Set(statements.map(({ id }) => id)).size).toBe(statements.length);
  });

  test("the grammars refuse what Snowflake would", () => {
    expect(isParsed("CREATE VIEW v AS SELECT FROM WHERE")).toBe(false);
    const sections = snowflakeSections(input([ORDERS]));
    const pipe =
      sections.flatMap(({ statements }) => statements).find(({ id }) => id.startsWith("pipe"))?.sql ?? "";
    expect(statementKind(pipe)).toBe("pipe");
    expect(statementKind(pipe.replace("SKIP_FILE", "ABORT_STATEMENT"))).toBeNull();
    expect(statementKind(pipe.replace("AUTO_INGEST", "AUTOINGEST"))).toBeNull();
  });
});

/** Without the columns that differ from another by case only. */
function oneCase(shape: TableShape): TableShape {
  return { ...shape, columns: shape.columns.filter(({ name }) => name !== "id") };
}

describe("golden scripts", () => {
  test.each(KINDS)("%s", async (currentState) => {
    await expect(script(input([ORDERS, VISITS], { currentState }))).toMatchFileSnapshot(
      `golden/${currentState}.sql`,
    );
  });

  test("names with any character, exact", async () => {
    await expect(script(input([ODD], { identifiers: "quoted" }))).toMatchFileSnapshot("golden/quoted.sql");
  });

  test("a stage in a directory, a bucket without prefix, a role in another partition", () => {
    const base = input([ORDERS], { roleArn: "arn:aws-cn:iam::123456789012:role/reader" });
    const local = script({ ...base, pipeline: { ...base.pipeline, stageUrl: "file:///var/stage" } });
    expect(local).toContain("which Snowflake cannot read: put an S3 bucket in its place");
    expect(local).toContain("'s3://YOUR-BUCKET/YOUR-PREFIX/'");
    const whole = script({ ...base, pipeline: { ...base.pipeline, stageUrl: "s3://whole" } });
    expect(whole).toContain("URL = 's3://whole/'");
    expect(whole).toContain('"Resource": "arn:aws-cn:s3:::whole/*"');
    expect(whole).not.toContain("FilterRules");
  });
});

test.each(KINDS)("run again with %s, it takes no grant from what it replaces", (currentState) => {
  const from = input([ORDERS, VISITS], { currentState });
  const changed = { ...ORDERS, columns: ORDERS.columns.map((column) => ({ ...column, typeOid: 25 })) };
  const diff = changedSections({ ...from, tables: [{ shape: changed, earlier: [ORDERS] }] });
  const statements = [...snowflakeSections(from), ...diff].flatMap((section) => section.statements);
  // Snowflake has no COPY GRANTS for these, and nobody reads them.
  const replaced = statements.filter(({ sql }) => /^CREATE OR REPLACE (?!TASK|STREAM)/.test(sql));
  expect(replaced.filter(({ sql }) => !/\sCOPY GRANTS\s?/.test(sql)).map(({ id }) => id)).toEqual([]);
});

describe("names", () => {
  const withColumns = (tableName: string, names: readonly string[]): TableShape => ({
    ...ORDERS,
    tableName,
    key: [],
    columns: names.map((name) => ({ name, type: "text", typeOid: 25, typeModifier: -1, key: false })),
  });

  function problems(from: SnowflakeInput): readonly string[] {
    try {
      checkNames(from);
      return [];
    } catch (error) {
      if (error instanceof SettingsError) return error.problems;
      throw error;
    }
  }

  test("columns that differ by case only are refused in upper case, and fine exactly", () => {
    const clashing = withColumns("t", ["Id", "id", "ID", "other"]);
    expect(problems(input([clashing]))).toEqual([
      expect.stringMatching(
        /^table public\.t: the columns "Id" and "id" and "ID" are one name in upper case; .*--identifiers quoted/,
      ),
    ]);
    expect(problems(input([clashing], { identifiers: "quoted" }))).toEqual([]);
  });

  test("a column that is a metadata column in upper case", () => {
    expect(problems(input([withColumns("t", ["_LSN"])]))).toEqual([
      expect.stringContaining('"_lsn" and "_LSN"'),
    ]);
  });

  test("tables that would share a name", () => {
    expect(problems(input([withColumns("Orders", ["a"]), withColumns("orders", ["a"])]))[0]).toContain(
      "public.Orders and public.orders",
    );
    const other = { ...withColumns("b", ["a"]), schemaName: "a" };
    expect(problems(input([other, withColumns("a__b", ["a"])]))[0]).toContain("a.b and public.a__b");
  });

  test("a task waits for its stream, whatever the table is called", () => {
    const sql = script(input([withColumns("a\\b'c", ["a"])], { currentState: "task" }));
    expect(sql).toContain(`STREAM_HAS_DATA('"PGSTAGE"."PUBLIC_LANDING"."A\\\\B''C__NEW"')`);
  });

  test("the pipe's own columns step aside for the table's", () => {
    const sql = script(input([withColumns("t", ["_file", "_ROW", "position"])]));
    expect(sql).toContain(
      'INCLUDE_METADATA = ("_FILE_" = METADATA$FILENAME, "_ROW_" = METADATA$FILE_ROW_NUMBER)',
    );
    expect(sql).toContain('AS "POSITION_"');
  });

  test("a comment ends with its line, whatever a name holds", () => {
    const sql = script(input([withColumns("t\nDROP TABLE x;--", ["a"])]));
    for (const line of sql.split("\n").filter((text) => text.includes("Current state")))
      expect(line).toMatch(/^--/);
    expect(sql.split("\n")).not.toContain("DROP TABLE x;--");
  });
});

test("a table with more columns than a function may have has no as-of function, and a view", () => {
  const columns = Array.from({ length: 1600 }, (_, i) => {
    return { name: `c${i}`, type: "integer", typeOid: 23, typeModifier: -1, key: i === 0 };
  });
  const sql = script(input([{ ...ORDERS, key: ["c0"], columns }]));
  expect(sql).not.toContain("CREATE OR REPLACE FUNCTION");
  expect(sql).toContain('"C1599"');
});

test("a table without columns", () => {
  const sql = script(input([{ ...ORDERS, key: [], columns: [] }], { currentState: "task" }));
  expect(sql).toContain("ARRAY_CONSTRUCT()");
});

test("a name with line breaks does not end the comment that it stands in", () => {
  const table = { ...ORDERS, tableName: "x\ncreate database pwned;\r--" };
  const lines = script(input([table])).split(/[\r\n]/);
  expect(lines.filter((line) => line.startsWith("create database pwned"))).toEqual([]);
});
