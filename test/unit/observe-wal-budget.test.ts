import { describe, expect, it } from "vitest";
import type { Lsn } from "../../src/core/lsn.ts";
import {
  addSlotSample,
  heldByTransaction,
  walBudget,
  walLevel,
  type SlotSample,
  type WalLevel,
} from "../../src/observe/wal-budget.ts";

const MIB = 1024 * 1024;

function sample(atMs: number, retained: number, more: Partial<SlotSample> = {}): SlotSample {
  const sourceLsn = BigInt(10_000 * MIB) as Lsn;
  const restartLsn = (sourceLsn - BigInt(retained)) as Lsn;
  return {
    atMs,
    sourceLsn,
    restartLsn,
    confirmedFlushLsn: restartLsn,
    safeWalBytes: null,
    oldestTransaction: null,
    ...more,
  };
}

function every10s(retained: readonly number[], safe: number | null = null): SlotSample[] {
  let samples: SlotSample[] = [];
  for (const [index, bytes] of retained.entries()) {
    samples = addSlotSample(samples, sample(index * 10_000, bytes, { safeWalBytes: safe }));
  }
  return samples;
}

describe("WAL budget", () => {
  it("tells retained, left, growth per hour and the time that is left", () => {
    const samples = every10s(
      Array.from({ length: 20 }, (_, index) => index * MIB),
      381 * MIB,
    );
    expect(walBudget(samples)).toEqual({
      retainedBytes: 19 * MIB,
      budgetBytes: 381 * MIB,
      used: 19 / 400,
      growthBytesPerHour: 360 * MIB,
      exhaustedInSeconds: 3_810,
    });
  });

  it("has no end without a limit, without growth, and when it is more than a week away", () => {
    const growing = Array.from({ length: 20 }, (_, index) => index * MIB);
    expect(walBudget(every10s(growing))).toMatchObject({
      budgetBytes: null,
      used: null,
      exhaustedInSeconds: null,
    });
    expect(walBudget(every10s(growing.toReversed(), 100 * MIB))?.exhaustedInSeconds).toBeNull();
    expect(walBudget(every10s(growing, 100_000 * MIB))?.exhaustedInSeconds).toBeNull();
  });

  it("does not guess growth from a few seconds", () => {
    expect(walBudget([])).toBeNull();
    expect(walBudget(every10s([0, 1, 2, 3, 4, 5], MIB))?.growthBytesPerHour).toBeNull();
    expect(walBudget(every10s([0, 1, 2, 3, 4, 5, 6], MIB))?.growthBytesPerHour).toBe(360);
  });

  it("does not take the teeth of a healthy slot for growth, but sees its feet rise", () => {
    const teeth = Array.from({ length: 50 }, (_, index) => (index % 7) * 16 * MIB);
    expect(walBudget(every10s(teeth, 100 * MIB))).toMatchObject({
      growthBytesPerHour: 0,
      exhaustedInSeconds: null,
    });
    const released = [...Array.from({ length: 30 }, (_, index) => index * 16 * MIB), 0];
    expect(walBudget(every10s(released, 100 * MIB))?.exhaustedInSeconds).toBeNull();
    const rising = teeth.map((bytes, index) => bytes + index * MIB);
    expect(walBudget(every10s(rising, 100 * MIB))?.growthBytesPerHour).toBe(360 * MIB);
  });

  it("forgets growth after ten minutes", () => {
    const grewThenStood = [
      ...Array.from({ length: 20 }, (_, index) => index * MIB),
      ...Array.from({ length: 60 }, () => 19 * MIB),
    ];
    expect(walBudget(every10s(grewThenStood, MIB))?.growthBytesPerHour).toBe(0);
  });

  it("is used up when nothing is left", () => {
    expect(walBudget([sample(0, 0, { safeWalBytes: -5 })])).toMatchObject({ budgetBytes: 0, used: 1 });
  });
});

describe("thresholds", () => {
  const walk = (percents: readonly number[]): WalLevel[] => {
    let level: WalLevel = 0;
    return percents.map((percent) => (level = walLevel(level, percent / 100)));
  };

  it("are taken at once and left only five points lower", () => {
    expect(walk([10, 49.9, 50, 48, 46, 44.9, 50])).toEqual([0, 0, 50, 50, 50, 0, 50]);
    expect(walk([74, 76, 71, 69, 91, 86, 84])).toEqual([50, 75, 75, 50, 90, 90, 75]);
    expect(walk([99, 20])).toEqual([90, 0]);
  });

  it("do not exist without a limit", () => {
    expect(walLevel(90, null)).toBe(0);
  });
});

describe("who holds the WAL", () => {
  const source = BigInt(10_000 * MIB) as Lsn;
  const confirmedFlushLsn = (source - BigInt(MIB)) as Lsn;
  const oldestTransaction = { who: "pid 7", ageSeconds: 120 };

  it("is the application's transaction if we are current", () => {
    expect(heldByTransaction(sample(0, 2_000 * MIB, { confirmedFlushLsn, oldestTransaction }))).toBe(true);
  });

  it("matters sooner where little is allowed", () => {
    const about = { confirmedFlushLsn, oldestTransaction };
    expect(heldByTransaction(sample(0, 40 * MIB, { ...about, safeWalBytes: 60 * MIB }))).toBe(true);
    expect(heldByTransaction(sample(0, 40 * MIB, { ...about, safeWalBytes: 600 * MIB }))).toBe(false);
  });

  it("is us if we are not, and nobody while it is little", () => {
    expect(heldByTransaction(sample(0, 2_000 * MIB, { oldestTransaction }))).toBe(false);
    const about = { confirmedFlushLsn: source, oldestTransaction };
    expect(heldByTransaction(sample(0, 10 * MIB, about))).toBe(false);
  });

  it("is nobody while restart_lsn only follows what was acknowledged a moment ago", () => {
    expect(heldByTransaction(sample(0, 2_000 * MIB, { confirmedFlushLsn }))).toBe(false);
    const young = { ...oldestTransaction, ageSeconds: 5 };
    const about = { confirmedFlushLsn, oldestTransaction: young };
    expect(heldByTransaction(sample(0, 2_000 * MIB, about))).toBe(false);
  });
});
