-- Generated for a test.

-- 1. Database and schemas -------------------------------------------------------------------------------------------
-- No collation: with one, keys that differ by case would be one row.

ALTER SESSION SET QUOTED_IDENTIFIERS_IGNORE_CASE = FALSE;

CREATE DATABASE IF NOT EXISTS "PGSTAGE";

CREATE SCHEMA IF NOT EXISTS "PGSTAGE"."PUBLIC"
  DEFAULT_DDL_COLLATION = '';

CREATE SCHEMA IF NOT EXISTS "PGSTAGE"."PUBLIC_LANDING"
  DEFAULT_DDL_COLLATION = '';

-- 2. Access to the bucket -------------------------------------------------------------------------------------------
-- In AWS: the permissions policy of the role arn:aws:iam::123456789012:role/snowflake-reads-the-stage
-- (with SSE-KMS it also needs kms:Decrypt on the key):
-- {
--   "Version": "2012-10-17",
--   "Statement": [
--     {
--       "Effect": "Allow",
--       "Action": [
--         "s3:GetObject",
--         "s3:GetObjectVersion"
--       ],
--       "Resource": "arn:aws:s3:::my-bucket/pgstage/shop/*"
--     },
--     {
--       "Effect": "Allow",
--       "Action": [
--         "s3:GetBucketLocation"
--       ],
--       "Resource": "arn:aws:s3:::my-bucket"
--     },
--     {
--       "Effect": "Allow",
--       "Action": [
--         "s3:ListBucket"
--       ],
--       "Resource": "arn:aws:s3:::my-bucket",
--       "Condition": {
--         "StringLike": {
--           "s3:prefix": [
--             "pgstage/shop/*"
--           ]
--         }
--       }
--     }
--   ]
-- }
-- and its trust policy, with the two values that DESCRIBE INTEGRATION shows:
-- {
--   "Version": "2012-10-17",
--   "Statement": [
--     {
--       "Effect": "Allow",
--       "Principal": {
--         "AWS": "<STORAGE_AWS_IAM_USER_ARN>"
--       },
--       "Action": "sts:AssumeRole",
--       "Condition": {
--         "StringEquals": {
--           "sts:ExternalId": "<STORAGE_AWS_EXTERNAL_ID>"
--         }
--       }
--     }
--   ]
-- }

-- Needs ACCOUNTADMIN, or CREATE INTEGRATION. Never replaced: that would break the trust below.
CREATE STORAGE INTEGRATION IF NOT EXISTS "PGSTAGE_S3"
  TYPE = EXTERNAL_STAGE
  STORAGE_PROVIDER = 'S3'
  ENABLED = TRUE
  STORAGE_AWS_ROLE_ARN = 'arn:aws:iam::123456789012:role/snowflake-reads-the-stage'
  STORAGE_ALLOWED_LOCATIONS = ('s3://my-bucket/pgstage/shop/');

-- Shows STORAGE_AWS_IAM_USER_ARN and STORAGE_AWS_EXTERNAL_ID, which the role has to trust.
DESCRIBE INTEGRATION "PGSTAGE_S3";

-- 3. File format and stage ------------------------------------------------------------------------------------------

-- ESCAPE_UNENCLOSED_FIELD and NULL_IF have defaults that lose data: a backslash at the end of a line would join
-- it to the next, and a text \N would become NULL. An unquoted empty field is NULL, "" is the empty text.
CREATE FILE FORMAT IF NOT EXISTS "PGSTAGE"."PUBLIC_LANDING"."pgstage_csv"
  TYPE = CSV
  COMPRESSION = AUTO
  RECORD_DELIMITER = '\n'
  FIELD_DELIMITER = ','
  PARSE_HEADER = TRUE
  SKIP_BLANK_LINES = FALSE
  ESCAPE = NONE
  ESCAPE_UNENCLOSED_FIELD = NONE
  TRIM_SPACE = FALSE
  FIELD_OPTIONALLY_ENCLOSED_BY = '"'
  NULL_IF = ()
  EMPTY_FIELD_AS_NULL = TRUE
  ERROR_ON_COLUMN_COUNT_MISMATCH = FALSE
  REPLACE_INVALID_CHARACTERS = FALSE
  SKIP_BYTE_ORDER_MARK = FALSE
  MULTI_LINE = TRUE
  ENCODING = 'UTF8';

CREATE STAGE IF NOT EXISTS "PGSTAGE"."PUBLIC_LANDING"."pgstage"
  URL = 's3://my-bucket/pgstage/shop/'
  STORAGE_INTEGRATION = "PGSTAGE_S3"
  FILE_FORMAT = (FORMAT_NAME = '"PGSTAGE"."PUBLIC_LANDING"."pgstage_csv"');

-- 4. Landing: public.a "b"'c\$$-- -----------------------------------------------------------------------------------

CREATE TABLE IF NOT EXISTS "PGSTAGE"."PUBLIC_LANDING"."a ""b""'c\$$--" (
  "_op" VARCHAR(134217728),
  "_lsn" VARCHAR(134217728),
  "_seq" NUMBER(38,0),
  "_committed_at" VARCHAR(134217728),
  "_unchanged" VARCHAR(134217728),
  "_file" VARCHAR(134217728),
  "_row" NUMBER(38,0),
  "Id" VARCHAR(134217728),
  "id" VARCHAR(134217728),
  "x""y'z\" VARCHAR(134217728),
  "é
☃ $$" VARCHAR(134217728)
)
ENABLE_SCHEMA_EVOLUTION = TRUE;

CREATE PIPE IF NOT EXISTS "PGSTAGE"."PUBLIC_LANDING"."a ""b""'c\$$--"
  AUTO_INGEST = TRUE
AS
COPY INTO "PGSTAGE"."PUBLIC_LANDING"."a ""b""'c\$$--"
FROM '@"PGSTAGE"."PUBLIC_LANDING"."pgstage"/public/a%20%22b%22%27c%5C%24%24--/'
FILE_FORMAT = (FORMAT_NAME = '"PGSTAGE"."PUBLIC_LANDING"."pgstage_csv"')
MATCH_BY_COLUMN_NAME = CASE_SENSITIVE
INCLUDE_METADATA = ("_file" = METADATA$FILENAME, "_row" = METADATA$FILE_ROW_NUMBER)
TRUNCATECOLUMNS = TRUE
ON_ERROR = SKIP_FILE;

-- 5. Notifications --------------------------------------------------------------------------------------------------
-- In AWS, once a bucket: send events to the queue that SHOW PIPES names in notification_channel (the same for all
-- pipes). All created objects, because a multipart upload is not a Put. put-bucket-notification-configuration
-- replaces what is there: merge it with the bucket's other notifications.
-- aws s3api put-bucket-notification-configuration --bucket my-bucket --notification-configuration '
-- {
--   "QueueConfigurations": [
--     {
--       "Id": "pgstage-pgstage",
--       "QueueArn": "<notification_channel>",
--       "Events": [
--         "s3:ObjectCreated:*"
--       ],
--       "Filter": {
--         "Key": {
--           "FilterRules": [
--             {
--               "Name": "prefix",
--               "Value": "pgstage/shop/"
--             }
--           ]
--         }
--       }
--     }
--   ]
-- }
-- '

SHOW PIPES IN SCHEMA "PGSTAGE"."PUBLIC_LANDING";

-- Files that were staged before the notifications worked, up to 7 days ago. Older ones: run the pipe's COPY
-- statement by hand first. Files that a pipe has loaded already are not loaded again.
ALTER PIPE "PGSTAGE"."PUBLIC_LANDING"."a ""b""'c\$$--" REFRESH;

-- 6. Current state: public.a "b"'c\$$-- -----------------------------------------------------------------------------

-- The rows as Postgres prints them: where a typed value is NULL and should not be, this has the text.
CREATE OR REPLACE VIEW "PGSTAGE"."PUBLIC_LANDING"."a ""b""'c\$$--__text" COPY GRANTS AS
WITH changes AS (
  SELECT
    "Id",
    "id",
    "x""y'z\",
    "é
☃ $$",
    "_op",
    "_lsn",
    "_seq",
    "_committed_at",
    "_file",
    "_row",
    "_lsn" || '.' || LPAD(TO_VARCHAR("_seq"), 20, '0') AS "position",
    TRY_PARSE_JSON("_unchanged")::ARRAY AS "unchanged_columns"
  FROM "PGSTAGE"."PUBLIC_LANDING"."a ""b""'c\$$--"
),
voided AS (
  SELECT COALESCE(MAX("position"), '') AS "position"
  FROM changes
  WHERE "_op" = 't'
),
live AS (
  SELECT c.*
  FROM changes c
  CROSS JOIN voided v
  WHERE c."_op" <> 't' AND c."position" >= v."position"
)
SELECT
  "Id",
  FIRST_VALUE("id") OVER (PARTITION BY "Id" ORDER BY IFF(ARRAY_CONTAINS('id'::VARIANT, "unchanged_columns"), 1, 0), "position" DESC) AS "id",
  FIRST_VALUE("x""y'z\") OVER (PARTITION BY "Id" ORDER BY IFF(ARRAY_CONTAINS('x"y''z\\'::VARIANT, "unchanged_columns"), 1, 0), "position" DESC) AS "x""y'z\",
  FIRST_VALUE("é
☃ $$") OVER (PARTITION BY "Id" ORDER BY IFF(ARRAY_CONTAINS('é
☃ $$'::VARIANT, "unchanged_columns"), 1, 0), "position" DESC) AS "é
☃ $$",
  "_lsn",
  "_seq",
  "_committed_at"
FROM live
QUALIFY ROW_NUMBER() OVER (PARTITION BY "Id" ORDER BY "position" DESC) = 1 AND "_op" <> 'd';

CREATE OR REPLACE VIEW "PGSTAGE"."PUBLIC"."a ""b""'c\$$--" COPY GRANTS AS
SELECT
  TRY_CAST("Id" AS NUMBER(38,0)) AS "Id", -- integer: every value fits
  "id", -- text: as it stands
  "x""y'z\", -- text: as it stands
  "é
☃ $$", -- text[]: Postgres's array text: bounds, nesting and NULL elements have no equivalent that keeps all
  "_lsn", -- commit LSN of the change that made the row
  "_seq", -- its place in the transaction
  TRY_TO_TIMESTAMP_TZ("_committed_at", 'YYYY-MM-DD HH24:MI:SS.FF6TZH') AS "_committed_at" -- its commit time
FROM "PGSTAGE"."PUBLIC_LANDING"."a ""b""'c\$$--__text";

-- 7. As of a time ---------------------------------------------------------------------------------------------------
-- SELECT * FROM TABLE("PGSTAGE"."PUBLIC"."a ""b""'c\$$--_as_of"('2026-11-22 07:00:00 +00:00'::TIMESTAMP_TZ));
-- Every function takes the same time to the same LSN, so tables fit together. Exact from the end of a table's
-- copy on, as far as the files have been loaded.

CREATE OR REPLACE VIEW "PGSTAGE"."PUBLIC_LANDING"."pgstage_commits" COPY GRANTS AS
SELECT "_lsn" AS LSN, "_committed_at" AS COMMITTED_AT FROM "PGSTAGE"."PUBLIC_LANDING"."a ""b""'c\$$--";

-- 7. As of a time: public.a "b"'c\$$-- ------------------------------------------------------------------------------

CREATE OR REPLACE FUNCTION "PGSTAGE"."PUBLIC"."a ""b""'c\$$--_as_of_lsn"("as_of_lsn" VARCHAR)
COPY GRANTS
RETURNS TABLE (
  "Id" NUMBER(38,0),
  "id" VARCHAR(134217728),
  "x""y'z\" VARCHAR(134217728),
  "é
☃ $$" VARCHAR(134217728),
  "_lsn" VARCHAR(134217728),
  "_seq" NUMBER(38,0),
  "_committed_at" TIMESTAMP_TZ
)
AS
'WITH changes AS (
  SELECT
    "Id",
    "id",
    "x""y''z\\",
    "é
☃ $$",
    "_op",
    "_lsn",
    "_seq",
    "_committed_at",
    "_file",
    "_row",
    "_lsn" || ''.'' || LPAD(TO_VARCHAR("_seq"), 20, ''0'') AS "position",
    TRY_PARSE_JSON("_unchanged")::ARRAY AS "unchanged_columns"
  FROM "PGSTAGE"."PUBLIC_LANDING"."a ""b""''c\\$$--"
  WHERE "_lsn" <= "as_of_lsn"
),
voided AS (
  SELECT COALESCE(MAX("position"), '''') AS "position"
  FROM changes
  WHERE "_op" = ''t''
),
live AS (
  SELECT c.*
  FROM changes c
  CROSS JOIN voided v
  WHERE c."_op" <> ''t'' AND c."position" >= v."position"
),
rows_then AS (
SELECT
  "Id",
  FIRST_VALUE("id") OVER (PARTITION BY "Id" ORDER BY IFF(ARRAY_CONTAINS(''id''::VARIANT, "unchanged_columns"), 1, 0), "position" DESC) AS "id",
  FIRST_VALUE("x""y''z\\") OVER (PARTITION BY "Id" ORDER BY IFF(ARRAY_CONTAINS(''x"y''''z\\\\''::VARIANT, "unchanged_columns"), 1, 0), "position" DESC) AS "x""y''z\\",
  FIRST_VALUE("é
☃ $$") OVER (PARTITION BY "Id" ORDER BY IFF(ARRAY_CONTAINS(''é
☃ $$''::VARIANT, "unchanged_columns"), 1, 0), "position" DESC) AS "é
☃ $$",
  "_lsn",
  "_seq",
  "_committed_at"
FROM live
QUALIFY ROW_NUMBER() OVER (PARTITION BY "Id" ORDER BY "position" DESC) = 1 AND "_op" <> ''d''
)
SELECT
  CAST(TRY_CAST("Id" AS NUMBER(38,0)) AS NUMBER(38,0)) AS "Id",
  CAST("id" AS VARCHAR(134217728)) AS "id",
  CAST("x""y''z\\" AS VARCHAR(134217728)) AS "x""y''z\\",
  CAST("é
☃ $$" AS VARCHAR(134217728)) AS "é
☃ $$",
  CAST("_lsn" AS VARCHAR(134217728)) AS "_lsn",
  CAST("_seq" AS NUMBER(38,0)) AS "_seq",
  CAST(TRY_TO_TIMESTAMP_TZ("_committed_at", ''YYYY-MM-DD HH24:MI:SS.FF6TZH'') AS TIMESTAMP_TZ) AS "_committed_at"
FROM rows_then';

CREATE OR REPLACE FUNCTION "PGSTAGE"."PUBLIC"."a ""b""'c\$$--_as_of"("as_of_time" TIMESTAMP_TZ)
COPY GRANTS
RETURNS TABLE (
  "Id" NUMBER(38,0),
  "id" VARCHAR(134217728),
  "x""y'z\" VARCHAR(134217728),
  "é
☃ $$" VARCHAR(134217728),
  "_lsn" VARCHAR(134217728),
  "_seq" NUMBER(38,0),
  "_committed_at" TIMESTAMP_TZ
)
AS
'WITH changes AS (
  SELECT
    "Id",
    "id",
    "x""y''z\\",
    "é
☃ $$",
    "_op",
    "_lsn",
    "_seq",
    "_committed_at",
    "_file",
    "_row",
    "_lsn" || ''.'' || LPAD(TO_VARCHAR("_seq"), 20, ''0'') AS "position",
    TRY_PARSE_JSON("_unchanged")::ARRAY AS "unchanged_columns"
  FROM "PGSTAGE"."PUBLIC_LANDING"."a ""b""''c\\$$--"
  WHERE "_lsn" <= (
    SELECT MAX(LSN)
    FROM "PGSTAGE"."PUBLIC_LANDING"."pgstage_commits"
    WHERE TRY_TO_TIMESTAMP_TZ(COMMITTED_AT, ''YYYY-MM-DD HH24:MI:SS.FF6TZH'') <= "as_of_time"
  )
),
voided AS (
  SELECT COALESCE(MAX("position"), '''') AS "position"
  FROM changes
  WHERE "_op" = ''t''
),
live AS (
  SELECT c.*
  FROM changes c
  CROSS JOIN voided v
  WHERE c."_op" <> ''t'' AND c."position" >= v."position"
),
rows_then AS (
SELECT
  "Id",
  FIRST_VALUE("id") OVER (PARTITION BY "Id" ORDER BY IFF(ARRAY_CONTAINS(''id''::VARIANT, "unchanged_columns"), 1, 0), "position" DESC) AS "id",
  FIRST_VALUE("x""y''z\\") OVER (PARTITION BY "Id" ORDER BY IFF(ARRAY_CONTAINS(''x"y''''z\\\\''::VARIANT, "unchanged_columns"), 1, 0), "position" DESC) AS "x""y''z\\",
  FIRST_VALUE("é
☃ $$") OVER (PARTITION BY "Id" ORDER BY IFF(ARRAY_CONTAINS(''é
☃ $$''::VARIANT, "unchanged_columns"), 1, 0), "position" DESC) AS "é
☃ $$",
  "_lsn",
  "_seq",
  "_committed_at"
FROM live
QUALIFY ROW_NUMBER() OVER (PARTITION BY "Id" ORDER BY "position" DESC) = 1 AND "_op" <> ''d''
)
SELECT
  CAST(TRY_CAST("Id" AS NUMBER(38,0)) AS NUMBER(38,0)) AS "Id",
  CAST("id" AS VARCHAR(134217728)) AS "id",
  CAST("x""y''z\\" AS VARCHAR(134217728)) AS "x""y''z\\",
  CAST("é
☃ $$" AS VARCHAR(134217728)) AS "é
☃ $$",
  CAST("_lsn" AS VARCHAR(134217728)) AS "_lsn",
  CAST("_seq" AS NUMBER(38,0)) AS "_seq",
  CAST(TRY_TO_TIMESTAMP_TZ("_committed_at", ''YYYY-MM-DD HH24:MI:SS.FF6TZH'') AS TIMESTAMP_TZ) AS "_committed_at"
FROM rows_then';

-- 8. To look at from time to time -----------------------------------------------------------------------------------

-- Files that Snowpipe did not load in full (it shows them within two hours). A pipe does not try again: run its
-- COPY statement by hand once the cause is mended.
SELECT TABLE_NAME, FILE_NAME, STATUS, ERROR_COUNT, FIRST_ERROR_MESSAGE
FROM SNOWFLAKE.ACCOUNT_USAGE.COPY_HISTORY
WHERE TABLE_CATALOG_NAME = 'PGSTAGE'
  AND TABLE_SCHEMA_NAME = 'PUBLIC_LANDING'
  AND STATUS <> 'Loaded'
  AND LAST_LOAD_TIME > DATEADD('day', -14, CURRENT_TIMESTAMP());

-- Columns that schema evolution added before you did: it guesses a type from the first file, which may refuse or
-- change later values. Shorter text: ALTER TABLE … ALTER COLUMN … SET DATA TYPE VARCHAR(134217728). Another
-- type: DROP COLUMN, ADD COLUMN … VARCHAR(134217728), then `pgstage resync TABLE` stages the table afresh.
SELECT TABLE_NAME, COLUMN_NAME, DATA_TYPE, CHARACTER_MAXIMUM_LENGTH
FROM "PGSTAGE".INFORMATION_SCHEMA.COLUMNS
WHERE TABLE_SCHEMA = 'PUBLIC_LANDING'
  AND TABLE_NAME IN (
    SELECT TABLE_NAME
    FROM "PGSTAGE".INFORMATION_SCHEMA.TABLES
    WHERE TABLE_SCHEMA = 'PUBLIC_LANDING' AND TABLE_TYPE = 'BASE TABLE'
  )
  AND NOT (DATA_TYPE = 'TEXT' AND CHARACTER_MAXIMUM_LENGTH = 134217728)
  AND NOT (DATA_TYPE = 'NUMBER' AND NUMERIC_PRECISION = 38);
