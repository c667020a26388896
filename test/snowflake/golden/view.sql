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
CREATE FILE FORMAT IF NOT EXISTS "PGSTAGE"."PUBLIC_LANDING"."PGSTAGE_CSV"
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

CREATE STAGE IF NOT EXISTS "PGSTAGE"."PUBLIC_LANDING"."PGSTAGE"
  URL = 's3://my-bucket/pgstage/shop/'
  STORAGE_INTEGRATION = "PGSTAGE_S3"
  FILE_FORMAT = (FORMAT_NAME = '"PGSTAGE"."PUBLIC_LANDING"."PGSTAGE_CSV"');

-- 4. Landing: public.orders -----------------------------------------------------------------------------------------

CREATE TABLE IF NOT EXISTS "PGSTAGE"."PUBLIC_LANDING"."ORDERS" (
  "_OP" VARCHAR(134217728),
  "_LSN" VARCHAR(134217728),
  "_SEQ" NUMBER(38,0),
  "_COMMITTED_AT" VARCHAR(134217728),
  "_UNCHANGED" VARCHAR(134217728),
  "_FILE" VARCHAR(134217728),
  "_ROW" NUMBER(38,0),
  "ID" VARCHAR(134217728),
  "CUSTOMER" VARCHAR(134217728),
  "TOTAL" VARCHAR(134217728),
  "PLACED_AT" VARCHAR(134217728),
  "DETAILS" VARCHAR(134217728)
)
ENABLE_SCHEMA_EVOLUTION = TRUE;

CREATE PIPE IF NOT EXISTS "PGSTAGE"."PUBLIC_LANDING"."ORDERS"
  AUTO_INGEST = TRUE
AS
COPY INTO "PGSTAGE"."PUBLIC_LANDING"."ORDERS"
FROM @"PGSTAGE"."PUBLIC_LANDING"."PGSTAGE"/public/orders/
FILE_FORMAT = (FORMAT_NAME = '"PGSTAGE"."PUBLIC_LANDING"."PGSTAGE_CSV"')
MATCH_BY_COLUMN_NAME = CASE_INSENSITIVE
INCLUDE_METADATA = ("_FILE" = METADATA$FILENAME, "_ROW" = METADATA$FILE_ROW_NUMBER)
TRUNCATECOLUMNS = TRUE
ON_ERROR = SKIP_FILE;

-- 4. Landing: web.visits --------------------------------------------------------------------------------------------

CREATE TABLE IF NOT EXISTS "PGSTAGE"."PUBLIC_LANDING"."WEB__VISITS" (
  "_OP" VARCHAR(134217728),
  "_LSN" VARCHAR(134217728),
  "_SEQ" NUMBER(38,0),
  "_COMMITTED_AT" VARCHAR(134217728),
  "_UNCHANGED" VARCHAR(134217728),
  "_FILE" VARCHAR(134217728),
  "_ROW" NUMBER(38,0),
  "AT" VARCHAR(134217728),
  "PAGE" VARCHAR(134217728)
)
ENABLE_SCHEMA_EVOLUTION = TRUE;

CREATE PIPE IF NOT EXISTS "PGSTAGE"."PUBLIC_LANDING"."WEB__VISITS"
  AUTO_INGEST = TRUE
AS
COPY INTO "PGSTAGE"."PUBLIC_LANDING"."WEB__VISITS"
FROM @"PGSTAGE"."PUBLIC_LANDING"."PGSTAGE"/web/visits/
FILE_FORMAT = (FORMAT_NAME = '"PGSTAGE"."PUBLIC_LANDING"."PGSTAGE_CSV"')
MATCH_BY_COLUMN_NAME = CASE_INSENSITIVE
INCLUDE_METADATA = ("_FILE" = METADATA$FILENAME, "_ROW" = METADATA$FILE_ROW_NUMBER)
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
ALTER PIPE "PGSTAGE"."PUBLIC_LANDING"."ORDERS" REFRESH;

ALTER PIPE "PGSTAGE"."PUBLIC_LANDING"."WEB__VISITS" REFRESH;

-- 6. Current state: public.orders -----------------------------------------------------------------------------------

-- The rows as Postgres prints them: where a typed value is NULL and should not be, this has the text.
CREATE OR REPLACE VIEW "PGSTAGE"."PUBLIC_LANDING"."ORDERS__TEXT" COPY GRANTS AS
WITH changes AS (
  SELECT
    "ID",
    "CUSTOMER",
    "TOTAL",
    "PLACED_AT",
    "DETAILS",
    "_OP",
    "_LSN",
    "_SEQ",
    "_COMMITTED_AT",
    "_FILE",
    "_ROW",
    "_LSN" || '.' || LPAD(TO_VARCHAR("_SEQ"), 20, '0') AS "POSITION",
    TRY_PARSE_JSON("_UNCHANGED")::ARRAY AS "UNCHANGED_COLUMNS"
  FROM "PGSTAGE"."PUBLIC_LANDING"."ORDERS"
),
voided AS (
  SELECT COALESCE(MAX("POSITION"), '') AS "POSITION"
  FROM changes
  WHERE "_OP" = 't'
),
live AS (
  SELECT c.*
  FROM changes c
  CROSS JOIN voided v
  WHERE c."_OP" <> 't' AND c."POSITION" >= v."POSITION"
)
SELECT
  "ID",
  FIRST_VALUE("CUSTOMER") OVER (PARTITION BY "ID" ORDER BY IFF(ARRAY_CONTAINS('customer'::VARIANT, "UNCHANGED_COLUMNS"), 1, 0), "POSITION" DESC) AS "CUSTOMER",
  FIRST_VALUE("TOTAL") OVER (PARTITION BY "ID" ORDER BY IFF(ARRAY_CONTAINS('total'::VARIANT, "UNCHANGED_COLUMNS"), 1, 0), "POSITION" DESC) AS "TOTAL",
  "PLACED_AT",
  FIRST_VALUE("DETAILS") OVER (PARTITION BY "ID" ORDER BY IFF(ARRAY_CONTAINS('details'::VARIANT, "UNCHANGED_COLUMNS"), 1, 0), "POSITION" DESC) AS "DETAILS",
  "_LSN",
  "_SEQ",
  "_COMMITTED_AT"
FROM live
QUALIFY ROW_NUMBER() OVER (PARTITION BY "ID" ORDER BY "POSITION" DESC) = 1 AND "_OP" <> 'd';

CREATE OR REPLACE VIEW "PGSTAGE"."PUBLIC"."ORDERS" COPY GRANTS AS
SELECT
  TRY_CAST("ID" AS NUMBER(38,0)) AS "ID", -- bigint: every value fits
  "CUSTOMER", -- text: as it stands
  TRY_CAST("TOTAL" AS NUMBER(12,2)) AS "TOTAL", -- numeric(12,2): NULL for NaN, which NUMBER lacks
  IFF(CONTAINS("PLACED_AT", '.'), TRY_TO_TIMESTAMP_TZ("PLACED_AT", 'YYYY-MM-DD HH24:MI:SS.FF6TZH'), TRY_TO_TIMESTAMP_TZ("PLACED_AT", 'YYYY-MM-DD HH24:MI:SSTZH')) AS "PLACED_AT", -- timestamp with time zone: the same instant, in UTC; NULL for infinity, BC and years after 9999
  TRY_PARSE_JSON("DETAILS") AS "DETAILS", -- jsonb: NULL for what Snowflake's JSON cannot hold (json with duplicate keys); numbers of more than 38 digits become floats
  "_LSN", -- commit LSN of the change that made the row
  "_SEQ", -- its place in the transaction
  TRY_TO_TIMESTAMP_TZ("_COMMITTED_AT", 'YYYY-MM-DD HH24:MI:SS.FF6TZH') AS "_COMMITTED_AT" -- its commit time
FROM "PGSTAGE"."PUBLIC_LANDING"."ORDERS__TEXT";

-- 6. Current state: web.visits --------------------------------------------------------------------------------------
-- Nothing identifies a row, so Postgres sends no updates and deletes: every row that was ever inserted is here.

-- The rows as Postgres prints them: where a typed value is NULL and should not be, this has the text.
CREATE OR REPLACE VIEW "PGSTAGE"."PUBLIC_LANDING"."WEB__VISITS__TEXT" COPY GRANTS AS
WITH changes AS (
  SELECT
    "AT",
    "PAGE",
    "_OP",
    "_LSN",
    "_SEQ",
    "_COMMITTED_AT",
    "_FILE",
    "_ROW",
    "_LSN" || '.' || LPAD(TO_VARCHAR("_SEQ"), 20, '0') AS "POSITION",
    TRY_PARSE_JSON("_UNCHANGED")::ARRAY AS "UNCHANGED_COLUMNS"
  FROM "PGSTAGE"."PUBLIC_LANDING"."WEB__VISITS"
),
voided AS (
  SELECT COALESCE(MAX("POSITION"), '') AS "POSITION"
  FROM changes
  WHERE "_OP" = 't'
),
live AS (
  SELECT c.*
  FROM changes c
  CROSS JOIN voided v
  WHERE c."_OP" <> 't' AND c."POSITION" >= v."POSITION"
  QUALIFY ROW_NUMBER() OVER (PARTITION BY c."_FILE", c."_ROW" ORDER BY c."POSITION") = 1
),
counted AS (
  SELECT
    live.*,
    COUNT(IFF("_OP" = 'd', 1, NULL)) OVER (PARTITION BY "AT", "PAGE") AS "DELETES",
    ROW_NUMBER() OVER (PARTITION BY "AT", "PAGE", IFF("_OP" = 'd', 1, 0) ORDER BY "POSITION", "_FILE", "_ROW") AS "NUMBER"
  FROM live
)
SELECT
  "AT",
  "PAGE",
  "_LSN",
  "_SEQ",
  "_COMMITTED_AT"
FROM counted
WHERE "_OP" <> 'd' AND "NUMBER" > "DELETES";

CREATE OR REPLACE VIEW "PGSTAGE"."PUBLIC"."WEB__VISITS" COPY GRANTS AS
SELECT
  TRY_TO_DATE("AT", 'YYYY-MM-DD') AS "AT", -- date: NULL for infinity, BC and years after 9999
  "PAGE", -- text: as it stands
  "_LSN", -- commit LSN of the change that made the row
  "_SEQ", -- its place in the transaction
  TRY_TO_TIMESTAMP_TZ("_COMMITTED_AT", 'YYYY-MM-DD HH24:MI:SS.FF6TZH') AS "_COMMITTED_AT" -- its commit time
FROM "PGSTAGE"."PUBLIC_LANDING"."WEB__VISITS__TEXT";

-- 7. As of a time ---------------------------------------------------------------------------------------------------
-- SELECT * FROM TABLE("PGSTAGE"."PUBLIC"."ORDERS_AS_OF"('2026-11-22 07:00:00 +00:00'::TIMESTAMP_TZ));
-- Every function takes the same time to the same LSN, so tables fit together. Exact from the end of a table's
-- copy on, as far as the files have been loaded.

CREATE OR REPLACE VIEW "PGSTAGE"."PUBLIC_LANDING"."PGSTAGE_COMMITS" COPY GRANTS AS
SELECT "_LSN" AS LSN, "_COMMITTED_AT" AS COMMITTED_AT FROM "PGSTAGE"."PUBLIC_LANDING"."ORDERS"
UNION ALL
SELECT "_LSN" AS LSN, "_COMMITTED_AT" AS COMMITTED_AT FROM "PGSTAGE"."PUBLIC_LANDING"."WEB__VISITS";

-- 7. As of a time: public.orders ------------------------------------------------------------------------------------

CREATE OR REPLACE FUNCTION "PGSTAGE"."PUBLIC"."ORDERS_AS_OF_LSN"("AS_OF_LSN" VARCHAR)
COPY GRANTS
RETURNS TABLE (
  "ID" NUMBER(38,0),
  "CUSTOMER" VARCHAR(134217728),
  "TOTAL" NUMBER(12,2),
  "PLACED_AT" TIMESTAMP_TZ,
  "DETAILS" VARIANT,
  "_LSN" VARCHAR(134217728),
  "_SEQ" NUMBER(38,0),
  "_COMMITTED_AT" TIMESTAMP_TZ
)
AS
$$
WITH changes AS (
  SELECT
    "ID",
    "CUSTOMER",
    "TOTAL",
    "PLACED_AT",
    "DETAILS",
    "_OP",
    "_LSN",
    "_SEQ",
    "_COMMITTED_AT",
    "_FILE",
    "_ROW",
    "_LSN" || '.' || LPAD(TO_VARCHAR("_SEQ"), 20, '0') AS "POSITION",
    TRY_PARSE_JSON("_UNCHANGED")::ARRAY AS "UNCHANGED_COLUMNS"
  FROM "PGSTAGE"."PUBLIC_LANDING"."ORDERS"
  WHERE "_LSN" <= "AS_OF_LSN"
),
voided AS (
  SELECT COALESCE(MAX("POSITION"), '') AS "POSITION"
  FROM changes
  WHERE "_OP" = 't'
),
live AS (
  SELECT c.*
  FROM changes c
  CROSS JOIN voided v
  WHERE c."_OP" <> 't' AND c."POSITION" >= v."POSITION"
),
rows_then AS (
SELECT
  "ID",
  FIRST_VALUE("CUSTOMER") OVER (PARTITION BY "ID" ORDER BY IFF(ARRAY_CONTAINS('customer'::VARIANT, "UNCHANGED_COLUMNS"), 1, 0), "POSITION" DESC) AS "CUSTOMER",
  FIRST_VALUE("TOTAL") OVER (PARTITION BY "ID" ORDER BY IFF(ARRAY_CONTAINS('total'::VARIANT, "UNCHANGED_COLUMNS"), 1, 0), "POSITION" DESC) AS "TOTAL",
  "PLACED_AT",
  FIRST_VALUE("DETAILS") OVER (PARTITION BY "ID" ORDER BY IFF(ARRAY_CONTAINS('details'::VARIANT, "UNCHANGED_COLUMNS"), 1, 0), "POSITION" DESC) AS "DETAILS",
  "_LSN",
  "_SEQ",
  "_COMMITTED_AT"
FROM live
QUALIFY ROW_NUMBER() OVER (PARTITION BY "ID" ORDER BY "POSITION" DESC) = 1 AND "_OP" <> 'd'
)
SELECT
  CAST(TRY_CAST("ID" AS NUMBER(38,0)) AS NUMBER(38,0)) AS "ID",
  CAST("CUSTOMER" AS VARCHAR(134217728)) AS "CUSTOMER",
  CAST(TRY_CAST("TOTAL" AS NUMBER(12,2)) AS NUMBER(12,2)) AS "TOTAL",
  CAST(IFF(CONTAINS("PLACED_AT", '.'), TRY_TO_TIMESTAMP_TZ("PLACED_AT", 'YYYY-MM-DD HH24:MI:SS.FF6TZH'), TRY_TO_TIMESTAMP_TZ("PLACED_AT", 'YYYY-MM-DD HH24:MI:SSTZH')) AS TIMESTAMP_TZ) AS "PLACED_AT",
  CAST(TRY_PARSE_JSON("DETAILS") AS VARIANT) AS "DETAILS",
  CAST("_LSN" AS VARCHAR(134217728)) AS "_LSN",
  CAST("_SEQ" AS NUMBER(38,0)) AS "_SEQ",
  CAST(TRY_TO_TIMESTAMP_TZ("_COMMITTED_AT", 'YYYY-MM-DD HH24:MI:SS.FF6TZH') AS TIMESTAMP_TZ) AS "_COMMITTED_AT"
FROM rows_then
$$;

CREATE OR REPLACE FUNCTION "PGSTAGE"."PUBLIC"."ORDERS_AS_OF"("AS_OF_TIME" TIMESTAMP_TZ)
COPY GRANTS
RETURNS TABLE (
  "ID" NUMBER(38,0),
  "CUSTOMER" VARCHAR(134217728),
  "TOTAL" NUMBER(12,2),
  "PLACED_AT" TIMESTAMP_TZ,
  "DETAILS" VARIANT,
  "_LSN" VARCHAR(134217728),
  "_SEQ" NUMBER(38,0),
  "_COMMITTED_AT" TIMESTAMP_TZ
)
AS
$$
WITH changes AS (
  SELECT
    "ID",
    "CUSTOMER",
    "TOTAL",
    "PLACED_AT",
    "DETAILS",
    "_OP",
    "_LSN",
    "_SEQ",
    "_COMMITTED_AT",
    "_FILE",
    "_ROW",
    "_LSN" || '.' || LPAD(TO_VARCHAR("_SEQ"), 20, '0') AS "POSITION",
    TRY_PARSE_JSON("_UNCHANGED")::ARRAY AS "UNCHANGED_COLUMNS"
  FROM "PGSTAGE"."PUBLIC_LANDING"."ORDERS"
  WHERE "_LSN" <= (
    SELECT MAX(LSN)
    FROM "PGSTAGE"."PUBLIC_LANDING"."PGSTAGE_COMMITS"
    WHERE TRY_TO_TIMESTAMP_TZ(COMMITTED_AT, 'YYYY-MM-DD HH24:MI:SS.FF6TZH') <= "AS_OF_TIME"
  )
),
voided AS (
  SELECT COALESCE(MAX("POSITION"), '') AS "POSITION"
  FROM changes
  WHERE "_OP" = 't'
),
live AS (
  SELECT c.*
  FROM changes c
  CROSS JOIN voided v
  WHERE c."_OP" <> 't' AND c."POSITION" >= v."POSITION"
),
rows_then AS (
SELECT
  "ID",
  FIRST_VALUE("CUSTOMER") OVER (PARTITION BY "ID" ORDER BY IFF(ARRAY_CONTAINS('customer'::VARIANT, "UNCHANGED_COLUMNS"), 1, 0), "POSITION" DESC) AS "CUSTOMER",
  FIRST_VALUE("TOTAL") OVER (PARTITION BY "ID" ORDER BY IFF(ARRAY_CONTAINS('total'::VARIANT, "UNCHANGED_COLUMNS"), 1, 0), "POSITION" DESC) AS "TOTAL",
  "PLACED_AT",
  FIRST_VALUE("DETAILS") OVER (PARTITION BY "ID" ORDER BY IFF(ARRAY_CONTAINS('details'::VARIANT, "UNCHANGED_COLUMNS"), 1, 0), "POSITION" DESC) AS "DETAILS",
  "_LSN",
  "_SEQ",
  "_COMMITTED_AT"
FROM live
QUALIFY ROW_NUMBER() OVER (PARTITION BY "ID" ORDER BY "POSITION" DESC) = 1 AND "_OP" <> 'd'
)
SELECT
  CAST(TRY_CAST("ID" AS NUMBER(38,0)) AS NUMBER(38,0)) AS "ID",
  CAST("CUSTOMER" AS VARCHAR(134217728)) AS "CUSTOMER",
  CAST(TRY_CAST("TOTAL" AS NUMBER(12,2)) AS NUMBER(12,2)) AS "TOTAL",
  CAST(IFF(CONTAINS("PLACED_AT", '.'), TRY_TO_TIMESTAMP_TZ("PLACED_AT", 'YYYY-MM-DD HH24:MI:SS.FF6TZH'), TRY_TO_TIMESTAMP_TZ("PLACED_AT", 'YYYY-MM-DD HH24:MI:SSTZH')) AS TIMESTAMP_TZ) AS "PLACED_AT",
  CAST(TRY_PARSE_JSON("DETAILS") AS VARIANT) AS "DETAILS",
  CAST("_LSN" AS VARCHAR(134217728)) AS "_LSN",
  CAST("_SEQ" AS NUMBER(38,0)) AS "_SEQ",
  CAST(TRY_TO_TIMESTAMP_TZ("_COMMITTED_AT", 'YYYY-MM-DD HH24:MI:SS.FF6TZH') AS TIMESTAMP_TZ) AS "_COMMITTED_AT"
FROM rows_then
$$;

-- 7. As of a time: web.visits ---------------------------------------------------------------------------------------

CREATE OR REPLACE FUNCTION "PGSTAGE"."PUBLIC"."WEB__VISITS_AS_OF_LSN"("AS_OF_LSN" VARCHAR)
COPY GRANTS
RETURNS TABLE (
  "AT" DATE,
  "PAGE" VARCHAR(134217728),
  "_LSN" VARCHAR(134217728),
  "_SEQ" NUMBER(38,0),
  "_COMMITTED_AT" TIMESTAMP_TZ
)
AS
$$
WITH changes AS (
  SELECT
    "AT",
    "PAGE",
    "_OP",
    "_LSN",
    "_SEQ",
    "_COMMITTED_AT",
    "_FILE",
    "_ROW",
    "_LSN" || '.' || LPAD(TO_VARCHAR("_SEQ"), 20, '0') AS "POSITION",
    TRY_PARSE_JSON("_UNCHANGED")::ARRAY AS "UNCHANGED_COLUMNS"
  FROM "PGSTAGE"."PUBLIC_LANDING"."WEB__VISITS"
  WHERE "_LSN" <= "AS_OF_LSN"
),
voided AS (
  SELECT COALESCE(MAX("POSITION"), '') AS "POSITION"
  FROM changes
  WHERE "_OP" = 't'
),
live AS (
  SELECT c.*
  FROM changes c
  CROSS JOIN voided v
  WHERE c."_OP" <> 't' AND c."POSITION" >= v."POSITION"
  QUALIFY ROW_NUMBER() OVER (PARTITION BY c."_FILE", c."_ROW" ORDER BY c."POSITION") = 1
),
counted AS (
  SELECT
    live.*,
    COUNT(IFF("_OP" = 'd', 1, NULL)) OVER (PARTITION BY "AT", "PAGE") AS "DELETES",
    ROW_NUMBER() OVER (PARTITION BY "AT", "PAGE", IFF("_OP" = 'd', 1, 0) ORDER BY "POSITION", "_FILE", "_ROW") AS "NUMBER"
  FROM live
),
rows_then AS (
SELECT
  "AT",
  "PAGE",
  "_LSN",
  "_SEQ",
  "_COMMITTED_AT"
FROM counted
WHERE "_OP" <> 'd' AND "NUMBER" > "DELETES"
)
SELECT
  CAST(TRY_TO_DATE("AT", 'YYYY-MM-DD') AS DATE) AS "AT",
  CAST("PAGE" AS VARCHAR(134217728)) AS "PAGE",
  CAST("_LSN" AS VARCHAR(134217728)) AS "_LSN",
  CAST("_SEQ" AS NUMBER(38,0)) AS "_SEQ",
  CAST(TRY_TO_TIMESTAMP_TZ("_COMMITTED_AT", 'YYYY-MM-DD HH24:MI:SS.FF6TZH') AS TIMESTAMP_TZ) AS "_COMMITTED_AT"
FROM rows_then
$$;

CREATE OR REPLACE FUNCTION "PGSTAGE"."PUBLIC"."WEB__VISITS_AS_OF"("AS_OF_TIME" TIMESTAMP_TZ)
COPY GRANTS
RETURNS TABLE (
  "AT" DATE,
  "PAGE" VARCHAR(134217728),
  "_LSN" VARCHAR(134217728),
  "_SEQ" NUMBER(38,0),
  "_COMMITTED_AT" TIMESTAMP_TZ
)
AS
$$
WITH changes AS (
  SELECT
    "AT",
    "PAGE",
    "_OP",
    "_LSN",
    "_SEQ",
    "_COMMITTED_AT",
    "_FILE",
    "_ROW",
    "_LSN" || '.' || LPAD(TO_VARCHAR("_SEQ"), 20, '0') AS "POSITION",
    TRY_PARSE_JSON("_UNCHANGED")::ARRAY AS "UNCHANGED_COLUMNS"
  FROM "PGSTAGE"."PUBLIC_LANDING"."WEB__VISITS"
  WHERE "_LSN" <= (
    SELECT MAX(LSN)
    FROM "PGSTAGE"."PUBLIC_LANDING"."PGSTAGE_COMMITS"
    WHERE TRY_TO_TIMESTAMP_TZ(COMMITTED_AT, 'YYYY-MM-DD HH24:MI:SS.FF6TZH') <= "AS_OF_TIME"
  )
),
voided AS (
  SELECT COALESCE(MAX("POSITION"), '') AS "POSITION"
  FROM changes
  WHERE "_OP" = 't'
),
live AS (
  SELECT c.*
  FROM changes c
  CROSS JOIN voided v
  WHERE c."_OP" <> 't' AND c."POSITION" >= v."POSITION"
  QUALIFY ROW_NUMBER() OVER (PARTITION BY c."_FILE", c."_ROW" ORDER BY c."POSITION") = 1
),
counted AS (
  SELECT
    live.*,
    COUNT(IFF("_OP" = 'd', 1, NULL)) OVER (PARTITION BY "AT", "PAGE") AS "DELETES",
    ROW_NUMBER() OVER (PARTITION BY "AT", "PAGE", IFF("_OP" = 'd', 1, 0) ORDER BY "POSITION", "_FILE", "_ROW") AS "NUMBER"
  FROM live
),
rows_then AS (
SELECT
  "AT",
  "PAGE",
  "_LSN",
  "_SEQ",
  "_COMMITTED_AT"
FROM counted
WHERE "_OP" <> 'd' AND "NUMBER" > "DELETES"
)
SELECT
  CAST(TRY_TO_DATE("AT", 'YYYY-MM-DD') AS DATE) AS "AT",
  CAST("PAGE" AS VARCHAR(134217728)) AS "PAGE",
  CAST("_LSN" AS VARCHAR(134217728)) AS "_LSN",
  CAST("_SEQ" AS NUMBER(38,0)) AS "_SEQ",
  CAST(TRY_TO_TIMESTAMP_TZ("_COMMITTED_AT", 'YYYY-MM-DD HH24:MI:SS.FF6TZH') AS TIMESTAMP_TZ) AS "_COMMITTED_AT"
FROM rows_then
$$;

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
