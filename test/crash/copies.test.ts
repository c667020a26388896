import { setTimeout as delay } from "node:timers/promises";
import { expect, test } from "vitest";
import type { Daemon } from "../support/daemon.ts";
import { sceneFor, type Scene } from "./scene.ts";

const newScene = sceneFor();

/** Rows whose large value lies out of line, in a table of some 40 ranges. */
const WANDERERS = `
  CREATE TABLE wanderers (id int PRIMARY KEY, small int, big text, pad text DEFAULT repeat('p', 200));
  ALTER TABLE wanderers ALTER big SET STORAGE EXTERNAL;
  INSERT INTO wanderers SELECT i, 0, (SELECT string_agg(md5(i::text || j::text), '') FROM generate_series(1, 80) AS j)
    FROM generate_series(1, 1000) AS i`;

/** Slow enough that a range takes a good part of a second. */
const SLOWLY = { PGSTAGE_SNAPSHOT_MAX_BYTES_PER_SECOND: "400KiB", PGSTAGE_SNAPSHOT_WORKERS: "2" };

/** Moves rows to other pages, and leaves their large values alone, for as long as `until` is not aborted. */
async function wander(scene: Scene, until: AbortSignal): Promise<number> {
  let rounds = 0;
  while (!until.aborted) {
    await scene.sql(`UPDATE wanderers SET small = small + 1 WHERE id % 7 = ${rounds++ % 7}`);
    if (rounds % 5 === 0) await scene.sql("VACUUM wanderers");
    await delay(50);
  }
  return rounds;
}

async function whileWandering(scene: Scene, act: () => Promise<void>): Promise<void> {
  const over = new AbortController();
  const wandering = wander(scene, over.signal);
  try {
    await act();
  } finally {
    over.abort();
    expect(await wandering).toBeGreaterThan(5);
  }
}

const rangesOf = (daemon: Daemon): number[] =>
  daemon.lines
    .filter(({ msg, table }) => msg === "copied" && table === "public.wanderers")
    .map(({ range }) => Number(range));

test(
  "a copy that is killed goes on with the missing ranges, while rows move and their large values stay",
  { timeout: 180_000 },
  async () => {
    await using scene = await newScene("file");
    await scene.sql(WANDERERS);
    const read: number[] = [];
    await whileWandering(scene, async () => {
      for (let life = 0; life < 3; life++) {
        const daemon = await scene.daemon(SLOWLY);
        const { ranges, resumed } = await daemon.line("copying");
        expect(resumed).toBe(life > 0);
        expect(ranges).toBeGreaterThan(15);
        await daemon.until(() => rangesOf(daemon).length >= 3, "some ranges further");
        await daemon.kill();
        read.push(...rangesOf(daemon));
      }
    });
    const last = await scene.daemon();
    await scene.settled(last);
    const { ranges } = await last.line("copying");
    read.push(...rangesOf(last));
    expect(new Set(read).size, "no range that was finished is read again").toBe(read.length);
    // One at a kill may be published, and the line that says so not written.
    expect(read.length).toBeGreaterThanOrEqual(Number(ranges) - 3 * 2);
    await scene.drainAndProve(last);
  },
);

test(
  "a tiny snapshot.maxAge copies a table in many sessions, and ends exact",
  { timeout: 180_000 },
  async () => {
    await using scene = await newScene("file");
    await scene.sql(WANDERERS);
    const daemon = await scene.daemon({ ...SLOWLY, PGSTAGE_SNAPSHOT_MAX_AGE: "1s" });
    await whileWandering(scene, async () => {
      await daemon.line(({ msg, table }) => msg === "table copied" && table === "public.wanderers");
    });
    const points = new Set<string>();
    for await (const key of scene.stage.store.list("public/wanderers/")) {
      const [, point] = /([0-9A-F]{16})-snapshot-/.exec(key) ?? [];
      if (point !== undefined) points.add(point);
    }
    expect(points.size).toBeGreaterThan(3);
    await scene.drainAndProve(daemon);
  },
);
