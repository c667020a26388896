import PQueue from "p-queue";
import { DOCUMENT_FORMAT, type ShapeDocument } from "../core/document.ts";
import { schemaKey } from "../core/layout.ts";
import { shapeId, type Shape, type ShapeField } from "../core/shape.ts";
import type { Store } from "../stores/store.ts";
import type { Patiently } from "./file-writer.ts";

/** Names of types as format_type() prints them, in the order asked for. */
export type TypeNames = (types: readonly ShapeField[]) => Promise<readonly string[]>;

/** Shapes whose types are named by one query. */
const SHAPES_PER_QUERY = 200;
const WRITES_AT_ONCE = 16;

interface Named {
  readonly shape: Shape;
  readonly id: string;
}

/** Writes down the columns of each shape once, before a log document names it. */
export class ShapeBook {
  readonly #parts: { store: Store; patiently: Patiently; typeNames: TypeNames; metadataPrefix: string };
  /** By id; resolves once its document is there. */
  readonly #written = new Map<string, Promise<void>>();

  constructor(parts: { store: Store; patiently: Patiently; typeNames: TypeNames; metadataPrefix: string }) {
    this.#parts = parts;
  }

  /** Resolves once the documents of all shapes are there. */
  async record(shapes: Iterable<Shape>): Promise<void> {
    const all = [...shapes].map((shape) => ({ shape, id: shapeId(shape, this.#parts.metadataPrefix) }));
    const fresh = all.filter(({ id }) => !this.#written.has(id));
    let before = Promise.resolve();
    for (let at = 0; at < fresh.length; at += SHAPES_PER_QUERY) {
      const some = fresh.slice(at, at + SHAPES_PER_QUERY);
      const writing = before.then(() => this.#writeAll(some));
      for (const { id } of some) this.#written.set(id, writing);
      writing.catch(() => some.forEach(({ id }) => this.#written.delete(id)));
      before = writing;
    }
    const writes = new Set<Promise<void>>(all.flatMap(({ id }) => this.#written.get(id) ?? []));
    await Promise.all(writes);
  }

  async #writeAll(shapes: readonly Named[]): Promise<void> {
    // Asks the source: what it does not answer is not the stage's failure, and ends the attempt.
    const names = await this.#parts.typeNames(shapes.flatMap(({ shape }) => shape.columns));
    const queue = new PQueue({ concurrency: WRITES_AT_ONCE });
    let from = 0;
    const writes = shapes.map((named) => {
      const own = names.slice(from, (from += named.shape.columns.length));
      return queue.add(() => this.#write(named, own));
    });
    try {
      await Promise.all(writes);
    } finally {
      queue.clear();
    }
  }

  async #write({ shape, id }: Named, names: readonly string[]): Promise<void> {
    const { store, patiently, metadataPrefix } = this.#parts;
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
