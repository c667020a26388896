import { setTimeout as delay } from "node:timers/promises";
import { expect } from "vitest";
import type { Daemon } from "../support/daemon.ts";
import type { Operation, S3 } from "../support/s3-server/index.ts";
import type { Scene } from "./scene.ts";

/**
 * What the daemon asks of the store is where its steps can be seen and stopped from outside: each is held, the daemon
 * killed meanwhile, and the request then undone, done, or done late, when the next daemon has begun.
 */
export interface Step {
  readonly name: string;
  readonly op: Operation;
  readonly key: RegExp;
  readonly skip?: number;
}

export const MOMENTS = ["before it took effect", "after it took effect", "and it took effect late"] as const;
export type Moment = (typeof MOMENTS)[number];

/** Keys as the store sees them. */
export const SNAPSHOT = /-snapshot-\d+(-\d+)?\.csv/;
export const CHANGES = /[0-9A-F]{16}-[0-9A-F]{16}-\d+\.csv/;
export const LOG = /_pgstage\/log\//;

/** Large enough that a file of two is uploaded in parts: nothing compresses it, neither the table nor the daemon. */
const LARGE_ROW = "repeat(md5(random()::text), 100000)";

const STEP_MS = 30_000;

/** Holds the step's request. `release` lets it go on, or undoes it. */
export function hold(s3: S3, step: Step, moment: Moment): { met: Promise<void>; release: () => void } {
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

export async function started(daemon: Daemon): Promise<Daemon> {
  await daemon.line("started");
  return daemon;
}

export const SETTINGS = {
  PGSTAGE_SNAPSHOT_RANGE_BYTES: "5MiB",
  PGSTAGE_FILE_MAX_BYTES: "64MiB",
  PGSTAGE_SNAPSHOT_WORKERS: "1",
  PGSTAGE_FORMAT_COMPRESSION: "none",
};

export async function createTables(scene: Scene): Promise<void> {
  await scene.sql(`
    CREATE TABLE small (id serial PRIMARY KEY, v text);
    CREATE TABLE other (id serial PRIMARY KEY, v text);
    CREATE TABLE large (id serial PRIMARY KEY, v text);
    ALTER TABLE large ALTER v SET STORAGE EXTERNAL;
  `);
}

/** One transaction that ends up in two small files and an upload of several parts. */
export async function change(scene: Scene, number: number): Promise<void> {
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
export async function killAt(
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

export async function killAtEach(
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
