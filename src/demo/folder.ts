import { access, mkdir, readdir, rm, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { messageOf, OperatorError } from "../core/errors.ts";
import { WAREHOUSE_FILE } from "./warehouse.ts";

const MARKER = ".pgstage-demo";
const MARKER_TEXT = "This folder belongs to `pgstage demo`, which replaces it when it starts again.\n";

/** The demo's own folder: everything that it leaves is below. */
export interface DemoFolder {
  readonly path: string;
  readonly stage: string;
  readonly log: string;
  /** A DuckDB database. */
  readonly warehouse: string;
}

/** Makes the folder anew. One that is not ours is left alone: throws an OperatorError. */
export async function makeFolder(path: string): Promise<DemoFolder> {
  const root = resolve(path);
  try {
    const entries = await readdir(root).catch((): string[] => []);
    if (entries.length > 0 && !entries.includes(MARKER)) {
      throw new OperatorError(
        `${root} is there already, and not from a demo`,
        "choose another folder: --dir DIR",
      );
    }
    await rm(root, { recursive: true, force: true });
    await mkdir(root, { recursive: true });
    await writeFile(join(root, MARKER), MARKER_TEXT);
    await access(root);
  } catch (error) {
    if (error instanceof OperatorError) throw error;
    throw new OperatorError(
      `${root} cannot be used: ${messageOf(error)}`,
      "choose another folder: --dir DIR",
      { cause: error },
    );
  }
  return {
    path: root,
    stage: join(root, "stage"),
    log: join(root, "daemon.log"),
    warehouse: join(root, WAREHOUSE_FILE),
  };
}
