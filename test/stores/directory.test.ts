import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, link, mkdir, mkdtemp, readdir, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { OperatorError, SettingsError, TransientError, UploadLostError } from "../../src/core/errors.ts";
import { classifyDiskError } from "../../src/stores/directory-errors.ts";
import { DirectoryStore, judgeSpace } from "../../src/stores/directory.ts";
import { openStore, parseStageUrl } from "../../src/stores/open.ts";
import { freshKey, keysOf, stageFile } from "./support.ts";

let parent: string;
let root: string;
let store: DirectoryStore;

beforeEach(async () => {
  parent = await mkdtemp(join(tmpdir(), "pgstage-directory-"));
  root = join(parent, "stage");
  store = new DirectoryStore(root);
});

afterEach(() => rm(parent, { recursive: true, force: true }));

const staged = (): Promise<string[]> => readdir(join(root, "_pgstage/staged"));
const bytes = Buffer.from("rows");

describe("what a crash leaves behind", () => {
  it("is a file with two names between link and unlink, which publishing again makes one", async () => {
    const key = freshKey();
    const receipt = await stageFile(store, key, bytes);
    await store.publishBytes(key.replace("0001.csv", "0002.csv"), bytes, "");
    await link(join(root, "_pgstage/staged", receipt.id), join(root, key));
    expect(await new DirectoryStore(root).publish(key, receipt)).toBe("published");
    expect(await staged()).toEqual([]);
    expect(String(await store.get(key))).toBe("rows");
  });

  it("is unfinished documents and uploads, which discarding removes", async () => {
    await store.put("_pgstage/x.json", bytes);
    const unfinished = await store.begin(freshKey());
    await unfinished.write(bytes, 1, 0);
    await writeFile(join(root, "_pgstage/staged/tmp-0000"), "half a docum");
    const receipt = await stageFile(store, freshKey(), bytes);
    expect(await new DirectoryStore(root).discardUploads((id) => id === receipt.id)).toBe(1);
    expect(await staged()).toEqual([receipt.id]);
    await expect(unfinished.finish()).rejects.toThrow(UploadLostError);
    await unfinished.abort();
  });

  it("is a staged file that is shorter than recorded, which counts as gone", async () => {
    const key = freshKey();
    const receipt = await stageFile(store, key, bytes);
    await writeFile(join(root, "_pgstage/staged", receipt.id), "ro");
    expect(await store.publish(key, receipt)).toBe("gone");
    expect(await store.get(key)).toBeNull();
  });

  it("is nothing after documents were written", async () => {
    await store.put("_pgstage/x.json", bytes);
    await store.putIfAbsent("_pgstage/y.json", bytes);
    await store.putIfAbsent("_pgstage/y.json", Buffer.from("others"));
    await store.publishBytes(freshKey(), bytes, "");
    expect(await staged()).toEqual([]);
  });

  it("never is a file under its key that is not whole, however often the writer is killed", async () => {
    for (let kill = 0; kill < 6; kill++) {
      await killWriterAfter(10 + 7 * kill);
      const again = new DirectoryStore(root);
      for await (const key of again.list("")) expect((await again.get(key))?.length, key).toBe(sizeIn(key));
      await again.discardUploads(() => false);
      expect(await staged()).toEqual([]);
    }
    expect((await keysOf(store, "")).length).toBeGreaterThan(20);
  });
});

/** Lets a process write into the directory, and kills it as soon as it has told of so many files. */
async function killWriterAfter(files: number): Promise<void> {
  const script = join(import.meta.dirname, "directory-writer.ts");
  const writer = spawn(process.execPath, ["--import", "tsx", script, root], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const ended = once(writer, "exit");
  let told = 0;
  for await (const chunk of writer.stdout) {
    told += (chunk as Buffer).length;
    if (told >= files) writer.kill("SIGKILL");
  }
  expect(await ended).toEqual([null, "SIGKILL"]);
}

/** The writer puts the size of each file into its key. */
function sizeIn(key: string): number {
  return Number(/-(\d+)\./.exec(key)?.[1]);
}

describe("the directory", () => {
  it("is made by the first write, in a folder that exists", async () => {
    expect(await keysOf(store, "")).toEqual([]);
    expect(await store.get("x")).toBeNull();
    expect(await store.discardUploads(() => false)).toBe(0);
    expect(await readdir(parent)).toEqual([]);
    await store.put("x", bytes);
    expect(await readdir(parent)).toEqual(["stage"]);
  });

  it("is not made in a folder that does not exist", async () => {
    const lost = new DirectoryStore(join(parent, "no/such/stage"));
    await expect(lost.put("x", bytes)).rejects.toThrow(OperatorError);
    await expect(lost.begin(freshKey())).rejects.toMatchObject({
      mend: `mkdir -p ${join(parent, "no/such/stage")}`,
    });
    expect(await lost.probe()).toMatchObject([
      { verdict: "ok" },
      { verdict: "fail", mend: expect.stringContaining("mkdir -p") },
    ]);
  });

  it.each([
    ["vanishes", () => Promise.resolve()],
    ["is unmounted, which leaves an empty folder", () => mkdir(root)],
  ])("is not started afresh when it %s", async (_what, leave) => {
    await store.put("x", bytes);
    const key = freshKey();
    const receipt = await stageFile(store, key, bytes);
    await rename(root, `${root}-unmounted`);
    await leave();
    await expect(store.put("x", bytes)).rejects.toThrow("has vanished");
    await expect(store.putIfAbsent("y", bytes)).rejects.toThrow("has vanished");
    await expect(store.publish(key, receipt)).rejects.toThrow("has vanished");
    await expect(store.get("x")).rejects.toThrow("has vanished");
    await expect(keysOf(store, "")).rejects.toThrow("has vanished");
    await rm(root, { recursive: true, force: true });
    await rename(`${root}-unmounted`, root);
    expect(await store.get("x")).toEqual(bytes);
    expect(await store.publish(key, receipt)).toBe("published");
  });

  it("may lose folders below it while it is used", async () => {
    const key = freshKey();
    await store.publishBytes(key, bytes, "");
    await rm(join(root, "public"), { recursive: true });
    await rm(join(root, "_pgstage"), { recursive: true });
    await store.publishBytes(key, bytes, "");
    await rm(join(root, "public"), { recursive: true });
    expect(await store.publish(key, await stageFile(store, key, bytes))).toBe("published");
  });

  it("cannot be a file", async () => {
    await writeFile(root, "a file");
    await expect(store.put("x", bytes)).rejects.toMatchObject({
      name: "OperatorError",
      mend: expect.stringContaining("a file stands"),
    });
  });

  it("must be writable, as the process's own user", async () => {
    await mkdir(root, { mode: 0o500 });
    await chmod(parent, 0o755);
    const results = await asOrdinaryUser(async () => {
      await expect(store.put("x", bytes)).rejects.toThrow(`${root}/x: permission denied`);
      await expect(store.begin(freshKey())).rejects.toThrow(OperatorError);
      return store.probe();
    });
    expect(results.at(-1)).toMatchObject({
      verdict: "fail",
      found: expect.stringContaining("permission denied"),
    });
  });
});

/** Root may write everywhere, so the system calls are made as somebody else. */
async function asOrdinaryUser<T>(run: () => Promise<T>): Promise<T> {
  if (process.geteuid?.() !== 0) return run();
  process.seteuid?.(65534);
  try {
    return await run();
  } finally {
    process.seteuid?.(0);
  }
}

describe("a full disk", () => {
  it("is warned of by check, once less is left than a batch may need", () => {
    expect(judgeSpace(1024 ** 3, "/stage")).toBe("1024 MiB are free in /stage");
    expect(judgeSpace(1024 ** 3 - 1, "/stage")).toMatchObject({
      verdict: "warn",
      found: "1023 MiB are free in /stage",
      mend: expect.stringContaining("make room, or move the stage") as string,
    });
  });

  it("passes: nothing is half published, and the same calls succeed once there is room", async ({ skip }) => {
    const script = join(import.meta.dirname, "full-disk.ts");
    const inNamespace = (...command: string[]) =>
      promisify(execFile)("unshare", ["--map-root-user", "--mount", ...command]);
    const canMount = await inNamespace("mount", "-t", "tmpfs", "tmpfs", parent).then(
      () => true,
      () => false,
    );
    if (!canMount) skip("this machine does not let us mount a small file system");
    const { stdout } = await inNamespace(process.execPath, "--import", "tsx", script, parent);
    expect(JSON.parse(stdout)).toEqual({
      whenFull: ["TransientError", "TransientError", "TransientError", "TransientError"],
      visibleWhenFull: [],
      whenThereIsRoom: ["written", "created", "published", "published"],
      whenReadOnly: "OperatorError",
    });
  });

  it.each(["ENOSPC", "EDQUOT", "EIO", "EMFILE", "ESTALE"])("and the like pass: %s", (code) => {
    expect(classifyDiskError(Object.assign(new Error(code), { code }), "/stage/x")).toBeInstanceOf(
      TransientError,
    );
  });

  it.each(["EACCES", "EROFS", "ENOTDIR", "ENAMETOOLONG", "EXDEV"])("but not this: %s", (code) => {
    expect(classifyDiskError(Object.assign(new Error(code), { code }), "/stage/x")).toBeInstanceOf(
      OperatorError,
    );
  });

  it("is not what a bug is", () => {
    const bug = new TypeError("x is not a function");
    expect(classifyDiskError(bug, "/stage/x")).toBe(bug);
  });
});

describe("the stage's URL", () => {
  it("is a bucket with a prefix, or a directory", () => {
    expect(parseStageUrl("s3://bucket")).toEqual({ kind: "s3", bucket: "bucket", prefix: "" });
    expect(parseStageUrl("s3://bucket/")).toEqual({ kind: "s3", bucket: "bucket", prefix: "" });
    expect(parseStageUrl("s3://bucket/a/b c%20/")).toEqual({
      kind: "s3",
      bucket: "bucket",
      prefix: "a/b c%20",
    });
    expect(parseStageUrl("file:///var/stage%20one/")).toEqual({ kind: "directory", path: "/var/stage one/" });
  });

  it.each([
    "",
    "stage",
    "/var/stage",
    "s3:/bucket",
    "s3://",
    "https://bucket",
    "file://host/stage",
    "file:stage",
  ])("is not %j", async (url) => {
    await expect(openStore({ url })).rejects.toThrow(SettingsError);
  });

  it("is shown without its closing slash", () => {
    expect(new DirectoryStore("/var/stage/").url).toBe("file:///var/stage");
    expect(new DirectoryStore("/").url).toBe("file:///");
  });
});
