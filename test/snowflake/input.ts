import type { SnowflakeOptions } from "../../src/snowflake/input.ts";

/** Options with everything named, for tests that care about a few. */
export function options(changed: Partial<SnowflakeOptions> = {}): SnowflakeOptions {
  return {
    database: "pgstage",
    schema: "public",
    landingSchema: "public_landing",
    warehouse: "load_wh",
    integration: "pgstage_s3",
    roleArn: "arn:aws:iam::123456789012:role/snowflake-reads-the-stage",
    identifiers: "upper",
    currentState: "view",
    partial: false,
    ...changed,
  };
}
