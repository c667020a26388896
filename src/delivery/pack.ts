import { randomUUID } from "node:crypto";
import { PACKS_FOLDER } from "../core/layout.ts";
import type { Store } from "../stores/store.ts";

/** Where a small file's bytes stand until it is published. */
export interface PackPlace {
  readonly pack: string;
  readonly offset: number;
}

/**
 * The bytes of many small files in one object: invisible to pipes, written before the log document that names its
 * spans, deleted once they are published. Staging a thousand small files is then one request.
 */
export class Pack {
  readonly key = `${PACKS_FOLDER}${randomUUID()}`;
  readonly #store: Store;
  #pieces: Buffer[] = [];
  #bytes = 0;

  constructor(store: Store) {
    this.#store = store;
  }

  add(bytes: Buffer): PackPlace {
    const place = { pack: this.key, offset: this.#bytes };
    this.#pieces.push(bytes);
    this.#bytes += bytes.length;
    return place;
  }

  /** Writes the object; nothing if it is empty. May be called again after a failure. */
  async put(): Promise<void> {
    if (this.#bytes > 0) await this.#store.put(this.key, Buffer.concat(this.#pieces));
  }
}
