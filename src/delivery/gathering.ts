import type { Json } from "../core/json.ts";
import type { MemoryAccount } from "../core/memory.ts";
import type { Store, Upload } from "../stores/store.ts";
import type { DeliveredFile, Submission } from "./delivery.ts";
import type { FinishedFile, Patiently } from "./file-writer.ts";
import { Pack } from "./pack.ts";
import { applyDocument, type State, type TableEvent } from "./state.ts";

/** Small files are put together until they are worth an upload. */
const PACK_BYTES = 4 * 1024 * 1024;

export interface GatheringParts {
  readonly store: Store;
  readonly memory: MemoryAccount;
  readonly patiently: Patiently;
  /** What is known before; a shadow of it takes the events. */
  readonly state: State;
}

/**
 * Takes what would be published one by one and keeps it, invisible, until all of it is published at once. Memory is
 * bounded: large files are uploads already, small ones leave in packs.
 */
export class Gathering {
  readonly files: DeliveredFile[] = [];
  readonly #parts: GatheringParts;
  readonly #uploads = new Set<Upload>();
  readonly #packs: Pack[] = [];
  #state: State;
  #pack: Pack;
  #packBytes = 0;

  constructor(parts: GatheringParts) {
    this.#parts = parts;
    this.#state = parts.state;
    this.#pack = this.#newPack();
  }

  get memory(): MemoryAccount {
    return this.#parts.memory;
  }

  /** The shadow. */
  get state(): State {
    return this.#state;
  }

  /** The store, which remembers the uploads that were begun. */
  get store(): Store {
    const { store } = this.#parts;
    return {
      url: store.url,
      minPartBytes: store.minPartBytes,
      begin: async (key) => {
        const upload = await store.begin(key);
        this.#uploads.add(upload);
        return upload;
      },
      publish: async (key, receipt) => store.publish(key, receipt),
      publishBytes: async (key, bytes, checksum) => store.publishBytes(key, bytes, checksum),
      has: async (key, checksum) => store.has(key, checksum),
      discardUploads: async (isNamed) => store.discardUploads(isNamed),
      put: async (key, bytes) => store.put(key, bytes),
      putIfAbsent: async (key, bytes) => store.putIfAbsent(key, bytes),
      get: async (key, range) => store.get(key, range),
      list: (prefix, options) => store.list(prefix, options),
      listFolders: async (prefix) => store.listFolders(prefix),
      delete: async (keys) => store.delete(keys),
      probe: async () => store.probe(),
      close: () => {},
    };
  }

  async submit({ files, events }: Pick<Submission, "files" | "events">): Promise<void> {
    for (const delivered of files) {
      const { file } = delivered;
      if (!("small" in file.content)) this.files.push(delivered);
      else this.files.push({ ...delivered, file: await this.#intoPack(file, file.content.small) });
    }
    this.#apply(events);
  }

  async record(events: readonly TableEvent[]): Promise<void> {
    return Promise.resolve(this.#apply(events));
  }

  /** Everything that is gathered is in the store once this resolves. */
  async finish(): Promise<void> {
    await this.#put();
  }

  /** Throws away everything that was gathered or begun. */
  async discard(): Promise<void> {
    const { store } = this.#parts;
    this.files.length = 0;
    await Promise.allSettled([...this.#uploads].map((upload) => upload.abort()));
    await Promise.allSettled([store.delete(this.#packs.map(({ key }) => key))]);
  }

  #newPack(): Pack {
    const pack = new Pack(this.#parts.store);
    this.#packs.push(pack);
    return pack;
  }

  async #intoPack(file: FinishedFile, small: Buffer): Promise<FinishedFile> {
    this.#parts.memory.hold(small.length);
    this.#packBytes += small.length;
    const packed = this.#pack.add(small);
    if (this.#packBytes >= PACK_BYTES) await this.#put();
    return { ...file, content: { packed } };
  }

  /** Begins the next pack before this one is put: others go on adding meanwhile. */
  async #put(): Promise<void> {
    const { memory, patiently } = this.#parts;
    const [pack, bytes] = [this.#pack, this.#packBytes];
    this.#pack = this.#newPack();
    this.#packBytes = 0;
    await patiently("stage small files", () => pack.put());
    memory.release(bytes);
  }

  #apply(events: readonly TableEvent[]): void {
    const { format, sequence, pipeline, endLsn } = this.#state;
    const nothing = { files: [], firstLsn: null, committedAt: null, time: "", writer: "" };
    const tables = events as unknown as readonly Json[];
    this.#state = applyDocument(this.#state, {
      format,
      sequence,
      pipeline,
      endLsn,
      kind: "batch",
      ...nothing,
      tables,
    });
  }
}
