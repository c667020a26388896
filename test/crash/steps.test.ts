import { test } from "vitest";
import type { Daemon } from "../support/daemon.ts";
import { CHANGES, createTables, killAtEach, LOG, SNAPSHOT, change, type Step } from "./killing.ts";
import { sceneFor, type Scene } from "./scene.ts";

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

const newScene = sceneFor();

/** A shape that is new, and then what `change` does. */
async function changeShape(scene: Scene, number: number): Promise<void> {
  await scene.sql(`ALTER TABLE other ADD COLUMN c${number} int`);
  await change(scene, number);
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
