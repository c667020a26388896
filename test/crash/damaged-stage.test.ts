import { expect, test } from "vitest";
import { LOG_FOLDER, STATE_FOLDER } from "../../src/core/layout.ts";
import type { Store } from "../../src/stores/store.ts";
import { compareStageWithSource } from "../support/rebuild.ts";
import { documentsOf } from "./documents.ts";
import { sceneFor, type Scene } from "./scene.ts";

const newScene = sceneFor();

async function keysBelow(store: Store, prefix: string): Promise<string[]> {
  const keys: string[] = [];
  for await (const key of store.list(prefix)) keys.push(key);
  return keys;
}

/** Row by row: what a stage that was damaged behind our back can be held to. */
async function tablesAreEqual(scene: Scene): Promise<void> {
  const { tables } = await compareStageWithSource(scene.stage.store, scene.url);
  expect(tables.filter(({ outcome }) => outcome !== "equal")).toEqual([]);
  expect(tables.length).toBeGreaterThan(0);
}

const LARGE_ROW = "(SELECT string_agg(md5(random()::text || i), '') FROM generate_series(1, 100000) AS i)";

test("uploads removed between record and publication: their table is copied afresh", async () => {
  await using scene = await newScene("s3");
  const { s3 } = scene.stage;
  if (!s3) throw new Error("not on S3");
  await scene.sql(
    "CREATE TABLE large (id serial PRIMARY KEY, v text); CREATE TABLE other (id int PRIMARY KEY)",
  );
  const settings = { PGSTAGE_FORMAT_COMPRESSION: "none", PGSTAGE_FILE_MAX_BYTES: "64MiB" };
  const daemon = await scene.daemon(settings);
  await scene.settled(daemon);
  let release = (): void => {};
  const hold = new Promise<void>((resolve) => {
    release = resolve;
  });
  const { met } = s3.faults.add({ op: "CompleteMultipartUpload", hold, reset: true });
  await scene.sql(
    `BEGIN; INSERT INTO large (v) VALUES (${LARGE_ROW}), (${LARGE_ROW}); INSERT INTO other VALUES (1); COMMIT`,
  );
  await met;
  await daemon.kill();
  release();
  expect(s3.uploads().length).toBe(1);
  s3.dropUploads();
  const next = await scene.daemon(settings);
  const { table } = await next.line(({ msg }) => msg.startsWith("staged files are gone"));
  expect(table).toBe("public.large");
  await scene.settled(next);
  await next.drain();
  await tablesAreEqual(scene);
  expect(await scene.stage.changedKeys()).toEqual([]);
});

test("uploads removed while we live, between record and publication: their table is copied afresh", async () => {
  await using scene = await newScene("s3");
  const { s3 } = scene.stage;
  if (!s3) throw new Error("not on S3");
  await scene.sql("CREATE TABLE large (id serial PRIMARY KEY, v text)");
  const daemon = await scene.daemon({ PGSTAGE_FORMAT_COMPRESSION: "none", PGSTAGE_FILE_MAX_BYTES: "64MiB" });
  await scene.settled(daemon);
  let release = (): void => {};
  const hold = new Promise<void>((resolve) => {
    release = resolve;
  });
  const { met } = s3.faults.add({ op: "CompleteMultipartUpload", hold });
  await scene.sql(`INSERT INTO large (v) VALUES (${LARGE_ROW}), (${LARGE_ROW})`);
  await met;
  s3.dropUploads();
  release();
  await daemon.line(({ msg }) => msg.startsWith("staged files are gone"));
  await scene.settled(daemon);
  await daemon.drain();
  await tablesAreEqual(scene);
});

test("uploads removed while they are written: the rows are received again", async () => {
  await using scene = await newScene("s3");
  const { s3 } = scene.stage;
  if (!s3) throw new Error("not on S3");
  await scene.sql("CREATE TABLE large (id serial PRIMARY KEY, v text)");
  const daemon = await scene.daemon({ PGSTAGE_FORMAT_COMPRESSION: "none", PGSTAGE_FILE_MAX_BYTES: "64MiB" });
  await scene.settled(daemon);
  let release = (): void => {};
  const hold = new Promise<void>((resolve) => {
    release = resolve;
  });
  const { met } = s3.faults.add({ op: "UploadPart", hold });
  await scene.sql(`INSERT INTO large (v) VALUES (${LARGE_ROW}), (${LARGE_ROW})`);
  await met;
  s3.dropUploads();
  release();
  await scene.drainAndProve(daemon);
});

/** A history of some documents, over a restart or two. */
async function history(scene: Scene): Promise<void> {
  await scene.sql(
    "CREATE TABLE a (id int PRIMARY KEY, v text); CREATE TABLE b (id int PRIMARY KEY); INSERT INTO a SELECT generate_series(1, 100)",
  );
  for (let i = 0; i < 2; i++) {
    const daemon = await scene.daemon();
    await scene.settled(daemon);
    for (let j = 0; j < 4; j++) {
      const { totals } = await daemon.until(({ lag }) => lag.open_rows === 0, "staged");
      await scene.sql(`INSERT INTO b VALUES (${i * 10 + j}); UPDATE a SET v = '${i} ${j}'`);
      await daemon.until((status) => status.totals.batches > totals.batches, "staged");
    }
    await daemon.drain();
  }
}

/** Removed while the daemon was down; `copiesAgain`: whether that loses anything that the daemon needs. */
const REMOVED = [
  {
    what: "old log documents, as a bucket rule does",
    of: (log: string[]) => log.slice(0, 3),
    states: false,
    copiesAgain: false,
  },
  { what: "state documents", of: () => [], states: true, copiesAgain: false },
  {
    what: "state documents and old log documents",
    of: (log: string[]) => log.slice(0, 3),
    states: true,
    copiesAgain: true,
  },
  {
    what: "state documents and a log document in the middle",
    of: (log: string[]) => log.slice(-4, -3),
    states: true,
    copiesAgain: true,
  },
  {
    what: "state documents and all log documents but the last",
    of: (log: string[]) => log.slice(0, -1),
    states: true,
    copiesAgain: true,
  },
] as const;

for (const { what, of, states, copiesAgain } of REMOVED) {
  test(`${what}: removed while we were down, ${copiesAgain ? "everything is copied afresh" : "nothing is lost"}`, async () => {
    await using scene = await newScene("file");
    const { store } = scene.stage;
    await history(scene);
    const log = await keysBelow(store, LOG_FOLDER);
    await store.delete([...of(log), ...(states ? await keysBelow(store, STATE_FOLDER) : [])]);
    await scene.sql("INSERT INTO b VALUES (1000); DELETE FROM a WHERE id % 3 = 0");
    const daemon = await scene.daemon();
    await scene.settled(daemon);
    await daemon.drain();
    await tablesAreEqual(scene);
    expect(daemon.lines.some(({ msg }) => msg.startsWith("log documents are gone"))).toBe(copiesAgain);
  });
}

test("the newest log document removed while we were down: the slot is ahead, and a person has to know", async () => {
  await using scene = await newScene("file");
  const { store } = scene.stage;
  await history(scene);
  const documents = await documentsOf(store);
  const newest = await keysBelow(store, LOG_FOLDER);
  const gone = documents.filter(({ endLsn }) => endLsn === documents.at(-1)?.endLsn).length;
  await store.delete([...newest.slice(-gone), ...(await keysBelow(store, STATE_FOLDER))]);
  const daemon = await scene.daemon();
  expect(await daemon.exited).toEqual({ code: 3, signal: null });
  expect(daemon.lastError).toMatch(/moved on|ahead/);
});

test("a stage that somebody emptied while we were down is not begun anew", async () => {
  await using scene = await newScene("file");
  const { store } = scene.stage;
  await history(scene);
  await store.delete(await keysBelow(store, "public/"));
  await store.delete(await keysBelow(store, "_pgstage/"));
  const daemon = await scene.daemon();
  expect(await daemon.exited).toEqual({ code: 3, signal: null });
  expect(daemon.lastError).toMatch(/slot pgstage.*(no log|emptied)/);
  expect(daemon.lastError).not.toMatch(/TypeError/);
  expect(await keysBelow(store, "public/")).toEqual([]);
});

test("state documents of a log that was removed: the next log, which comes past them, is not taken for theirs", async () => {
  await using scene = await newScene("s3");
  await scene.sql(
    "CREATE TABLE wide (id int PRIMARY KEY, v text); INSERT INTO wide SELECT i, repeat('x', 400) FROM generate_series(1, 6000) i",
  );
  // Each start writes one: the second stands after all the ranges of the copy.
  for (let run = 1; run <= 2; run++) {
    const daemon = await scene.daemon();
    await scene.settled(daemon);
    await daemon.drain();
  }
  const statesAt = (await keysBelow(scene.stage.store, STATE_FOLDER)).map((key) =>
    Number(/(\d+)\.json/.exec(key)?.[1]),
  );
  for (const key of scene.stage.s3?.keys(`landing/${LOG_FOLDER}`) ?? []) scene.stage.s3?.remove(key);
  // The publications stay, as they do after `teardown` where a DBA manages them.
  await scene.sql("SELECT pg_drop_replication_slot('pgstage')");
  // Nothing but a copy has these rows.
  await scene.sql("INSERT INTO wide SELECT i, 'while there was no slot' FROM generate_series(6001, 40000) i");
  const slow = { PGSTAGE_SNAPSHOT_MAX_BYTES_PER_SECOND: "768KiB", PGSTAGE_SNAPSHOT_WORKERS: "1" };
  const next = await scene.daemon(slow);
  await next.line(({ msg, sequence }) => msg === "staged" && Number(sequence) > Math.max(...statesAt));
  await next.kill();
  const last = await scene.daemon();
  await scene.settled(last);
  await last.drain();
  await tablesAreEqual(scene);
});
