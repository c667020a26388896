import type { CatalogTable, CopyProgress, Storage, TableRecord } from "../../src/core/table.ts";
import { namesOf } from "../../src/copy/reasons.ts";

/** Tables and records for tests of decisions. */

export const COPIED: CopyProgress = {
  phase: "copied",
  firstPoint: "0/64",
  lastPoint: "0/C8",
  rows: 1,
  bytes: 1,
};

export function storage(part: Partial<Storage> = {}): Storage {
  return { oid: 1, schema: "public", name: "t", filenode: 1, attachedBy: 0, ...part };
}

export function column(attnum: number, name: string, typeOid = 23): CatalogTable["columns"][number] {
  return { attnum, name, typeOid, typeModifier: -1 };
}

export function table(part: Partial<CatalogTable> = {}): CatalogTable {
  return {
    oid: 1,
    schema: "public",
    name: "t",
    partitioned: false,
    replicaIdentity: "default",
    key: ["id"],
    insertOnly: false,
    attributes: 2,
    columns: [column(1, "id"), column(2, "a", 25)],
    columnsVersion: "1",
    missing: [],
    labels: {},
    storages: [storage()],
    ...part,
  };
}

export function record(catalog = table(), copy: CopyProgress = COPIED): TableRecord {
  return { catalog, names: namesOf(catalog), copy };
}
