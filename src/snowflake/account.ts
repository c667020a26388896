import type { SnowflakeInput, SnowflakeOptions, Statement } from "./input.ts";
import { fileFormatName, stageName } from "./landing.ts";
import { optionName, quoteIdentifier, quoteText, schemaPath, type TableNames } from "./names.ts";

/** What a pipeline needs once, whatever its tables: trust between the two accounts, and how files are read. */

interface Bucket {
  readonly name: string;
  /** Without slashes at its ends; empty for the whole bucket. */
  readonly prefix: string;
}

/** The bucket behind an `s3://` stage. A stage in a directory gives placeholders: Snowflake cannot read one. */
function bucketOf(stageUrl: string): Bucket {
  const match = /^s3:\/\/([^/]+)\/?(.*?)\/*$/.exec(stageUrl);
  return match?.[1]
    ? { name: match[1], prefix: match[2] ?? "" }
    : { name: "YOUR-BUCKET", prefix: "YOUR-PREFIX" };
}

/** With the closing slash, without which `stage` would match `stage2`, too. */
function bucketUrl({ name, prefix }: Bucket): string {
  return prefix === "" ? `s3://${name}/` : `s3://${name}/${prefix}/`;
}

function roleOf(options: SnowflakeOptions): string {
  return options.roleArn ?? "arn:aws:iam::YOUR-AWS-ACCOUNT:role/YOUR-SNOWFLAKE-ROLE";
}

/** `aws`, `aws-cn` or `aws-us-gov`, from the role's ARN. */
function partitionOf(options: SnowflakeOptions): string {
  return roleOf(options).split(":")[1] ?? "aws";
}

export function databaseStatements(options: SnowflakeOptions): Statement[] {
  const database = quoteIdentifier(optionName(options.database));
  const schemas = [options.schema, options.landingSchema].map((name) => schemaPath(options, name));
  return [
    { id: `database ${database}`, sql: `CREATE DATABASE IF NOT EXISTS ${database}`, notes: [] },
    ...schemas.map((path) => ({
      id: `schema ${path}`,
      sql: `CREATE SCHEMA IF NOT EXISTS ${path}\n  DEFAULT_DDL_COLLATION = ''`,
      notes: [],
    })),
  ];
}

export function integrationStatements(input: SnowflakeInput): Statement[] {
  const { options } = input;
  const integration = quoteIdentifier(optionName(options.integration));
  const bucket = bucketOf(input.pipeline.stageUrl);
  return [
    {
      id: `integration ${integration}`,
      sql: `CREATE STORAGE INTEGRATION IF NOT EXISTS ${integration}
  TYPE = EXTERNAL_STAGE
  STORAGE_PROVIDER = 'S3'
  ENABLED = TRUE
  STORAGE_AWS_ROLE_ARN = ${quoteText(roleOf(options))}
  STORAGE_ALLOWED_LOCATIONS = (${quoteText(bucketUrl(bucket))})`,
      notes: ["Needs ACCOUNTADMIN, or CREATE INTEGRATION. Never replaced: that would break the trust below."],
    },
    {
      id: `describe ${integration}`,
      sql: `DESCRIBE INTEGRATION ${integration}`,
      notes: ["Shows STORAGE_AWS_IAM_USER_ARN and STORAGE_AWS_EXTERNAL_ID, which the role has to trust."],
    },
  ];
}

/** Source: Snowflake's user guide, "Configuring secure access to Amazon S3". */
export function policyNotes(input: SnowflakeInput): string[] {
  const { options } = input;
  const { name, prefix } = bucketOf(input.pipeline.stageUrl);
  const bucketArn = `arn:${partitionOf(options)}:s3:::${name}`;
  const below = prefix === "" ? "*" : `${prefix}/*`;
  const policy = {
    Version: "2012-10-17",
    Statement: [
      { Effect: "Allow", Action: ["s3:GetObject", "s3:GetObjectVersion"], Resource: `${bucketArn}/${below}` },
      { Effect: "Allow", Action: ["s3:GetBucketLocation"], Resource: bucketArn },
      {
        Effect: "Allow",
        Action: ["s3:ListBucket"],
        Resource: bucketArn,
        Condition: { StringLike: { "s3:prefix": [below] } },
      },
    ],
  };
  const trust = {
    Version: "2012-10-17",
    Statement: [
      {
        Effect: "Allow",
        Principal: { AWS: "<STORAGE_AWS_IAM_USER_ARN>" },
        Action: "sts:AssumeRole",
        Condition: { StringEquals: { "sts:ExternalId": "<STORAGE_AWS_EXTERNAL_ID>" } },
      },
    ],
  };
  return [
    `In AWS: the permissions policy of the role ${roleOf(options)}`,
    "(with SSE-KMS it also needs kms:Decrypt on the key):",
    ...json(policy),
    "and its trust policy, with the two values that DESCRIBE INTEGRATION shows:",
    ...json(trust),
  ];
}

function json(value: unknown): string[] {
  return JSON.stringify(value, null, 2).split("\n");
}

export function stageStatements(input: SnowflakeInput): Statement[] {
  const { options } = input;
  const format = fileFormatName(options);
  return [
    {
      id: `file format ${format}`,
      sql: `CREATE FILE FORMAT IF NOT EXISTS ${format}\n  ${FILE_FORMAT.map(([name, value]) => `${name} = ${value}`).join("\n  ")}`,
      notes: [
        "ESCAPE_UNENCLOSED_FIELD and NULL_IF have defaults that lose data: a backslash at the end of a line would join",
        'it to the next, and a text \\N would become NULL. An unquoted empty field is NULL, "" is the empty text.',
      ],
    },
    {
      id: `stage ${stageName(options)}`,
      sql: `CREATE STAGE IF NOT EXISTS ${stageName(options)}
  URL = ${quoteText(bucketUrl(bucketOf(input.pipeline.stageUrl)))}
  STORAGE_INTEGRATION = ${quoteIdentifier(optionName(options.integration))}
  FILE_FORMAT = (FORMAT_NAME = ${quoteText(format)})`,
      notes: input.pipeline.stageUrl.startsWith("s3:")
        ? []
        : [
            "This pipeline stages to a directory, which Snowflake cannot read: put an S3 bucket in its place.",
          ],
    },
  ];
}

/**
 * Every option of a CSV file format, so that no default of an account or a later release decides. AUTO for the
 * compression: after a change of format.compression the stage holds files of both kinds.
 * Source: Snowflake's SQL reference, "CREATE FILE FORMAT".
 */
const FILE_FORMAT: readonly (readonly [string, string])[] = [
  ["TYPE", "CSV"],
  ["COMPRESSION", "AUTO"],
  ["RECORD_DELIMITER", "'\\n'"],
  ["FIELD_DELIMITER", "','"],
  ["PARSE_HEADER", "TRUE"],
  ["SKIP_BLANK_LINES", "FALSE"],
  ["ESCAPE", "NONE"],
  ["ESCAPE_UNENCLOSED_FIELD", "NONE"],
  ["TRIM_SPACE", "FALSE"],
  ["FIELD_OPTIONALLY_ENCLOSED_BY", "'\"'"],
  ["NULL_IF", "()"],
  ["EMPTY_FIELD_AS_NULL", "TRUE"],
  ["ERROR_ON_COLUMN_COUNT_MISMATCH", "FALSE"],
  ["REPLACE_INVALID_CHARACTERS", "FALSE"],
  ["SKIP_BYTE_ORDER_MARK", "FALSE"],
  ["MULTI_LINE", "TRUE"],
  ["ENCODING", "'UTF8'"],
];

/** What to do in AWS so that new files make the pipes run. All pipes of an account and bucket share one queue. */
export function notificationStatements(
  input: SnowflakeInput,
  tables: readonly TableNames[],
): { readonly notes: string[]; readonly statements: Statement[] } {
  const { name, prefix } = bucketOf(input.pipeline.stageUrl);
  const landing = schemaPath(input.options, input.options.landingSchema);
  const configuration = {
    QueueConfigurations: [
      {
        Id: `pgstage-${input.pipeline.slot}`,
        QueueArn: "<notification_channel>",
        Events: ["s3:ObjectCreated:*"],
        ...(prefix === ""
          ? {}
          : { Filter: { Key: { FilterRules: [{ Name: "prefix", Value: `${prefix}/` }] } } }),
      },
    ],
  };
  const notes = [
    "In AWS, once a bucket: send events to the queue that SHOW PIPES names in notification_channel (the same for all",
    "pipes). All created objects, because a multipart upload is not a Put. put-bucket-notification-configuration",
    "replaces what is there: merge it with the bucket's other notifications.",
    `aws s3api put-bucket-notification-configuration --bucket ${name} --notification-configuration '`,
    ...json(configuration),
    "'",
  ];
  const statements = [
    { id: "show pipes", sql: `SHOW PIPES IN SCHEMA ${landing}`, notes: [] },
    ...tables.map((table, index) => ({
      id: `refresh ${table.pipe}`,
      sql: `ALTER PIPE ${table.pipe} REFRESH`,
      notes:
        index === 0
          ? [
              "Files that were staged before the notifications worked, up to 7 days ago. Older ones: run the pipe's COPY",
              "statement by hand first. Files that a pipe has loaded already are not loaded again.",
            ]
          : [],
    })),
  ];
  return { notes, statements };
}

/** Both are empty while everything is well. */
export function watchStatements(options: SnowflakeOptions): Statement[] {
  const database = optionName(options.database);
  const schema = optionName(options.landingSchema);
  return [
    {
      id: "watch files",
      sql: `SELECT TABLE_NAME, FILE_NAME, STATUS, ERROR_COUNT, FIRST_ERROR_MESSAGE
FROM SNOWFLAKE.ACCOUNT_USAGE.COPY_HISTORY
WHERE TABLE_CATALOG_NAME = ${quoteText(database)}
  AND TABLE_SCHEMA_NAME = ${quoteText(schema)}
  AND STATUS <> 'Loaded'
  AND LAST_LOAD_TIME > DATEADD('day', -14, CURRENT_TIMESTAMP())`,
      notes: [
        "Files that Snowpipe did not load in full (it shows them within two hours). A pipe does not try again: run its",
        "COPY statement by hand once the cause is mended.",
      ],
    },
    {
      id: "watch columns",
      sql: `SELECT TABLE_NAME, COLUMN_NAME, DATA_TYPE, CHARACTER_MAXIMUM_LENGTH
FROM ${quoteIdentifier(database)}.INFORMATION_SCHEMA.COLUMNS
WHERE TABLE_SCHEMA = ${quoteText(schema)}
  AND TABLE_NAME IN (
    SELECT TABLE_NAME
    FROM ${quoteIdentifier(database)}.INFORMATION_SCHEMA.TABLES
    WHERE TABLE_SCHEMA = ${quoteText(schema)} AND TABLE_TYPE = 'BASE TABLE'
  )
  AND NOT (DATA_TYPE = 'TEXT' AND CHARACTER_MAXIMUM_LENGTH = 134217728)
  AND NOT (DATA_TYPE = 'NUMBER' AND NUMERIC_PRECISION = 38)`,
      notes: [
        "Columns that schema evolution added before you did: it guesses a type from the first file, which may refuse or",
        "change later values. Shorter text: ALTER TABLE … ALTER COLUMN … SET DATA TYPE VARCHAR(134217728). Another",
        "type: DROP COLUMN, ADD COLUMN … VARCHAR(134217728), then `pgstage resync TABLE` stages the table afresh.",
      ],
    },
  ];
}
