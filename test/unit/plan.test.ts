import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { CopyProgress } from "../../src/core/table.ts";
import { asNamedNow, mayResume, planStorages, rangesOf } from "../../src/copy/plan.ts";
import { column, COPIED, record, storage, table } from "./catalogs.ts";

describe("a plan", () => {
  test("covers every page of every storage once, in ranges with numbers from 1", () => {
    const size = fc.record({ pages: fc.nat(2_000), bytes: fc.nat(50_000_000) });
    fc.assert(
      fc.property(
        fc.array(size, { minLength: 1, maxLength: 4 }),
        fc.integer({ min: 1, max: 1e9 }),
        (sizes, bytes) => {
          const storages = sizes.map((_size, i) => storage({ oid: 10 + i }));
          const byOid = new Map(sizes.map((one, i) => [10 + i, one]));
          const ranges = rangesOf(planStorages(table({ storages }), byOid, bytes));
          expect(ranges.map((range) => range.number)).toEqual(ranges.map((_range, i) => i + 1));
          for (const { oid } of storages) {
            const own = ranges.filter((range) => range.storage?.oid === oid);
            expect(own[0]?.from).toBe(0);
            // The last one is open-ended: what was added since belongs to it.
            expect(own.at(-1)?.to).toBeNull();
            own.slice(1).forEach((range, i) => expect(range.from).toBe(own[i]?.to));
          }
        },
      ),
    );
  });

  test("counts what lies out of line with the pages that refer to it", () => {
    const sizes = new Map([[1, { pages: 100, bytes: 100 * 8192 * 10 }]]);
    expect(rangesOf(planStorages(table(), sizes, 8192 * 100))).toHaveLength(10);
  });

  test("of a table without partitions has one range with nothing to read", () => {
    expect(rangesOf([])).toEqual([{ number: 1, storage: null, from: 0, to: null }]);
  });
});

test("a partition that was renamed is read under its new name", () => {
  const before = planStorages(table({ storages: [storage({ name: "p_1" })] }), new Map(), 1);
  const now = table({ storages: [storage({ schema: "archive", name: "p_2" })] });
  expect(rangesOf(asNamedNow(before, now)).map(({ storage: read }) => read)).toMatchObject([
    { oid: 1, schema: "archive", name: "p_2" },
  ]);
});

describe("missing ranges may be read at a later point", () => {
  const planned = { oid: 1, schema: "public", name: "t", filenode: 1, pages: 10, pagesPerRange: 5 };
  const copying: CopyProgress = {
    phase: "copying",
    firstPoint: "0/1",
    storages: [planned],
    done: [1],
    rows: 1,
    bytes: 1,
  };

  test.each([
    ["of the same pages", table(), table(), copying, true],
    ["not after a rewrite", table(), table({ storages: [storage({ filenode: 2 })] }), copying, false],
    [
      "not with a partition more",
      table(),
      table({ storages: [storage(), storage({ oid: 2 })] }),
      copying,
      false,
    ],
    ["not with other columns", table(), table({ columns: [column(1, "id")] }), copying, false],
    ["not where nothing identifies a row", table({ key: [] }), table({ key: [] }), copying, false],
    ["not where nothing identified one", table({ key: [] }), table(), copying, false],
    [
      "not where updates are not sent",
      table({ insertOnly: true }),
      table({ insertOnly: true }),
      copying,
      false,
    ],
    ["not if there is no plan", table(), table(), COPIED, false],
  ])("%s", (...[, before, now, copy, expected]) => {
    expect(mayResume(record(before, copy), now)).toBe(expected);
  });
});
