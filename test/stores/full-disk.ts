import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdirSync, rmSync, statfsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { DirectoryStore } from "../../src/stores/directory.ts";
import { freshKey, keysOf } from "./support.ts";

/**
 * Fills a small file system that only this process and its children see, and prints what a store on it does.
 * Run by directory.test.ts in a mount namespace of its own.
 */
const parent = process.argv[2] ?? "";
execFileSync("mount", ["-t", "tmpfs", "-o", "size=8m", "tmpfs", parent]);
const root = join(parent, "stage");
mkdirSync(root);
const store = new DirectoryStore(root);
const bytes = randomBytes(1024 * 1024);
const keys = { put: "_pgstage/put.json", log: "_pgstage/log.json", small: freshKey(), upload: freshKey() };

const nameOf = (error: unknown): string => (error as Error).name;

// An upload that began while there was room, as when a disk fills up in the middle of a file.
const upload = await store.begin(keys.upload);
await upload.write(bytes, 1, 0);
const { bavail, bsize } = statfsSync(root);
const filler = join(parent, "filler");
writeFileSync(filler, Buffer.alloc(bavail * bsize - 200 * 1024));

const write = (): Promise<string>[] => [
  store.put(keys.put, bytes).then(() => "written"),
  store.putIfAbsent(keys.log, bytes),
  store.publishBytes(keys.small, bytes, "").then(() => "published"),
  upload.write(bytes, 2, bytes.length).then(async () => store.publish(keys.upload, await upload.finish())),
];
const settle = async (): Promise<string[]> =>
  (await Promise.allSettled(write())).map((outcome) =>
    outcome.status === "fulfilled" ? outcome.value : nameOf(outcome.reason),
  );

const whenFull = await settle();
const visibleWhenFull = await keysOf(store, "");
rmSync(filler);
const whenThereIsRoom = await settle();
execFileSync("mount", ["-o", "remount,ro", parent]);
const whenReadOnly = await store.put(keys.put, bytes).then(() => "written", nameOf);
console.log(JSON.stringify({ whenFull, visibleWhenFull, whenThereIsRoom, whenReadOnly }));
