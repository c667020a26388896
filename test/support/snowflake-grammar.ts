/**
 * The statements that no parser at hand knows, as Snowflake's SQL reference gives them: which clauses and options
 * there are, and what each takes. A statement is read whole; anything left over is an error.
 */
const NAME = String.raw`(?:"(?:[^"]|"")+")(?:\."(?:[^"]|"")+"){0,2}`;
const TEXT = String.raw`'(?:[^'\\]|''|\\.)*'`;
const FLAG = "(?:TRUE|FALSE)";
const LOCATION = String.raw`(?:@${NAME}/[A-Za-z0-9._/-]*|${TEXT})`;

const FILE_FORMAT: Readonly<Record<string, string>> = {
  TYPE: "CSV",
  COMPRESSION: "(?:AUTO|GZIP|BZ2|BROTLI|ZSTD|DEFLATE|RAW_DEFLATE|NONE)",
  RECORD_DELIMITER: `(?:${TEXT}|NONE)`,
  FIELD_DELIMITER: `(?:${TEXT}|NONE)`,
  MULTI_LINE: FLAG,
  PARSE_HEADER: FLAG,
  SKIP_BLANK_LINES: FLAG,
  ESCAPE: `(?:${TEXT}|NONE)`,
  ESCAPE_UNENCLOSED_FIELD: `(?:${TEXT}|NONE)`,
  TRIM_SPACE: FLAG,
  FIELD_OPTIONALLY_ENCLOSED_BY: `(?:${TEXT}|NONE)`,
  NULL_IF: String.raw`\((?:${TEXT}(?:, ${TEXT})*)?\)`,
  ERROR_ON_COLUMN_COUNT_MISMATCH: FLAG,
  REPLACE_INVALID_CHARACTERS: FLAG,
  EMPTY_FIELD_AS_NULL: FLAG,
  SKIP_BYTE_ORDER_MARK: FLAG,
  ENCODING: TEXT,
};

const COPY: Readonly<Record<string, string>> = {
  FILE_FORMAT: String.raw`\(FORMAT_NAME = ${TEXT}\)`,
  MATCH_BY_COLUMN_NAME: "(?:CASE_SENSITIVE|CASE_INSENSITIVE|NONE)",
  INCLUDE_METADATA: String.raw`\(${NAME} = METADATA\$\w+(?:, ${NAME} = METADATA\$\w+)*\)`,
  TRUNCATECOLUMNS: FLAG,
  // A pipe refuses ABORT_STATEMENT.
  ON_ERROR: "(?:CONTINUE|SKIP_FILE)",
};

function options(allowed: Readonly<Record<string, string>>): string {
  return `(?:\\s+(?:${Object.entries(allowed)
    .map(([name, value]) => `${name} = ${value}`)
    .join("|")}))*`;
}

const GRAMMARS: readonly (readonly [kind: string, pattern: string])[] = [
  ["schema", String.raw`CREATE SCHEMA IF NOT EXISTS ${NAME}\s+DEFAULT_DDL_COLLATION = ''`],
  [
    "integration",
    String.raw`CREATE STORAGE INTEGRATION IF NOT EXISTS ${NAME}\s+TYPE = EXTERNAL_STAGE\s+STORAGE_PROVIDER = 'S3'\s+ENABLED = TRUE\s+STORAGE_AWS_ROLE_ARN = ${TEXT}\s+STORAGE_ALLOWED_LOCATIONS = \('s3://[^']+/'\)`,
  ],
  ["describe", `DESCRIBE INTEGRATION ${NAME}`],
  ["file format", `CREATE FILE FORMAT IF NOT EXISTS ${NAME}${options(FILE_FORMAT)}`],
  [
    "stage",
    String.raw`CREATE STAGE IF NOT EXISTS ${NAME}\s+URL = 's3://[^']+/'\s+STORAGE_INTEGRATION = ${NAME}\s+FILE_FORMAT = \(FORMAT_NAME = ${TEXT}\)`,
  ],
  [
    "landing table",
    String.raw`CREATE TABLE IF NOT EXISTS ${NAME} \(\s+${NAME} [A-Z]+\([\d,]+\)(?:,\s+${NAME} [A-Z]+\([\d,]+\))*\s+\)\s+ENABLE_SCHEMA_EVOLUTION = TRUE`,
  ],
  [
    "pipe",
    String.raw`CREATE PIPE IF NOT EXISTS ${NAME}\s+AUTO_INGEST = TRUE\s+AS\s+COPY INTO ${NAME}\s+FROM ${LOCATION}${options(COPY)}`,
  ],
  ["refresh", `ALTER PIPE ${NAME} REFRESH`],
  [
    "stream",
    String.raw`CREATE (?:OR REPLACE STREAM|STREAM IF NOT EXISTS) ${NAME}\s+ON TABLE ${NAME}\s+APPEND_ONLY = TRUE\s+SHOW_INITIAL_ROWS = TRUE`,
  ],
  ["resume", `ALTER TASK ${NAME} RESUME`],
];

/** The kind of a statement that one of these grammars accepts, or null. */
export function statementKind(sql: string): string | null {
  return GRAMMARS.find(([, pattern]) => new RegExp(`^${pattern}$`).test(sql))?.[0] ?? null;
}
