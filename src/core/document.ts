import type { Json } from "./json.ts";

/**
 * The documents of the stage, as JSON. LSNs are fixed-width text (`00000000/0152C0A8`), times ISO 8601 in UTC.
 */

/** Raised when a document's meaning changes; a newer one is refused, an older one read. */
export const DOCUMENT_FORMAT = 1;

/** One file of a batch. */
export interface LogFile {
  readonly key: string;
  /** `schema.table`, not encoded; parts for programs. */
  readonly table: string;
  readonly schemaName: string;
  readonly tableName: string;
  /** OID of the table in the source. */
  readonly oid: number;
  /** Id of the shape document with the columns. */
  readonly shape: string;
  /** Data rows; the header is not one. */
  readonly rows: number;
  /** Size as stored, after compression. */
  readonly bytes: number;
  /** CSV bytes before compression, with the header. */
  readonly csvBytes: number;
  /** `sha256:<hex>` of the bytes as stored. */
  readonly checksum: string;
  /** First and last `_lsn` in the file. */
  readonly firstLsn: string;
  readonly lastLsn: string;
  /** How to publish it: a staged upload, or a span of the batch's pack. */
  readonly staged: { readonly upload: Json } | { readonly pack: string; readonly offset: number };
}

/** What one batch published, and where the pipeline stands once it is published. */
export interface LogDocument {
  readonly format: number;
  readonly sequence: number;
  readonly time: string;
  /** Unique per write; tells a lost answer of our own from somebody else's document. */
  readonly writer: string;
  readonly kind: "birth" | "start" | "batch" | "idle";
  readonly pipeline: PipelineIdentity;
  /** Commit LSN of the first change in the batch, or null without changes. */
  readonly firstLsn: string | null;
  /** Every change that committed before here is published once this document is. Null until there is a slot. */
  readonly endLsn: string | null;
  /** Commit times of the first and the last transaction of the batch, or null without changes. */
  readonly firstCommittedAt?: string | null;
  readonly committedAt: string | null;
  readonly files: readonly LogFile[];
  /** Changes to what is known about tables: see delivery/state.ts. */
  readonly tables: readonly Json[];
}

/** Whose log it is. A stage belongs to one slot of one database of one server. */
export interface PipelineIdentity {
  readonly systemIdentifier: string;
  readonly timeline: number;
  readonly database: string;
  readonly slot: string;
  readonly publication: string;
}

/** The columns of a table's files, at `_pgstage/schemas/<schema>.<table>/<id>.json`. */
export interface ShapeDocument {
  readonly format: number;
  readonly id: string;
  readonly schemaName: string;
  readonly tableName: string;
  readonly oid: number;
  readonly columns: readonly ShapeColumn[];
  /** Columns that identify a row, in table order; empty if none do. */
  readonly key: readonly string[];
  readonly replicaIdentity: "default" | "nothing" | "full" | "index";
  readonly metadataPrefix: string;
}

export interface ShapeColumn {
  readonly name: string;
  /** As format_type() prints it: `numeric(10,2)`, `text[]`, `public.mood`. */
  readonly type: string;
  readonly typeOid: number;
  readonly typeModifier: number;
  readonly key: boolean;
}
