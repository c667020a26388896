import { mkdtemp, readdir, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { pathToFileURL } from "node:url";
import { OWN_FOLDER } from "../../src/core/layout.ts";
import { openStore } from "../../src/stores/open.ts";
import type { Store } from "../../src/stores/store.ts";
import { startS3, type S3 } from "./s3-server/index.ts";

export type StageKind = "file" | "s3";

/** A stage for one test, that remembers what was ever published on it. */
export interface TestStage extends AsyncDisposable {
  readonly url: string;
  /** Settings and credentials with which a daemon uses it. */
  readonly env: Readonly<Record<string, string>>;
  readonly store: Store;
  /** The server, for a stage on S3. */
  readonly s3: S3 | null;
  /** The directory, for a stage in one. */
  readonly directory: string | null;
  /**
   * Published keys (data files and log documents) that were written more than once, changed or removed since the
   * first look at them. Call it often: a directory shows only what it holds now.
   */
  changedKeys(): Promise<string[]>;
}

/** What a pipe or a reader of the log relies on: nothing but packs, states and staged bytes may ever change. */
function isForEver(key: string): boolean {
  return !key.startsWith(OWN_FOLDER) || key.startsWith(`${OWN_FOLDER}log/`);
}

export async function openStage(kind: StageKind): Promise<TestStage> {
  return kind === "file" ? openDirectory() : openBucket();
}

/** A stage in a directory; in one of its own if it is not given. */
export async function openDirectory(directory?: string): Promise<TestStage> {
  const root = directory ?? (await mkdtemp(join(tmpdir(), "pgstage-stage-")));
  const url = pathToFileURL(root).href;
  const store = await openStore({ url });
  const seen = new Map<string, string>();
  const changed = new Set<string>();
  return {
    url,
    env: { PGSTAGE_STAGE_URL: url },
    store,
    s3: null,
    directory: root,
    async changedKeys() {
      const now = await marksOf(root);
      for (const [key, mark] of seen) if (now.get(key) !== mark) changed.add(key);
      for (const [key, mark] of now) seen.set(key, mark);
      return [...changed];
    },
    async [Symbol.asyncDispose]() {
      store.close();
      await rm(root, { recursive: true, force: true });
    },
  };
}

/** Inode, size and time of change tell a file that was replaced or written again. */
async function marksOf(root: string): Promise<Map<string, string>> {
  const marks = new Map<string, string>();
  const entries = await readdir(root, { recursive: true, withFileTypes: true });
  for (const entry of entries) {
    const path = join(entry.parentPath, entry.name);
    const key = relative(root, path);
    if (!entry.isFile() || !isForEver(key)) continue;
    const { ino, size, mtimeMs } = await stat(path);
    marks.set(key, `${ino} ${size} ${mtimeMs}`);
  }
  return marks;
}

/** A bucket on a strict server of its own, below a prefix. */
export async function openBucket(): Promise<TestStage> {
  const s3 = await startS3();
  // The store of this process takes its credentials from where a daemon would.
  Object.assign(process.env, s3.env);
  const url = `s3://${s3.bucket}/landing`;
  const store = await openStore({ url, endpoint: s3.endpoint });
  const created = new Map<string, number>();
  s3.onCreated(({ key }) => {
    created.set(key, (created.get(key) ?? 0) + 1);
  });
  const isChanged = ([key, times]: [string, number]): boolean => {
    return isForEver(key.slice("landing/".length)) && (times > 1 || s3.object(key) === undefined);
  };
  return {
    url,
    env: { ...s3.env, PGSTAGE_STAGE_URL: url, PGSTAGE_STAGE_ENDPOINT: s3.endpoint },
    store,
    s3,
    directory: null,
    async changedKeys() {
      return Promise.resolve([...created].filter(isChanged).map(([key]) => key));
    },
    async [Symbol.asyncDispose]() {
      store.close();
      await s3.close();
    },
  };
}
