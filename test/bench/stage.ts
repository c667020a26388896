import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { openStore } from "../../src/stores/open.ts";
import { builtMain } from "../support/build.ts";
import { Child } from "./child.ts";
import type { Source } from "./source.ts";

export type StoreKind = "file" | "s3";

/** A stage that was made with the slot `slot`, to be used with the slot `as`. */
export interface Template {
  readonly folder: string;
  readonly slot: string;
  readonly as: string;
}

/** Where a daemon of one round stages. */
export interface Stage {
  readonly env: Readonly<Record<string, string>>;
  remove(): Promise<void>;
}

/** Folders and an S3 server for the rounds of one benchmark, in processes that are not measured. */
export class Stages {
  readonly #root: string;
  #server: { child: Child; env: Record<string, string>; endpoint: string; bucket: string } | null = null;
  #count = 0;

  private constructor(root: string) {
    this.#root = root;
  }

  static async open(): Promise<Stages> {
    return new Stages(await mkdtemp(join(tmpdir(), "pgstage-bench-")));
  }

  /** A new folder. */
  async folder(): Promise<string> {
    const folder = join(this.#root, `stage${++this.#count}`);
    await mkdir(folder);
    return folder;
  }

  /** A stage that holds what `from` holds, with `slot` for the slot's name; empty without. */
  async open(kind: StoreKind, from?: Template): Promise<Stage> {
    if (kind === "file") {
      const folder = await this.folder();
      if (from) await copyTemplate(from, folder);
      const remove = (): Promise<void> => rm(folder, { recursive: true, force: true });
      return { env: { PGSTAGE_STAGE_URL: `file://${folder}` }, remove };
    }
    const { env, endpoint, bucket } = await this.#s3();
    const stageEnv = {
      ...env,
      PGSTAGE_STAGE_URL: `s3://${bucket}/landing${this.#count}`,
      PGSTAGE_STAGE_ENDPOINT: endpoint,
    };
    if (from) await this.fill(stageEnv, from);
    return { env: stageEnv, remove: () => this.#dropServer() };
  }

  /** Puts a template into a bucket. */
  async fill(
    env: Readonly<Record<"PGSTAGE_STAGE_URL" | "PGSTAGE_STAGE_ENDPOINT", string>>,
    from: Template,
  ): Promise<void> {
    const folder = await this.folder();
    await copyTemplate(from, folder);
    Object.assign(process.env, env);
    const store = await openStore({ url: env.PGSTAGE_STAGE_URL, endpoint: env.PGSTAGE_STAGE_ENDPOINT });
    const put = async (path: string): Promise<void> =>
      store.put(relative(folder, path), await readFile(path));
    const paths = await filesIn(folder);
    for (let at = 0; at < paths.length; at += 50) await Promise.all(paths.slice(at, at + 50).map(put));
    store.close();
    await rm(folder, { recursive: true, force: true });
  }

  /** The strict server of the tests, in a process of its own; a fresh one for each round, so that none is full. */
  async #s3(): Promise<{ env: Record<string, string>; endpoint: string; bucket: string }> {
    if (this.#server) return this.#server;
    const dir = join(this.#root, `s3-${this.#count}`);
    const main = join(import.meta.dirname, "../support/s3-server/main.ts");
    const args = ["--import", "tsx", main, "--dir", dir, "--with-stdin"];
    const child = new Child(process.execPath, args, {});
    const line = await child.line((one) => typeof one["endpoint"] === "string");
    const { endpoint, bucket, env } = line as unknown as {
      endpoint: string;
      bucket: string;
      env: Record<string, string>;
    };
    this.#server = { child, env, endpoint, bucket };
    return this.#server;
  }

  async #dropServer(): Promise<void> {
    await this.#server?.child.stop();
    this.#server = null;
  }

  async close(): Promise<void> {
    await this.#dropServer();
    await rm(this.#root, { recursive: true, force: true });
  }
}

async function filesIn(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
}

export async function copyTemplate(from: Template, to: string): Promise<void> {
  await cp(from.folder, to, { recursive: true });
  for (const path of await filesIn(join(to, "_pgstage"))) {
    const text = await readFile(path, "utf8");
    await writeFile(path, text.replaceAll(`"slot":"${from.slot}"`, `"slot":"${from.as}"`));
  }
}

/** `pgstage run`, compiled, as a child. */
export async function startDaemon(
  source: Source,
  env: Readonly<Record<string, string>>,
  nodeOptions: readonly string[] = [],
): Promise<Child> {
  const profile = process.env["BENCH_PROFILE"];
  const profiling = profile ? ["--cpu-prof", `--cpu-prof-dir=${profile}`] : [];
  return new Child(process.execPath, [...nodeOptions, ...profiling, await builtMain(), "run"], {
    PGSTAGE_SOURCE_URL: source.pg.url(source.database),
    PGSTAGE_HTTP_PORT: "0",
    PGSTAGE_LOG_LAG_INTERVAL: "60s",
    ...env,
  });
}

export const TEMPLATE_SLOT = "bench";

/**
 * Lets a daemon copy the tables of `source` into a new folder, and ends it: from here on rounds can start at the same
 * position of the same WAL, each with a copy of the slot and of the stage.
 */
export async function makeTemplate(source: Source, stages: Stages, tables: number): Promise<string> {
  const folder = await stages.folder();
  const daemon = await startDaemon(source, {
    PGSTAGE_STAGE_URL: `file://${folder}`,
    PGSTAGE_SOURCE_SLOT: TEMPLATE_SLOT,
    PGSTAGE_FLUSH_INTERVAL: "500ms",
  });
  await daemon.line(() => daemon.lines.filter((line) => line.msg === "table copied").length >= tables);
  await daemon.stop();
  return folder;
}
