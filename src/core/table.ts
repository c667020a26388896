/**
 * What the daemon knows about a captured table, as the log records it.
 */

export type ReplicaIdentity = "default" | "nothing" | "full" | "index";

export interface TableColumn {
  readonly attnum: number;
  readonly name: string;
  readonly typeOid: number;
  readonly typeModifier: number;
}

/** A relation that holds rows: the table itself, or a leaf of a partitioned one. */
export interface Storage {
  readonly oid: number;
  readonly schema: string;
  readonly name: string;
  /** Changes with TRUNCATE, VACUUM FULL and every ALTER that rewrites. */
  readonly filenode: number;
  /** xmin of the leaf's pg_inherits row: changes when it is detached and attached again; 0 for a plain table. */
  readonly attachedBy: number;
}

/** A table as the catalog describes it at one moment. */
export interface CatalogTable {
  readonly oid: number;
  readonly schema: string;
  readonly name: string;
  readonly partitioned: boolean;
  readonly replicaIdentity: ReplicaIdentity;
  /** Names of the columns that identify a row, in table order; empty if none do. Under FULL: the primary key's. */
  readonly key: readonly string[];
  /** Nothing usable identifies a row: updates and deletes cannot be published. */
  readonly insertOnly: boolean;
  /** How many columns it has ever had, dropped ones included: their attnums are 1 to this. Unknown: not given. */
  readonly attributes?: number;
  /** Columns that copy and stream both carry. */
  readonly columns: readonly TableColumn[];
  /** Changes whenever the definition of a column does; tells a rewriting ALTER from VACUUM FULL and TRUNCATE. */
  readonly columnsVersion: string;
  /** attnums of columns with a default that old rows get without being rewritten (atthasmissing). */
  readonly missing: readonly number[];
  /**
   * What prints old values of the columns' own types: labels of enums by OID of the label, and attributes of composite
   * types as `type:<OID>`. A renamed label or a new attribute changes old rows. Below `<OID>/version` and
   * `type:<OID>/attributes` stands what changes also if that is taken back.
   */
  readonly labels: Readonly<Record<string, string>>;
  readonly storages: readonly Storage[];
}

/** One storage's share of a copy plan: ranges of `pagesPerRange` pages, the last one open-ended. */
export interface PlannedStorage {
  readonly oid: number;
  readonly schema: string;
  readonly name: string;
  readonly filenode: number;
  readonly pages: number;
  readonly pagesPerRange: number;
}

/** How far the copy of a table has come. */
export type CopyProgress =
  /** To be copied; set by discovery, a resync or a lost file. */
  | { readonly phase: "pending"; readonly reason: string }
  /** Planned at `firstPoint`; the numbers (from 1) of the ranges that are published. */
  | {
      readonly phase: "copying";
      readonly firstPoint: string;
      readonly storages: readonly PlannedStorage[];
      readonly done: readonly number[];
      readonly rows: number;
      readonly bytes: number;
    }
  /** Complete; changes that committed before `lastPoint` still need their unchanged values. */
  | {
      readonly phase: "copied";
      readonly firstPoint: string;
      readonly lastPoint: string;
      readonly rows: number;
      readonly bytes: number;
    };

/** What changes with every ALTER PUBLICATION but those of members. */
export interface PublicationMark {
  /** `oid:xmin`. */
  readonly version: string;
  /** OID of its owner, which changes what nobody reads in the stream. */
  readonly owner: string;
}

/** A captured table in the log's state. */
export interface TableRecord {
  readonly catalog: CatalogTable;
  /** OID of its membership in our publication (pg_publication_rel); null if it is reached in another way. */
  readonly member?: number | null;
  readonly publication?: PublicationMark;
  /** Every column name that files since the last copy may use, with its attnum. */
  readonly names: Readonly<Record<string, number>>;
  readonly copy: CopyProgress;
  /** Other shapes than the catalog's that the stream has shown since the last look at the catalog. */
  readonly seen?: readonly SeenShape[];
}

/** A shape that the stream showed, and the transaction that it showed it in. */
export interface SeenShape {
  readonly commitLsn: string;
  readonly schema: string;
  readonly table: string;
  readonly columns: readonly { readonly name: string; readonly typeOid: number }[];
  readonly key: readonly string[];
  /** The shape is that of a partition, of which the table got rows: the partition's OID. */
  readonly leaf?: number;
  /** … and the OID of the table that got them. */
  readonly root?: number;
}

export function tableName(table: { readonly schema: string; readonly name: string }): string {
  return `${table.schema}.${table.name}`;
}
