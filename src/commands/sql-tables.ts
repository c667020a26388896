import { readDocument, readLog } from "../delivery/log.ts";
import { DOCUMENT_FORMAT, type ShapeDocument } from "../core/document.ts";
import { OperatorError } from "../core/errors.ts";
import { schemaKey } from "../core/layout.ts";
import type { CatalogTable } from "../core/table.ts";
import type { SnowflakeTable, TableShape } from "../snowflake/input.ts";
import type { Store } from "../stores/store.ts";

/**
 * The pipeline's tables as its stage describes them: the log says which there are and what they look like now, the
 * shape documents how they looked before. The source is not asked, so this works wherever the stage can be read.
 */
export interface StageTables {
  readonly slot: string;
  readonly tables: readonly StageTable[];
}

export interface StageTable extends SnowflakeTable {
  readonly name: string;
  /** Ids of all shapes that files of the table ever had, in no order. */
  readonly shapeIds: readonly string[];
  /** Null as long as no file has this shape. */
  readonly shapeId: string | null;
  readonly earlier: readonly ShapeDocument[];
}

const READS_AT_ONCE = 16;

export async function readStageTables(store: Store, metadataPrefix: string): Promise<StageTables> {
  const reading = await readLog(store);
  const catalogs = Object.values(reading?.state.tables ?? {}).map(({ catalog }) => catalog);
  if (!reading || catalogs.length === 0) {
    throw new OperatorError(
      `the stage ${store.url} does not know of any table yet`,
      "start the daemon (pgstage run) and run this again once it has listed the tables, a few seconds later",
    );
  }
  const tables = await inParallel(catalogs, (catalog) => readTable(store, catalog, metadataPrefix));
  const byName = (a: StageTable, b: StageTable): number => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0);
  return { slot: reading.state.pipeline.slot, tables: tables.toSorted(byName) };
}

async function readTable(store: Store, catalog: CatalogTable, metadataPrefix: string): Promise<StageTable> {
  const folder = schemaKey(catalog.schema, catalog.name, "").replace(/\.json$/, "");
  const documents: ShapeDocument[] = [];
  for await (const key of store.list(folder)) {
    const document = await readShape(store, key);
    if (document) documents.push(document);
  }
  const current = documents.find((document) => describes(document, catalog));
  return {
    name: `${catalog.schema}.${catalog.name}`,
    shape: current ?? unnamedTypes(catalog, metadataPrefix),
    earlier: documents.filter((document) => document !== current),
    shapeIds: documents.map(({ id }) => id),
    shapeId: current?.id ?? null,
  };
}

async function readShape(store: Store, key: string): Promise<ShapeDocument | null> {
  const bytes = await store.get(key);
  if (!bytes) return null;
  let document: ShapeDocument;
  try {
    document = JSON.parse(bytes.toString("utf8")) as ShapeDocument;
  } catch (error) {
    throw new OperatorError(`${key} is not valid JSON`, "restore it from the bucket's versions", {
      cause: error,
    });
  }
  if (document.format <= DOCUMENT_FORMAT) return document;
  throw new OperatorError(
    `${key} has format ${document.format}; this pgstage reads up to ${DOCUMENT_FORMAT}`,
    "run the newer version of pgstage that wrote it",
  );
}

function describes(document: ShapeDocument, catalog: CatalogTable): boolean {
  const sameColumns =
    document.columns.length === catalog.columns.length &&
    document.columns.every((column, i) => {
      const now = catalog.columns[i];
      return (
        column.name === now?.name &&
        column.typeOid === now.typeOid &&
        column.typeModifier === now.typeModifier
      );
    });
  return (
    sameColumns &&
    document.oid === catalog.oid &&
    document.replicaIdentity === catalog.replicaIdentity &&
    document.key.join("\0") === catalog.key.join("\0")
  );
}

/** A shape that no file has yet: its types are known by number only, which is what the mapping goes by. */
function unnamedTypes(catalog: CatalogTable, metadataPrefix: string): TableShape {
  return {
    schemaName: catalog.schema,
    tableName: catalog.name,
    columns: catalog.columns.map(({ name, typeOid, typeModifier }) => {
      return { name, type: `type ${typeOid}`, typeOid, typeModifier, key: catalog.key.includes(name) };
    }),
    key: catalog.key,
    replicaIdentity: catalog.replicaIdentity,
    metadataPrefix,
  };
}

/**
 * The tables whose shape has changed, each with its previous shape last in `earlier`. The log tells the order of
 * shapes: it is read backwards until each table's last file of another shape is found.
 */
export async function withPreviousShapes(store: Store, tables: readonly StageTable[]): Promise<StageTable[]> {
  const wanted = new Map(
    tables
      .filter(({ shapeIds, shapeId }) => shapeIds.some((id) => id !== shapeId))
      .map((table) => [table.name, table]),
  );
  const found: StageTable[] = [];
  const newest = (await readLog(store))?.state.sequence ?? 0;
  for (let to = newest; to > 0 && wanted.size > 0; to -= READS_AT_ONCE) {
    const sequences = Array.from({ length: Math.min(READS_AT_ONCE, to) }, (_, i) => to - i);
    const documents = await inParallel(sequences, (sequence) => readDocument(store, sequence));
    for (const file of documents.flatMap((document) => document?.files.toReversed() ?? [])) {
      const table = wanted.get(file.table);
      if (!table || file.shape === table.shapeId) continue;
      wanted.delete(file.table);
      const document = await readShape(store, schemaKey(file.schemaName, file.tableName, file.shape));
      const others = table.earlier.filter(({ id }) => id !== file.shape);
      if (document) found.push({ ...table, earlier: [...others, document] });
    }
  }
  return found.toSorted((a, b) => tables.indexOf(a) - tables.indexOf(b));
}

async function inParallel<T, R>(items: readonly T[], task: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  for (let from = 0; from < items.length; from += READS_AT_ONCE) {
    results.push(...(await Promise.all(items.slice(from, from + READS_AT_ONCE).map(task))));
  }
  return results;
}
