import { expect, test } from "vitest";
import { Log, readLog } from "../../src/delivery/log.ts";
import { unborn } from "../../src/delivery/state.ts";
import { MemoryStage, MemoryStore } from "../support/memory-store.ts";

const PIPELINE = { systemIdentifier: "1", timeline: 1, database: "d", slot: "s", publication: "p" };
const NOTHING = { files: [], tables: [], endLsn: "0/64", firstLsn: null };

test("what was applied from another server has committed long before it was streamed", async () => {
  const store = new MemoryStore(new MemoryStage());
  const log = new Log(store, unborn(PIPELINE), []);
  const committedAt = "2020-01-01 00:00:00.000000+00";
  const batch = log.next({ kind: "batch", ...NOTHING, committedAt });
  await log.append(batch);
  expect((await readLog(store))?.streamedUntilMs).toBe(Date.parse(batch.time));
});

test("copies say nothing of the stream", async () => {
  const store = new MemoryStore(new MemoryStage());
  const log = new Log(store, unborn(PIPELINE), []);
  await log.append(log.next({ kind: "batch", ...NOTHING, committedAt: null }));
  expect((await readLog(store))?.streamedUntilMs).toBeNull();
});
