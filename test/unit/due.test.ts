import { describe, expect, test } from "vitest";
import { isDue, shouldRecordIdle, TICK_MS, type IdlePosition, type OpenBatch } from "../../src/stream/due.ts";

const LIMITS = { flushAfterMs: 60_000, maxBatchBytes: 1_000, maxHeldBytes: 500 };
const OPEN: OpenBatch = { openedAtMs: 1_000, csvBytes: 10, heldBytes: 10, deliveryMs: 0, urgent: false };

describe("a batch closes", () => {
  test("never while it is empty, whatever else is true", () => {
    const empty = { ...OPEN, openedAtMs: null, csvBytes: 9_999, heldBytes: 9_999, urgent: true };
    expect(isDue(empty, 1e9, LIMITS)).toBe(false);
  });

  test.each([
    ["when somebody waits", { urgent: true }],
    ["at its size", { csvBytes: 1_000 }],
    ["when memory is short", { heldBytes: 500 }],
  ])("%s", (_when, change) => {
    expect(isDue(OPEN, 1_001, LIMITS)).toBe(false);
    expect(isDue({ ...OPEN, ...change }, 1_001, LIMITS)).toBe(true);
  });

  test("so early that it is published within the interval, but never before half of it", () => {
    const closesAfter = (deliveryMs: number): number => {
      let afterMs = 0;
      while (!isDue({ ...OPEN, deliveryMs }, 1_000 + afterMs, LIMITS)) afterMs++;
      return afterMs;
    };
    expect(closesAfter(0)).toBe(60_000 - TICK_MS);
    expect(closesAfter(4_000)).toBe(60_000 - 6_000 - TICK_MS);
    expect(closesAfter(300_000)).toBe(30_000);
  });

  test("at every commit with an interval of nothing", () => {
    expect(isDue(OPEN, 1_000, { ...LIMITS, flushAfterMs: 0 })).toBe(true);
  });
});

describe("a quiet position is recorded", () => {
  const QUIET: IdlePosition = { recordedLsn: 100n, reachedLsn: 200n, recordedAtMs: 0, urgent: false };
  const MANY = 100n + 16n * 1024n * 1024n;

  test.each<[string, Partial<IdlePosition>, number, boolean]>([
    ["not at once", {}, 119_999, false],
    ["after two minutes", {}, 120_000, true],
    ["not if it has not moved", { reachedLsn: 100n }, 3_599_999, false],
    ["once an hour even so", { reachedLsn: 100n }, 3_600_000, true],
    ["soon if much WAL went by", { reachedLsn: MANY }, 10_000, true],
    ["but not for every page", { reachedLsn: MANY }, 9_999, false],
    ["within a second if the server waits", { urgent: true }, 1_000, true],
    ["and no more often", { urgent: true }, 999, false],
    ["not if the server waits for nothing", { urgent: true, reachedLsn: 100n }, 10_000, false],
  ])("%s", (_when, change, nowMs, expected) => {
    expect(shouldRecordIdle({ ...QUIET, ...change }, nowMs)).toBe(expected);
  });
});
