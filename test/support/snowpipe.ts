import { readdirSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { Snowpipe as Loader, type SnowpipeOptions } from "../../src/snowpipe/snowpipe.ts";

/** The loader with Snowpipe's rules, over a stage in a directory. */
export class Snowpipe extends Loader {
  readonly #directory: string;

  constructor(options: Omit<SnowpipeOptions, "read"> & { readonly directory: string }) {
    super({ ...options, read: (key) => readFile(join(options.directory, key)) });
    this.#directory = options.directory;
  }

  /** ALTER PIPE … REFRESH of every pipe: notifies of all files that are there. */
  refresh(): void {
    for (const entry of readdirSync(this.#directory, { recursive: true, withFileTypes: true })) {
      if (!entry.isFile()) continue;
      const path = join(entry.parentPath, entry.name).slice(this.#directory.length);
      this.notify(path.replaceAll("\\", "/").replace(/^\/+/, ""));
    }
  }
}
