import type { Compression } from "../core/layout.ts";
import type { ShapeDocument } from "../core/document.ts";

/** What the SQL is made from. Nothing here is looked up: the same input gives the same text. */
export interface SnowflakeInput {
  readonly pipeline: SnowflakePipeline;
  readonly tables: readonly SnowflakeTable[];
  readonly options: SnowflakeOptions;
}

interface SnowflakePipeline {
  /** `s3://bucket/prefix`, or `file:///directory` (then placeholders are printed). */
  readonly stageUrl: string;
  readonly compression: Compression;
  readonly slot: string;
}

/** A table as its files describe it, of which a shape document is one source. */
export type TableShape = Pick<
  ShapeDocument,
  "schemaName" | "tableName" | "columns" | "key" | "replicaIdentity" | "metadataPrefix"
>;

export interface SnowflakeTable {
  readonly shape: TableShape;
  /** Shapes that the table had before, oldest first: somebody may have made the landing table from one of them. */
  readonly earlier: readonly TableShape[];
}

export type IdentifierMode = "upper" | "quoted";
export type CurrentState = "view" | "dynamic-table" | "task";

export interface SnowflakeOptions {
  /** Names as one types them in Snowflake: `analytics` means ANALYTICS, `"Analytics"` means Analytics. */
  readonly database: string;
  readonly schema: string;
  /** Where the changes land: `<schema>_LANDING` unless named. */
  readonly landingSchema: string;
  readonly warehouse: string;
  readonly integration: string;
  /** Role that Snowflake assumes to read the bucket; a placeholder is printed for null. */
  readonly roleArn: string | null;
  /** How names of tables and columns become names in Snowflake. */
  readonly identifiers: IdentifierMode;
  readonly currentState: CurrentState;
  /** Only some of the pipeline's tables are in the input. */
  readonly partial: boolean;
}

/** One statement, without its semicolon. `id` names the object, so that two scripts can be compared. */
export interface Statement {
  readonly id: string;
  readonly sql: string;
  /** Printed as comment lines before it. */
  readonly notes: readonly string[];
}

export interface Section {
  readonly title: string;
  readonly notes: readonly string[];
  readonly statements: readonly Statement[];
}
