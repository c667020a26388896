import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, rm, statfs, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { expect, test } from "vitest";
import { Daemon } from "../support/daemon.ts";
import { newSeed, Random } from "../support/random.ts";
import type { Operation, S3 } from "../support/s3-server/index.ts";
import { openDirectory } from "../support/stage.ts";
import { createTables, Workload } from "../support/workload.ts";
import { sceneFor } from "./scene.ts";

const newScene = sceneFor();

type Fault = Parameters<S3["faults"]["add"]>[0];

/** Answers of a store that is busy, ill or far away; the requests behind them are tried again or looked at. */
const WHILE_STREAMING: readonly Fault[] = [
  { status: 500, code: "InternalError" },
  { status: 503, code: "SlowDown" },
  { status: 503, code: "ServiceUnavailable", afterCommit: true },
  { status: 500, code: "InternalError", afterCommit: true },
  { reset: true },
  { reset: true, afterCommit: true },
  { delayMs: 1_500 },
  { delayMs: 800, reset: true, afterCommit: true },
  { op: ["PutObject", "CompleteMultipartUpload"], status: 409, code: "ConditionalRequestConflict" },
  {
    op: ["PutObject", "CompleteMultipartUpload"],
    // Only what is written once has a condition that could fail.
    key: /\.csv|_pgstage\/log\//,
    status: 412,
    code: "PreconditionFailed",
    afterCommit: true,
  },
];
/** Half a minute until it is given up. */
const SILENT: Fault = { op: ["PutObject", "UploadPart", "CompleteMultipartUpload"], silent: true };
/** A start reads the log. */
const AT_A_START: readonly Fault[] = [
  { op: "GetObject", cutAfterBytes: 10 },
  { op: "GetObject", corrupt: true },
];

const seed = newSeed();

test(
  `a store with every fault there is gets each change once (CRASH_SEED=${seed})`,
  { timeout: 240_000 },
  async () => {
    await using scene = await newScene("s3");
    const { s3 } = scene.stage;
    if (!s3) throw new Error("not on S3");
    const random = new Random(seed);
    await createTables(scene.url);
    await using workload = new Workload({ url: scene.url, random: random.fork() });
    const daemon = await scene.daemon({ PGSTAGE_SNAPSHOT_MAX_BYTES_PER_SECOND: "1MiB" });
    const met = async (fault: Fault): Promise<void> => {
      const what = `a request that meets ${JSON.stringify(fault)}`;
      const injected = s3.faults.add(fault);
      await daemon.until(() => injected.hits > 0, what);
    };
    for (const fault of [...WHILE_STREAMING, ...WHILE_STREAMING]) {
      // The SDK tries three times by itself: some faults last longer than that.
      await met({ ...fault, skip: random.below(3), times: random.pick([1, 2, 5]) });
      await delay(random.below(300));
    }
    await met(SILENT);
    const atStart = AT_A_START.map((fault) => s3.faults.add(fault));
    await daemon.kill();
    const next = await scene.daemon();
    await Promise.all(atStart.map(({ met }) => met));
    await workload.stop();
    s3.faults.clear();
    await scene.drainAndProve(next);
  },
);

test("credentials that expire and come back are waited for", { timeout: 120_000 }, async () => {
  await using scene = await newScene("s3");
  const { s3 } = scene.stage;
  await scene.sql("CREATE TABLE t (id int PRIMARY KEY)");
  const daemon = await scene.daemon();
  await scene.settled(daemon);
  s3?.access.expire("ExpiredToken");
  await scene.sql("INSERT INTO t VALUES (1)");
  const status = await daemon.until(
    ({ notices }) => notices.some(({ id }) => id.includes("store")),
    "in trouble",
  );
  expect(JSON.stringify(status.notices)).toContain("ExpiredToken");
  s3?.access.restore();
  await scene.drainAndProve(daemon);
});

test(
  "a store that is away at a stop is left behind in time, and nothing is lost",
  { timeout: 120_000 },
  async () => {
    await using scene = await newScene("s3");
    const { s3 } = scene.stage;
    await scene.sql("CREATE TABLE t (id int PRIMARY KEY)");
    const daemon = await scene.daemon({ PGSTAGE_SHUTDOWN_TIMEOUT: "4s" });
    await scene.settled(daemon);
    s3?.faults.add({ op: "PutObject", silent: true, times: Number.POSITIVE_INFINITY });
    await scene.sql("INSERT INTO t VALUES (1)");
    await daemon.until(({ lag }) => lag.open_rows > 0, "busy");
    const startedAt = performance.now();
    daemon.signal("SIGTERM");
    const { code } = await daemon.exited;
    expect(performance.now() - startedAt).toBeLessThan(6_000);
    expect(code).toBe(1);
    s3?.faults.clear();
    await scene.drainAndProve(await scene.daemon());
  },
);

/** A directory on a small file system in a mount namespace of its own; null where this machine forbids that. */
async function smallFolder(): Promise<(AsyncDisposable & { path: string }) | null> {
  const folder = await mkdtemp(join(tmpdir(), "pgstage-small-"));
  const mount = `mount -t tmpfs -o size=24m,mode=777 tmpfs ${folder} && echo mounted && cat`;
  const holder = spawn("unshare", ["--map-root-user", "--mount", "sh", "-c", mount], {
    stdio: ["pipe", "pipe", "ignore"],
  });
  const ended = new Promise<null>((resolve) =>
    holder.once("close", () => resolve(null)).once("error", () => resolve(null)),
  );
  const close = async (): Promise<void> => {
    holder.stdin.end();
    await ended;
    await rm(folder, { recursive: true, force: true });
  };
  if ((await Promise.race([once(holder.stdout, "data"), ended])) === null) {
    await close();
    return null;
  }
  return { path: `/proc/${holder.pid}/root${folder}`, [Symbol.asyncDispose]: close };
}

test("a full disk is waited for", { timeout: 120_000 }, async ({ skip }) => {
  await using folder = await smallFolder();
  if (folder === null) return skip("this machine does not let us mount a small file system");
  const root = join(folder.path, "stage");
  await mkdir(root);
  await using scene = await newScene(await openDirectory(root));
  await scene.sql(`
    CREATE TABLE t (id int PRIMARY KEY, v text);
    INSERT INTO t SELECT i, md5(i::text) FROM generate_series(1, 20000) AS i`);
  const daemon = await scene.daemon({ PGSTAGE_FORMAT_COMPRESSION: "none" });
  await scene.settled(daemon);
  const filler = join(folder.path, "filler");
  const { bavail, bsize } = await statfs(root);
  await writeFile(filler, Buffer.alloc(bavail * bsize - 100 * 1024));
  await scene.sql("UPDATE t SET v = v || '!'");
  const { notices } = await daemon.until(
    (status) => status.notices.some(({ id }) => id.includes("store")),
    "in trouble",
  );
  expect(JSON.stringify(notices)).toMatch(/space|ENOSPC/i);
  await scene.sql("UPDATE t SET v = v || '?' WHERE id % 2 = 0");
  await rm(filler);
  await scene.drainAndProve(daemon);
});

/** Seconds from SIGTERM to the end. */
async function secondsToStop(daemon: Daemon): Promise<number> {
  const toldAt = performance.now();
  daemon.signal("SIGTERM");
  await daemon.exited;
  return (performance.now() - toldAt) / 1000;
}

test("a store that is silent keeps nobody from stopping", { timeout: 300_000 }, async () => {
  await using scene = await newScene("s3");
  await scene.sql(`
    CREATE TABLE t (id int PRIMARY KEY, v text);
    INSERT INTO t SELECT i, repeat(md5(i::text), 30) FROM generate_series(1, 30000) AS i`);
  const silentFor = (op: Operation, key: RegExp): ReturnType<S3["faults"]["add"]> => {
    return (scene.stage.s3 as S3).faults.add({ op, key, silent: true, times: Number.POSITIVE_INFINITY });
  };
  const command = ["snapshot"];
  const settings = {
    PGSTAGE_SHUTDOWN_TIMEOUT: "3s",
    PGSTAGE_FORMAT_COMPRESSION: "none",
    PGSTAGE_FILE_MAX_BYTES: "64MiB",
    PGSTAGE_SNAPSHOT_RANGE_BYTES: "64MiB",
  };
  const start = { source: scene.url, stage: scene.stage.env, settings };
  const moments = [
    { name: "a snapshot's checks", command, op: "PutObject", key: /_pgstage\/probe\// },
    { name: "a snapshot's parts", command, op: "UploadPart", key: /\.csv/ },
    { name: "a daemon's first document", command: ["run"], op: "PutObject", key: /_pgstage\/log\// },
  ] as const;
  for (const { name, command, op, key } of moments) {
    const fault = silentFor(op, key);
    const process = await Daemon.start({ ...start, command });
    await fault.met;
    expect(await secondsToStop(process), name).toBeLessThan(10);
    fault.remove();
  }
  await scene.drainAndProve(await scene.daemon());
});
