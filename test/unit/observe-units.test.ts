import { expect, it } from "vitest";
import {
  countOf,
  humanBytes,
  humanCount,
  humanPercent,
  humanSeconds,
  roughSeconds,
} from "../../src/observe/units.ts";

it("tells bytes", () => {
  const texts = [0, 1, 1023, 1024, 1536, 1_048_524, 1_048_575, 5e9, 2 ** 50 * 3000, -2048].map(humanBytes);
  expect(texts).toEqual([
    "0 B",
    "1 B",
    "1023 B",
    "1 KiB",
    "1.5 KiB",
    "1 MiB",
    "1 MiB",
    "4.7 GiB",
    "3000 PiB",
    "-2 KiB",
  ]);
});

it("tells durations", () => {
  const texts = [
    0, 0.04, 0.05, 0.44, 9.94, 9.96, 59.6, 60, 61, 3_599, 3_600, 3_601, 7_500, 86_400, 360_000,
  ].map(humanSeconds);
  expect(texts).toEqual([
    "0 s",
    "0 s",
    "0.1 s",
    "0.4 s",
    "9.9 s",
    "10 s",
    "1 min",
    "1 min",
    "1 min 1 s",
    "59 min 59 s",
    "1 h",
    "1 h",
    "2 h 5 min",
    "1 d",
    "4 d 4 h",
  ]);
});

it("tells estimates in one unit", () => {
  const texts = [0, 40, 119, 120, 1_146, 7_199, 7_200, 172_800].map(roughSeconds);
  expect(texts).toEqual(["1 s", "40 s", "119 s", "2 min", "19 min", "120 min", "2 h", "2 d"]);
});

it("tells counts and shares, and 100 % only of all", () => {
  expect([0, 999, 1_000, 1_234_567].map(humanCount)).toEqual(["0", "999", "1,000", "1,234,567"]);
  expect([0, 0.009, 0.5, 0.9999, 1].map(humanPercent)).toEqual(["0 %", "0 %", "50 %", "99 %", "100 %"]);
  expect([countOf(1, "file"), countOf(2_000, "row")]).toEqual(["1 file", "2,000 rows"]);
});
