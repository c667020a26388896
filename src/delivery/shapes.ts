import { DOCUMENT_FORMAT, type ShapeDocument } from "../core/document.ts";
import { schemaKey } from "../core/layout.ts";
import { shapeId, type Shape, type ShapeField } from "../core/shape.ts";
import type { Store } from "../stores/store.ts";
import type { Patiently } from "./file-writer.ts";

/** Names of types as format_type() prints them, in the order asked for. */
export type TypeNames = (types: readonly ShapeField[]) => Promise<readonly string[]>;

/** Writes down the columns of each shape once, before a log document names it. */
export class ShapeBook {
  readonly #parts: { store: Store; patiently: Patiently; typeNames: TypeNames; metadataPrefix: string };
  readonly #written = new Map<string, Promise<void>>();

  constructor(parts: { store: Store; patiently: Patiently; typeNames: TypeNames; metadataPrefix: string }) {
    this.#parts = parts;
  }

  /** Resolves once the documents of all shapes are there. */
  async record(shapes: Iterable<Shape>): Promise<void> {
    await Promise.all([...shapes].map((shape) => this.#recordOne(shape)));
  }

  #recordOne(shape: Shape): Promise<void> {
    const id = shapeId(shape, this.#parts.metadataPrefix);
    const known = this.#written.get(id);
    if (known) return known;
    const writing = this.#write(shape, id);
    this.#written.set(id, writing);
    writing.catch(() => this.#written.delete(id));
    return writing;
  }

  async #write(shape: Shape, id: string): Promise<void> {
    const { store, patiently, typeNames, metadataPrefix } = this.#parts;
    // Asks the source: what it does not answer is not the stage's failure, and ends the attempt.
    const names = await typeNames(shape.columns);
    const document: ShapeDocument = {
      format: DOCUMENT_FORMAT,
      id,
      schemaName: shape.schema,
      tableName: shape.table,
      oid: shape.oid,
      columns: shape.columns.map(({ name, typeOid, typeModifier }, i) => {
        return { name, type: names[i] ?? "text", typeOid, typeModifier, key: shape.key.includes(name) };
      }),
      key: shape.key,
      replicaIdentity: shape.replicaIdentity,
      metadataPrefix,
    };
    const key = schemaKey(shape.schema, shape.table, id);
    await patiently(`write ${key}`, () =>
      store.putIfAbsent(key, Buffer.from(`${JSON.stringify(document, null, 1)}\n`)),
    );
  }
}
