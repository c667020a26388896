import { setTimeout as delay } from "node:timers/promises";
import { expect, test } from "vitest";
import type { Daemon } from "../support/daemon.ts";
import type { Operation, S3 } from "../support/s3-server/index.ts";
import { sceneFor, type Scene } from "./scene.ts";

/**
 * What the daemon asks of the store is where its steps can be seen and stopped from outside: each is held, the daemon
 * killed meanwhile, and the request then undone, done, or done late, when the next daemon has begun.
 */
interface Step {
  readonly name: string;
  readonly op: Operation;
  readonly key: RegExp;
  readonly skip?: number;
}

const MOMENTS = ["before it took effect", "after it took effect", "and it took effect late"] as const;
type Moment = (typeof MOMENTS)[number];

const SNAPSHOT = /-snapshot-\d+(-\d+)?\.csv/;
const CHANGES = /[0-9A-F]{16}-[0-9A-F]{16}-\d+\.csv/;
const LOG = /_pgstage\/log\//;

const DELIVERY: readonly Step[] = [
  { name: "a shape document", op: "PutObject", key: /_pgstage\/schemas\// },
  { name: "an upload is begun", op: "CreateMultipartUpload", key: CHANGES },
  { name: "a part is uploaded", op: "UploadPart", key: CHANGES },
  { name: "the pack is written", op: "PutObject", key: /_pgstage\/packs\// },
  { name: "the log document is written", op: "PutObject", key: LOG },
  { name: "an upload is completed", op: "CompleteMultipartUpload", key: CHANGES },
  { name: "the first small file is published", op: "PutObject", key: CHANGES },
  { name: "the second small file is published", op: "PutObject", key: CHANGES, skip: 1 },
  { name: "the pack is deleted", op: "DeleteObjects", key: /^$/ },
];

const COPY: readonly Step[] = [
  { name: "a table is recorded as new", op: "PutObject", key: LOG },
  { name: "the plan is recorded", op: "PutObject", key: LOG, skip: 1 },
  { name: "the pack of a range is written", op: "PutObject", key: /_pgstage\/packs\// },
  { name: "the first range is recorded", op: "PutObject", key: LOG, skip: 2 },
  { name: "a later range is recorded", op: "PutObject", key: LOG, skip: 3 },
  { name: "the table is recorded as copied", op: "PutObject", key: LOG, skip: 4 },
  { name: "a range's upload is begun", op: "CreateMultipartUpload", key: SNAPSHOT },
  { name: "a range's part is uploaded", op: "UploadPart", key: SNAPSHOT },
  { name: "a range's upload is completed", op: "CompleteMultipartUpload", key: SNAPSHOT },
  { name: "a small range is published", op: "PutObject", key: SNAPSHOT },
];

/** What a start does after a crash that left one recorded, unpublished document, and uploads and packs of no document. */
const RECOVERY: readonly Step[] = [
  { name: "the log is listed", op: "ListObjectsV2", key: /^$/ },
  { name: "the last document is read", op: "GetObject", key: LOG },
  { name: "the pack is read", op: "GetObject", key: /_pgstage\/packs\// },
  { name: "a recorded small file is published", op: "PutObject", key: CHANGES },
  { name: "a recorded upload is completed", op: "CompleteMultipartUpload", key: CHANGES },
  { name: "the start is recorded", op: "PutObject", key: LOG },
  { name: "a state document is written", op: "PutObject", key: /_pgstage\/state\// },
  { name: "uploads are listed", op: "ListMultipartUploads", key: /^$/ },
  { name: "packs are deleted", op: "DeleteObjects", key: /^$/ },
];

const DRAIN: readonly Step[] = [
  { name: "the last pack is written", op: "PutObject", key: /_pgstage\/packs\// },
  { name: "the last document is written", op: "PutObject", key: LOG },
  { name: "the last file is published", op: "PutObject", key: CHANGES },
  { name: "the last upload is completed", op: "CompleteMultipartUpload", key: CHANGES },
];

/** Large enough that a file of it is uploaded in parts; hex compresses to a little more than a half. */
const LARGE_ROW = "(SELECT string_agg(md5(random()::text || i), '') FROM generate_series(1, 100000) AS i)";

const STEP_MS = 30_000;

const newScene = sceneFor();

/** Holds the step's request. `release` lets it go on, or undoes it. */
function hold(s3: S3, step: Step, moment: Moment): { met: Promise<void>; release: () => void } {
  let release = (): void => {};
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  const { op, key, skip = 0 } = step;
  const ends: Partial<Parameters<S3["faults"]["add"]>[0]> =
    moment === "before it took effect"
      ? { reset: true }
      : moment === "after it took effect"
        ? { afterCommit: true, reset: true }
        : {};
  const { met } = s3.faults.add({ op, key, skip, hold: held, ...ends });
  return { met, release };
}

/** Rejects with what the daemon said if it does not get to the step. */
async function inTime(met: Promise<void>, daemon: Daemon, what: string): Promise<void> {
  const limit = new AbortController();
  const missed = delay(STEP_MS, "missed", { signal: limit.signal });
  const outcome = await Promise.race([met, missed, daemon.exited]);
  limit.abort();
  missed.catch(() => {});
  if (outcome !== undefined) throw new Error(`never came to: ${what}\n${daemon.story()}`);
}

async function started(daemon: Daemon): Promise<Daemon> {
  await daemon.line("started");
  return daemon;
}

const SETTINGS = {
  PGSTAGE_SNAPSHOT_RANGE_BYTES: "5MiB",
  PGSTAGE_FILE_MAX_BYTES: "64MiB",
  PGSTAGE_SNAPSHOT_WORKERS: "1",
  PGSTAGE_FORMAT_COMPRESSION: "none",
};

async function createTables(scene: Scene): Promise<void> {
  await scene.sql(`
    CREATE TABLE small (id serial PRIMARY KEY, v text);
    CREATE TABLE other (id serial PRIMARY KEY, v text);
    CREATE TABLE large (id serial PRIMARY KEY, v text);
    ALTER TABLE large ALTER v SET STORAGE EXTERNAL;
  `);
}

/** A shape that is new, and then what `change` does. */
async function changeShape(scene: Scene, number: number): Promise<void> {
  await scene.sql(`ALTER TABLE other ADD COLUMN c${number} int`);
  await change(scene, number);
}

/** One transaction that ends up in two small files and an upload of several parts. */
async function change(scene: Scene, number: number): Promise<void> {
  await scene.sql(`
    BEGIN;
    INSERT INTO small (v) VALUES ('${number}');
    INSERT INTO other (v) VALUES ('${number}');
    UPDATE small SET v = v || '!' WHERE id % 5 = ${number % 5};
    INSERT INTO large (v) VALUES (${LARGE_ROW}), (${LARGE_ROW});
    COMMIT;
  `);
}

/** Kills a daemon at the step and moment, and lets the next one begin. Resolves with that one. */
async function killAt(
  scene: Scene,
  options: { step: Step; moment: Moment; daemon: Daemon; provoke: () => Promise<unknown> },
): Promise<Daemon> {
  const { step, moment, daemon, provoke } = options;
  const { s3 } = scene.stage;
  if (!s3) throw new Error("steps are seen on S3 only");
  const held = hold(s3, step, moment);
  await provoke();
  await inTime(held.met, daemon, `${step.name}, ${moment}`);
  await daemon.kill();
  if (moment !== "and it took effect late") held.release();
  const next = await started(await scene.daemon(SETTINGS));
  held.release();
  s3.faults.clear();
  return next;
}

async function killAtEach(
  scene: Scene,
  steps: readonly Step[],
  options: {
    provoke: (daemon: Daemon, number: number) => Promise<unknown>;
    begin?: (number: number) => Promise<Daemon>;
  },
): Promise<Daemon> {
  let number = 0;
  let daemon = await started(await scene.daemon(SETTINGS));
  for (const step of steps) {
    for (const moment of MOMENTS) {
      await daemon.until(
        ({ state, lag }) => state === "streaming" && lag.open_rows === 0,
        `ready for: ${step.name} ${moment}`,
      );
      const mine = ++number;
      const about = { step, moment, daemon, provoke: () => options.provoke(daemon, mine) };
      daemon = await killAt(scene, about);
      expect(await scene.stage.changedKeys(), `${step.name}, ${moment}`).toEqual([]);
    }
  }
  return daemon;
}

test("killed at every step of delivery", { timeout: 240_000 }, async () => {
  await using scene = await newScene("s3");
  await createTables(scene);
  const last = await killAtEach(scene, DELIVERY, {
    provoke: (_daemon, number) => changeShape(scene, number),
  });
  await scene.drainAndProve(last);
});

test("killed at every step of a copy", { timeout: 240_000 }, async () => {
  await using scene = await newScene("s3");
  await createTables(scene);
  const provoke = (_daemon: Daemon, number: number): Promise<unknown> =>
    scene.sql(`
      CREATE TABLE copied_${number} (id int PRIMARY KEY, v text);
      ALTER TABLE copied_${number} ALTER v SET STORAGE EXTERNAL;
      INSERT INTO copied_${number} SELECT i, repeat(md5(i::text), 50) FROM generate_series(1, 2700) AS i;
    `);
  const last = await killAtEach(scene, COPY, { provoke });
  await scene.drainAndProve(last);
});

test("killed at every step of recovery", { timeout: 240_000 }, async () => {
  await using scene = await newScene("s3");
  await createTables(scene);
  const { s3 } = scene.stage;
  let last = await started(await scene.daemon(SETTINGS));
  let number = 0;
  for (const step of RECOVERY) {
    for (const moment of MOMENTS) {
      await last.until(({ state, lag }) => state === "streaming" && lag.open_rows === 0, "ready");
      // The document is there, its files are not.
      const leave = { name: "the document is written", op: "PutObject", key: LOG } as const;
      const held = hold(s3 as S3, leave, "after it took effect");
      await change(scene, ++number);
      await held.met;
      await last.kill();
      held.release();
      s3?.faults.clear();
      const recovering = await scene.daemon(SETTINGS);
      last = await killAt(scene, { step, moment, daemon: recovering, provoke: () => Promise.resolve() });
      expect(await scene.stage.changedKeys(), `${step.name}, ${moment}`).toEqual([]);
    }
  }
  await scene.drainAndProve(last);
});

test("killed at every step of the drain", { timeout: 240_000 }, async () => {
  await using scene = await newScene("s3");
  await createTables(scene);
  const slow = { ...SETTINGS, PGSTAGE_FLUSH_INTERVAL: "1h" };
  let number = 0;
  for (const step of DRAIN) {
    for (const moment of MOMENTS) {
      const daemon = await scene.daemon(slow);
      await daemon.untilState("streaming");
      await change(scene, ++number);
      await daemon.until(({ lag }) => lag.open_rows > 0, "busy");
      const next = await killAt(scene, {
        step,
        moment,
        daemon,
        provoke: () => Promise.resolve(daemon.signal("SIGTERM")),
      });
      await scene.settled(next);
      await next.drain();
    }
  }
  await scene.prove();
});
