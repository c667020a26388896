import { randomBytes, randomInt } from "node:crypto";
import { DirectoryStore } from "../../src/stores/directory.ts";
import { stageFile } from "./support.ts";

/**
 * Writes files on every way into a directory until it is killed, and prints a dot for each. Keys hold the sizes:
 * `…-<bytes>.csv`.
 */
const store = new DirectoryStore(process.argv[2] ?? "");

async function writeForEver(writer: number): Promise<never> {
  for (let n = 0; ; n++) {
    const bytes = randomBytes(randomInt(300_000));
    const key = (kind: string): string =>
      `public/${kind}/${process.pid}-${writer}-${n}/x-${bytes.length}.csv`;
    await store.put(key("put"), bytes);
    process.stdout.write(".");
    await store.putIfAbsent(key("log"), bytes);
    process.stdout.write(".");
    await store.publishBytes(key("small"), bytes, "");
    process.stdout.write(".");
    await store.publish(key("upload"), await stageFile(store, key("upload"), bytes));
    process.stdout.write(".");
  }
}

await Promise.all([1, 2, 3].map(writeForEver));
