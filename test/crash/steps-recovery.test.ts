import { expect, test } from "vitest";
import type { S3 } from "../support/s3-server/index.ts";
import {
  change,
  CHANGES,
  createTables,
  hold,
  killAt,
  LOG,
  MOMENTS,
  SETTINGS,
  started,
  type Step,
} from "./killing.ts";
import { sceneFor } from "./scene.ts";

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

const newScene = sceneFor();

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
