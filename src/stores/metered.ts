import type { Store, Upload } from "./store.ts";

/** What a store is asked for. */
export type StoreOperation =
  | "begin"
  | "write"
  | "finish"
  | "abort"
  | "publish"
  | "put"
  | "get"
  | "list"
  | "delete";

/** Runs a request, counted and timed. */
export type Timed = <T>(operation: StoreOperation, request: () => Promise<T>) => Promise<T>;

/** The same store, with every request counted. */
export function meteredStore(store: Store, timed: Timed): Store {
  return {
    url: store.url,
    minPartBytes: store.minPartBytes,
    begin: async (key) => meteredUpload(await timed("begin", () => store.begin(key)), timed),
    publish: (key, receipt) => timed("publish", () => store.publish(key, receipt)),
    publishBytes: (key, bytes, checksum) => timed("publish", () => store.publishBytes(key, bytes, checksum)),
    has: (key, checksum) => timed("get", () => store.has(key, checksum)),
    discardUploads: (isNamed) => timed("abort", () => store.discardUploads(isNamed)),
    put: (key, bytes) => timed("put", () => store.put(key, bytes)),
    putIfAbsent: (key, bytes) => timed("put", () => store.putIfAbsent(key, bytes)),
    get: (key, range) => timed("get", () => store.get(key, range)),
    list: (prefix, options) => store.list(prefix, options),
    listFolders: (prefix) => timed("list", () => store.listFolders(prefix)),
    delete: (keys) => timed("delete", () => store.delete(keys)),
    probe: () => store.probe(),
    close: () => store.close(),
  };
}

function meteredUpload(upload: Upload, timed: Timed): Upload {
  return {
    write: (part, number, offset) => timed("write", () => upload.write(part, number, offset)),
    finish: () => timed("finish", () => upload.finish()),
    abort: () => timed("abort", () => upload.abort()),
  };
}
