import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Clauses that this grammar lacks; what stands around them is still read. */
const UNKNOWN_CLAUSES = [
  /\n\s*(PARSE_HEADER|MULTI_LINE) = TRUE/g,
  /\nENABLE_SCHEMA_EVOLUTION = TRUE/,
  /\n(MATCH_BY_COLUMN_NAME|INCLUDE_METADATA|TRUNCATECOLUMNS) = .*/g,
];
/** Statements that it lacks altogether. */
const UNKNOWN_STATEMENTS = [/^CREATE STORAGE INTEGRATION/, /ADD COLUMN\n\s*IF NOT EXISTS/];

const directory = mkdtempSync(join(tmpdir(), "sqlfluff-"));
let parsed = 0;
let failed = 0;
try {
  for (const file of process.argv.slice(2)) {
    for (const statement of statementsOf(readFileSync(file, "utf8"))) {
      const first = statement.split("\n", 1)[0];
      if (UNKNOWN_STATEMENTS.some((pattern) => pattern.test(statement))) {
        console.log(`left out: ${first}`);
        continue;
      }
      // It has no table functions: their bodies are read as queries.
      const read = /^CREATE OR REPLACE FUNCTION [^]*\nAS\n\$\$\n([^]*)\n\$\$$/.exec(statement)?.[1] ?? statement;
      const sql = UNKNOWN_CLAUSES.reduce((text, pattern) => text.replace(pattern, ""), read);
      const path = join(directory, "statement.sql");
      writeFileSync(path, `${sql};\n`);
      const run = spawnSync("sqlfluff", ["parse", "--dialect", "snowflake", path], { encoding: "utf8" });
      if (run.error) throw run.error;
      if (run.status === 0 && !/unparsable/i.test(run.stdout)) {
        parsed++;
        continue;
      }
      failed++;
      console.error(`${file}: ${first}\n${run.stdout.split("\n").filter((line) => /PRS|unparsable/.test(line)).join("\n")}${run.stderr}`);
    }
  }
} finally {
  rmSync(directory, { recursive: true });
}
console.log(`${parsed} statements parsed, ${failed} refused`);
// Nothing parsed means that nothing was found to parse.
process.exitCode = failed > 0 || parsed < 20 ? 1 : 0;

/** The golden scripts end every statement with a semicolon at the end of a line; comments are lines of their own. */
function statementsOf(script) {
  return script
    .split("\n")
    .filter((line) => !line.startsWith("--"))
    .join("\n")
    .split(/;\n/)
    .map((statement) => statement.trim())
    .filter((statement) => statement !== "");
}
