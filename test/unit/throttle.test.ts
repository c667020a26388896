import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Throttle } from "../../src/copy/throttle.ts";

const MIB = 1024 * 1024;

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** Bytes that a flow in pieces of 10 kB gets through in so many seconds. */
async function flowFor(throttle: Throttle, seconds: number): Promise<number> {
  const end = performance.now() + seconds * 1000;
  let bytes = 0;
  while (performance.now() < end) {
    bytes += 10_000;
    const wait = throttle.spend(10_000);
    if (!wait) continue;
    await vi.advanceTimersToNextTimerAsync();
    await wait;
  }
  return bytes;
}

test("lets through what it is told to, and not much more at once", async () => {
  const throttle = new Throttle(MIB);
  const bytes = await flowFor(throttle, 10);
  expect(bytes).toBeGreaterThan(9.9 * MIB);
  expect(bytes).toBeLessThan(10.3 * MIB);
});

test("a pause does not end in a burst", async () => {
  const throttle = new Throttle(MIB);
  await flowFor(throttle, 1);
  vi.advanceTimersByTime(60_000);
  expect(await flowFor(throttle, 1)).toBeLessThan(1.3 * MIB);
});

test("no limit is none", () => {
  expect(new Throttle(0).spend(1e12)).toBeNull();
});
