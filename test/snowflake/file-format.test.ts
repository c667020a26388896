import { expect, test } from "vitest";
import { snowflakeSections } from "../../src/snowflake/script.ts";
import { csvFormatOf, readCsv } from "../../src/snowpipe/csv.ts";
import { options } from "./input.ts";
import { ORDERS } from "./tables.ts";

/** The generated file format reads what the daemon writes, and does so because of each of these options. */

const sections = snowflakeSections({
  pipeline: { stageUrl: "s3://my-bucket/pgstage/shop", compression: "gzip", slot: "pgstage" },
  tables: [{ shape: ORDERS, earlier: [] }],
  options: options(),
});
const statements = sections.flatMap((section) => section.statements.map(({ sql }) => sql));
const FORMAT = statements.find((sql) => sql.startsWith("CREATE FILE FORMAT ")) ?? "";

const ROWS: readonly (readonly (string | null)[])[] = [
  ["1", "", null],
  ["2", "a,b", 'say "so"'],
  ["3", "two\nlines\r\n", "\\N"],
  ["4", " blanks ", "ends in \\"],
  ["5", "\\", "\\."],
];
const CSV = [
  'id,"a,b","c ""d"""',
  '1,"",',
  '2,"a,b","say ""so"""',
  '3,"two\nlines\r\n",\\N',
  "4, blanks ,ends in \\",
  "5,\\,\\.",
  "",
].join("\n");

function read(format: string): unknown {
  const { header, records } = readCsv(Buffer.from(CSV), csvFormatOf(format));
  return { header, records };
}

const EXACT = { header: ["id", "a,b", 'c "d"'], records: ROWS };

test("reads every text as it is", () => {
  expect(read(FORMAT)).toEqual(EXACT);
});

test.each([
  ["FIELD_OPTIONALLY_ENCLOSED_BY", null],
  ["FIELD_OPTIONALLY_ENCLOSED_BY", "NONE"],
  ["ESCAPE_UNENCLOSED_FIELD", null],
  ["NULL_IF", null],
  ["NULL_IF", "('')"],
  ["EMPTY_FIELD_AS_NULL", "FALSE"],
  ["TRIM_SPACE", "TRUE"],
  ["MULTI_LINE", "FALSE"],
  ["PARSE_HEADER", null],
  ["FIELD_DELIMITER", "'|'"],
] as const)("does not without %s, or with it %s", (name, value) => {
  const line = new RegExp(`^ {2}${name} = .*$`, "m");
  expect(FORMAT).toMatch(line);
  const changed = FORMAT.replace(line, value === null ? "" : `  ${name} = ${value}`);
  let got: unknown;
  try {
    got = read(changed);
  } catch (error) {
    got = error;
  }
  expect(got).not.toEqual(EXACT);
});
