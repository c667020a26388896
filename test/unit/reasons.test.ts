import { describe, expect, test } from "vitest";
import type { CatalogTable } from "../../src/core/table.ts";
import { rememberNames, whyCopyAgain } from "../../src/copy/reasons.ts";
import { column, record, storage, table } from "./catalogs.ts";

const [ID, A] = [column(1, "id"), column(2, "a", 25)];

describe("a table is copied afresh when no change event tells what happened to old rows", () => {
  test.each<[string, Partial<CatalogTable>, Partial<CatalogTable>, string | null]>([
    ["nothing happened", {}, {}, null],
    ["renamed", {}, { name: "u" }, "it was public.t before"],
    ["moved to another schema", {}, { schema: "other" }, "it was public.t before"],
    ["another key", {}, { key: ["a"] }, "its key is now (a)"],
    ["a lost identity", {}, { insertOnly: true, key: [] }, "its replica identity was lost"],
    ["a gained identity", { insertOnly: true, key: [] }, {}, "it has gained a replica identity"],
    ["a nullable column", {}, { columns: [ID, A, column(3, "b")] }, null],
    [
      "a default for old rows",
      {},
      { columns: [ID, A, column(3, "b")], missing: [3] },
      "column b was added with a default",
    ],
    ["a column that was generated", { columns: [ID], attributes: 2 }, {}, "column a was generated before"],
    ["a dropped column", {}, { columns: [ID] }, null],
    ["a renamed column", {}, { columns: [ID, column(2, "z", 25)] }, "column a was renamed to z"],
    ["another type", {}, { columns: [column(1, "id", 20), A] }, "the type of column id was changed"],
    ["varchar for text", {}, { columns: [ID, column(2, "a", 1043)] }, null],
    ["VACUUM FULL", {}, { storages: [storage({ filenode: 2 })] }, null],
    ["a rewrite", {}, { storages: [storage({ filenode: 2 })], columnsVersion: "2" }, "it was rewritten"],
    ["a definition without a rewrite", {}, { columnsVersion: "2" }, null],
    [
      "a renamed label",
      { labels: { "9": "old" } },
      { labels: { "9": "new" } },
      "enum value old was renamed to new",
    ],
    [
      "a label renamed and renamed back",
      { labels: { "9": "old", "9/version": "700" } },
      { labels: { "9": "old", "9/version": "702" } },
      "an enum value was renamed and renamed back",
    ],
    [
      "labels of a log without versions",
      { labels: { "9": "a" } },
      { labels: { "9": "a", "9/version": "1" } },
      null,
    ],
    ["a new label", { labels: {} }, { labels: { "9": "new" } }, null],
    [
      "another attribute of a composite type",
      { labels: { "type:9": "a" } },
      { labels: { "type:9": "a,b" } },
      "a composite type of its columns has other attributes now",
    ],
  ])("%s", (_what, before, now, reason) => {
    expect(whyCopyAgain(record(table(before)), table(now))).toBe(reason);
  });

  test.each<[string, readonly ReturnType<typeof storage>[], RegExp | null]>([
    ["nothing", [storage({ oid: 2 }), storage({ oid: 3 })], null],
    ["detached", [storage({ oid: 2 })], /attached or detached/],
    ["attached", [storage({ oid: 2 }), storage({ oid: 3 }), storage({ oid: 4 })], /attached or detached/],
    ["exchanged", [storage({ oid: 2 }), storage({ oid: 4 })], /was attached/],
    [
      "detached and attached again",
      [storage({ oid: 2 }), storage({ oid: 3, attachedBy: 7 })],
      /was attached/,
    ],
    [
      "truncated by itself",
      [storage({ oid: 2 }), storage({ oid: 3, filenode: 9 })],
      /truncated or rewritten/,
    ],
  ])("a partition: %s", (_what, storages, reason) => {
    const before = table({ partitioned: true, storages: [storage({ oid: 2 }), storage({ oid: 3 })] });
    const found = whyCopyAgain(record(before), table({ partitioned: true, storages }));
    if (reason === null) expect(found).toBeNull();
    else expect(found).toMatch(reason);
  });

  test("a name that another column had, while files with it still count", () => {
    const first = record();
    const without = table({ columns: [ID] });
    const dropped = { ...first, catalog: without, names: rememberNames(first.names, without) };
    const added = table({ columns: [ID, column(3, "a", 25)], attributes: 3 });
    expect(whyCopyAgain(dropped, added)).toBe("column a is not the column that had this name before");
  });

  test("a name that another column had in another case, unless both are there", () => {
    const first = record();
    const without = table({ columns: [ID] });
    const dropped = { ...first, catalog: without, names: rememberNames(first.names, without) };
    const added = table({ columns: [ID, column(3, "A", 25)], attributes: 3 });
    expect(whyCopyAgain(dropped, added)).toBe("column A is not the column that had the name a before");
    const both = table({ columns: [...first.catalog.columns, column(3, "A", 25)], attributes: 3 });
    expect(whyCopyAgain(first, both)).toBeNull();
  });
});
