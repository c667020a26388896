import { Command } from "commander";
import { expect, test } from "vitest";
import { configure, sqlOptions } from "../../src/commands/sql.ts";
import type { TableShape } from "../../src/snowflake/input.ts";
import { snowflakeSections } from "../../src/snowflake/script.ts";
import { commands, readme } from "../docs/readme.ts";
import { ORDERS } from "./tables.ts";

/** The README's chapter on Snowflake shows what `pgstage sql` prints for the command that it shows. */

const text = readme();
const chapter = text.slice(text.indexOf("\n## Snowflake, step by step"), text.indexOf("\n### Types"));

/** The table of the chapter: it has the first three columns only. */
const SHOWN: TableShape = { ...ORDERS, columns: ORDERS.columns.slice(0, 3) };

function generated(): Set<string> {
  const [shown = ""] = commands(chapter).filter((line) => line.startsWith("pgstage sql "));
  const command = new Command().option("--config <file>").exitOverride();
  configure(command);
  command.parse(shown.split(/\s+/).slice(2), { from: "user" });
  const { options } = sqlOptions(command.opts());
  const sections = snowflakeSections({
    pipeline: { stageUrl: "s3://my-bucket/pgstage/shop", compression: "gzip", slot: "pgstage" },
    tables: [{ shape: SHOWN, earlier: [] }],
    options,
  });
  return new Set(sections.flatMap((section) => section.statements.map(({ sql }) => sql)));
}

/** The statements of all `sql` blocks, without the indentation of the block and without semicolons. */
function shownStatements(): string[] {
  return [...chapter.matchAll(/^( *)```sql\n([^]*?)^\1```$/gm)].flatMap(([, indent = "", block = ""]) =>
    block
      .replaceAll(new RegExp(`^${indent}`, "gm"), "")
      .split(/;$/m)
      .map((statement) => statement.trim())
      .filter((statement) => statement !== ""),
  );
}

const isQuery = (sql: string): boolean => sql.startsWith("SELECT ");

test("every statement that it shows is one that the generator prints", () => {
  const all = generated();
  const statements = shownStatements().filter((sql) => !isQuery(sql));
  expect(statements.length).toBeGreaterThanOrEqual(6);
  for (const sql of statements)
    expect([...all].find((one) => one.startsWith(sql.split("\n")[0] ?? ""))).toBe(sql);
});

test("every function that it calls is one that the generator makes", () => {
  const functions = [...generated()].filter((sql) => sql.startsWith("CREATE OR REPLACE FUNCTION "));
  const calls = shownStatements().filter(isQuery);
  expect(calls.length).toBe(2);
  for (const sql of calls) {
    const [, name = "", type = "VARCHAR"] =
      /^SELECT \* FROM TABLE\((.+?)\('[^']+'(?:::(\w+))?\)\)$/.exec(sql) ?? [];
    const made = functions.filter((one) => one.startsWith(`CREATE OR REPLACE FUNCTION ${name}(`));
    expect(
      made.map((one) => /\("\w+" (\w+)\)/.exec(one)?.[1]),
      sql,
    ).toEqual([type]);
  }
});
