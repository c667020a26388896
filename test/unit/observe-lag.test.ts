import { describe, expect, it } from "vitest";
import type { Lsn } from "../../src/core/lsn.ts";
import {
  addSample,
  clearLsn,
  computeLag,
  NO_POSITION,
  type LagInputs,
  type SourceSample,
} from "../../src/observe/lag.ts";

const lsn = (value: number): Lsn => BigInt(value) as Lsn;
const NOW = 1_000_000;

function lag(inputs: Partial<LagInputs>) {
  return computeLag({
    nowMs: NOW,
    state: "streaming",
    position: { ...NO_POSITION, stagedLsn: lsn(100) },
    samples: [{ atMs: NOW, lsn: lsn(100) }],
    clockSkewMs: 0,
    silentSinceMs: null,
    ...inputs,
  });
}

describe("lag", () => {
  it("is 0 when idle, even if WAL of others was written that the server has decoded", () => {
    const numbers = lag({
      position: { ...NO_POSITION, stagedLsn: lsn(100), quietLsn: lsn(5_000) },
      samples: [{ atMs: NOW - 500, lsn: lsn(5_000) }],
    });
    expect(numbers).toEqual({ lagSeconds: 0, lagBytes: 0, oldestOpenSeconds: null });
  });

  it("is the age of the oldest open commit, by the source's clock made ours", () => {
    const oldestOpen = { lsn: lsn(120), commitMs: NOW - 7_000 + 2_000 };
    const numbers = lag({
      position: { ...NO_POSITION, stagedLsn: lsn(100), oldestOpen },
      samples: [{ atMs: NOW - 1_000, lsn: lsn(150) }],
      clockSkewMs: 2_000,
    });
    expect(numbers).toEqual({ lagSeconds: 7, lagBytes: 30, oldestOpenSeconds: 7 });
  });

  it("does not count quiet hours before the first open commit", () => {
    const numbers = lag({
      position: {
        ...NO_POSITION,
        stagedLsn: lsn(100),
        quietLsn: lsn(200),
        oldestOpen: { lsn: lsn(900), commitMs: NOW - 1_000 },
      },
      samples: [
        { atMs: NOW - 3_600_000, lsn: lsn(500) },
        { atMs: NOW - 100, lsn: lsn(950) },
      ],
    });
    expect(numbers.lagSeconds).toBe(1);
  });

  it("grows while the server is silent because it decodes a huge transaction", () => {
    const samples = [
      { atMs: NOW - 90_000, lsn: lsn(400) },
      { atMs: NOW, lsn: lsn(9_000) },
    ];
    expect(lag({ samples })).toEqual({ lagSeconds: 90, lagBytes: 8_900, oldestOpenSeconds: null });
  });

  it("grows while the source is away, although nothing is known to be open", () => {
    expect(lag({ silentSinceMs: NOW - 45_000 }).lagSeconds).toBe(45);
    expect(lag({ silentSinceMs: NOW - 60_000 }).lagSeconds).toBe(60);
  });

  it("grows while the store pauses everything", () => {
    const position = {
      ...NO_POSITION,
      stagedLsn: lsn(100),
      oldestOpen: { lsn: lsn(101), commitMs: NOW - 600_000 },
    };
    expect(lag({ position, samples: [{ atMs: NOW, lsn: lsn(700) }] }).lagSeconds).toBe(600);
  });

  it("is not known in standby, before a first sample and before a first position", () => {
    const unknown = { lagSeconds: null, lagBytes: null, oldestOpenSeconds: null };
    expect(lag({ state: "standby" })).toEqual(unknown);
    expect(lag({ samples: [] })).toEqual(unknown);
    expect(lag({ position: NO_POSITION })).toEqual(unknown);
  });

  it("is never negative when the source's clock runs ahead", () => {
    const position = {
      ...NO_POSITION,
      stagedLsn: lsn(100),
      oldestOpen: { lsn: lsn(100), commitMs: NOW + 5_000 },
    };
    expect(lag({ position })).toEqual({ lagSeconds: 0, lagBytes: 0, oldestOpenSeconds: 0 });
  });

  it("keeps 64-bit positions apart", () => {
    const high = 2n ** 63n;
    const position = { ...NO_POSITION, stagedLsn: high as Lsn };
    expect(lag({ position, samples: [{ atMs: NOW - 1_000, lsn: (high + 1n) as Lsn }] })).toMatchObject({
      lagBytes: 1,
      lagSeconds: 1,
    });
  });
});

describe("samples of the source's position", () => {
  it("forgets what is published and keeps the oldest that is not", () => {
    let samples: SourceSample[] = [];
    for (let second = 0; second < 10; second++) {
      samples = addSample(samples, { atMs: second * 1_000, lsn: lsn(second * 100) }, lsn(450));
    }
    expect(samples[0]).toEqual({ atMs: 5_000, lsn: lsn(500) });
    expect(samples).toHaveLength(5);
  });

  it("keeps the age of a position that does not move", () => {
    let samples: SourceSample[] = [];
    for (let second = 0; second < 10; second++) {
      samples = addSample(samples, { atMs: second * 1_000, lsn: lsn(500) }, lsn(100));
    }
    expect(samples).toEqual([{ atMs: 0, lsn: lsn(500) }]);
  });

  it("starts again when the source went back", () => {
    const samples = addSample([{ atMs: 0, lsn: lsn(500) }], { atMs: 1, lsn: lsn(400) }, lsn(100));
    expect(samples).toEqual([{ atMs: 1, lsn: lsn(400) }]);
  });

  it("stays bounded over a day without progress, and the oldest stays exact", () => {
    let samples: SourceSample[] = [];
    for (let second = 1; second <= 86_400; second += 10) {
      samples = addSample(samples, { atMs: second, lsn: lsn(second) }, lsn(0));
    }
    expect(samples.length).toBeLessThanOrEqual(1_000);
    expect(samples[0]?.atMs).toBe(1);
    expect(samples.at(-1)?.atMs).toBe(86_391);
  });
});

it("takes the furthest of what is staged, quiet and before the oldest open commit", () => {
  expect(clearLsn(NO_POSITION)).toBeNull();
  expect(clearLsn({ ...NO_POSITION, stagedLsn: lsn(5), quietLsn: lsn(9) })).toBe(9n);
  expect(clearLsn({ ...NO_POSITION, stagedLsn: lsn(5), oldestOpen: { lsn: lsn(12), commitMs: 0 } })).toBe(
    12n,
  );
});
