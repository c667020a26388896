import {
  databaseStatements,
  integrationStatements,
  notificationStatements,
  policyNotes,
  stageStatements,
  watchStatements,
} from "./account.ts";
import { asOfFunctions, commitsView } from "./as-of.ts";
import { rowsQuery, withQuery } from "./current.ts";
import type { Section, SnowflakeInput, SnowflakeOptions, SnowflakeTable, Statement } from "./input.ts";
import { landingStatements } from "./landing.ts";
import { mergeStatements } from "./merge.ts";
import { checkNames, tableNames, type TableNames } from "./names.ts";
import { dynamicTable, typedView } from "./typed.ts";

/**
 * The whole script: everything between an empty account and current-state tables, safe to run again at any time.
 * Throws a SettingsError if two names would be one in Snowflake.
 */
export function snowflakeSections(input: SnowflakeInput): Section[] {
  checkNames(input);
  const { options } = input;
  const tables = input.tables.map((table) => ({ table, names: tableNames(table, options) }));
  const allNames = tables.map(({ names }) => names);
  const notification = notificationStatements(input, allNames);
  return [
    {
      title: "1. Database and schemas",
      notes: ["No collation: with one, keys that differ by case would be one row."],
      statements: [...sessionStatements(), ...databaseStatements(options)],
    },
    { title: "2. Access to the bucket", notes: policyNotes(input), statements: integrationStatements(input) },
    { title: "3. File format and stage", notes: [], statements: stageStatements(input) },
    ...tables.map(({ table, names }) => landingSection(table, names, options)),
    { title: "5. Notifications", ...notification },
    ...currentSections(tables, options),
    {
      title: "7. As of a time",
      notes: asOfNotes(allNames[0]),
      statements: tables.length === 0 ? [] : [commitsView(allNames, options)],
    },
    ...tables.map(({ table, names }) => ({
      title: `7. As of a time: ${names.source}`,
      notes: [],
      statements: asOfFunctions(table.shape, names, options),
    })),
    { title: "8. To look at from time to time", notes: [], statements: watchStatements(options) },
  ].filter(({ statements }) => statements.length > 0);
}

/** With this parameter on, every quoted name would be upper case, and headers would match no column. */
export function sessionStatements(): Statement[] {
  return [{ id: "session", sql: "ALTER SESSION SET QUOTED_IDENTIFIERS_IGNORE_CASE = FALSE", notes: [] }];
}

interface NamedTable {
  readonly table: SnowflakeTable;
  readonly names: TableNames;
}

function landingSection(table: SnowflakeTable, names: TableNames, options: SnowflakeOptions): Section {
  return {
    title: `4. Landing: ${names.source}`,
    notes: [],
    statements: landingStatements(table, names, options),
  };
}

function currentSections(tables: readonly NamedTable[], options: SnowflakeOptions): Section[] {
  return tables.map(({ table, names }) => ({
    title: `6. Current state: ${names.source}`,
    notes: identityNotes(table),
    statements: currentStatements(table, names, options),
  }));
}

export function currentStatements(
  table: SnowflakeTable,
  names: TableNames,
  options: SnowflakeOptions,
): Statement[] {
  const { shape } = table;
  const texts = {
    id: `view ${names.textView}`,
    sql: `CREATE OR REPLACE VIEW ${names.textView} COPY GRANTS AS\n${withQuery(rowsQuery(shape, names))}`,
    notes: [
      "The rows as Postgres prints them: where a typed value is NULL and should not be, this has the text.",
    ],
  };
  switch (options.currentState) {
    case "view":
      return [texts, typedView(shape, names)];
    case "dynamic-table":
      return [texts, dynamicTable(shape, names, options)];
    case "task":
      return [texts, ...mergeStatements(table, names, options)];
    default:
      return options.currentState satisfies never;
  }
}

function identityNotes({ shape }: SnowflakeTable): string[] {
  if (shape.key.length > 0) return [];
  return shape.replicaIdentity === "full"
    ? ["No key: a bag of rows, of which a delete takes one away."]
    : [
        "Nothing identifies a row, so Postgres sends no updates and deletes: every row that was ever inserted is here.",
      ];
}

function asOfNotes(names: TableNames | undefined): string[] {
  if (!names) return [];
  return [
    `SELECT * FROM TABLE(${names.asOf}('2026-11-22 07:00:00 +00:00'::TIMESTAMP_TZ));`,
    "Every function takes the same time to the same LSN, so tables fit together. Exact from the end of a table's",
    "copy on, as far as the files have been loaded.",
  ];
}

const WIDTH = 118;

/** The script as text: comments and statements, each with its semicolon. */
export function renderScript(head: readonly string[], sections: readonly Section[]): string {
  const parts = [comment(head), ...sections.map(renderSection)];
  return `${parts.join("\n\n")}\n`;
}

function renderSection({ title, notes, statements }: Section): string {
  const heading = `${commentLine(title)} ${"-".repeat(Math.max(3, WIDTH - title.length - 4))}`;
  const parts = statements.map(({ notes: why, sql }) => [...why.map(commentLine), `${sql};`].join("\n"));
  const first = notes.length > 0 ? [`${heading}\n${comment(notes)}`] : [heading];
  return [...first, ...parts].join("\n\n");
}

function comment(lines: readonly string[]): string {
  return lines.map(commentLine).join("\n");
}

/** A name with a line break must not end the comment. */
function commentLine(line: string): string {
  return `-- ${line.replace(/[\r\n]+/g, " ")}`.trimEnd();
}
