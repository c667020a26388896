import type { Buffer } from "node:buffer";
import { shapeId, type LargeRow, type Shape } from "../core/shape.ts";
import { csvRecord, metadataColumns } from "../csv/header.ts";
import type { Lsn } from "../core/lsn.ts";
import type { FileWriter } from "../delivery/file-writer.ts";
import type { Relation } from "./pgoutput.ts";

/** What stream needs to know of a table beyond its RELATION message. */
export interface TableFacts {
  /** Whether rows of this table are to be staged at all. */
  captures(schema: string, table: string): boolean;
  /** Columns of the primary key; asked under REPLICA IDENTITY FULL only, where RELATION marks every column. */
  primaryKey(oid: number): readonly string[];
  /** Whether unchanged values of a change must be read back, because a copy may have missed the row they stand in. */
  mustFill(oid: number, commitLsn: bigint): boolean;
  largeRow(row: LargeRow): void;
}

/** A file of one table, shape and hour while it takes rows. */
export interface OpenFile {
  readonly writer: FileWriter;
  readonly encoder: TableEncoder;
  readonly folder: string;
  readonly hour: string;
  readonly part: number;
  firstLsn: Lsn;
  lastLsn: Lsn;
  /** Number of the transaction that wrote last: while it is the current one, nothing needs to be looked at. */
  transaction: number;
}

/** Everything about a relation in one shape that its rows need; made once per RELATION message. */
export interface TableEncoder {
  readonly relation: Relation;
  readonly shape: Shape;
  readonly shapeId: string;
  readonly header: Buffer;
  /** Indexes of the columns that identify a row; all columns if the table is a bag of rows under FULL. */
  readonly key: readonly number[];
  /** True under FULL without a primary key: every update replaces one row of the bag. */
  readonly isBag: boolean;
  /** The file that takes rows now, while `fileEpoch` is the batch's. */
  file: OpenFile | null;
  fileEpoch: number;
}

export function makeEncoder(relation: Relation, facts: TableFacts, metadataPrefix: string): TableEncoder {
  const full = relation.replicaIdentity === "full";
  const primary = full ? facts.primaryKey(relation.oid) : [];
  const isKey = (column: Relation["columns"][number]): boolean =>
    full ? primary.length === 0 || primary.includes(column.name) : column.key;
  const key = relation.columns.flatMap((column, index) => (isKey(column) ? [index] : []));
  const names = relation.columns.map((column) => column.name);
  const isBag = full && primary.length === 0;
  const { oid, schema, table, replicaIdentity, columns } = relation;
  const keyNames = isBag ? [] : key.map((index) => names[index] as string);
  const shape: Shape = { oid, schema, table, replicaIdentity, columns, key: keyNames };
  return {
    relation,
    shape,
    shapeId: shapeId(shape, metadataPrefix),
    header: csvRecord([...metadataColumns(metadataPrefix), ...names]),
    key,
    isBag,
    file: null,
    fileEpoch: -1,
  };
}
