import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  changeFileName,
  copyFileName,
  encodeName,
  hourFolder,
  logKey,
  tableFolder,
} from "../../src/core/layout.ts";
import type { Lsn } from "../../src/core/lsn.ts";
import { compareUtf8, isOurKey, safeKey } from "../../src/stores/keys.ts";
import { wholeFile } from "../../src/stores/parts.ts";

describe("compareUtf8", () => {
  it("orders any text as its bytes are ordered", () => {
    const text = fc.string({
      unit: fc.oneof(
        fc.constantFrom("a", "-", "/", "\u{ffff}", "\u{e000}", "\u{10000}", "\u{1f600}"),
        fc.string({ minLength: 1, maxLength: 1, unit: "binary" }),
      ),
    });
    fc.assert(
      fc.property(text, text, (a, b) => {
        expect(Math.sign(compareUtf8(a, b))).toBe(Buffer.compare(Buffer.from(a), Buffer.from(b)));
      }),
      { numRuns: 2000 },
    );
  });
});

describe("isOurKey", () => {
  const lsn = 0x15f0010n as Lsn;
  const folder = tableFolder("public", "odd 'name'/x") + hourFolder(1_764_000_000_000_000n);

  it.each([
    folder + changeFileName(lsn, lsn, 1, "gzip"),
    folder + changeFileName(lsn, lsn, 12, "none"),
    folder + copyFileName(lsn, 1, 1, "zstd"),
    folder + copyFileName(lsn, 99999, 3, "gzip"),
    logKey(12),
    "_pgstage/packs/0d1f0f6e",
  ])("knows %s", (key) => {
    expect(isOurKey(key)).toBe(true);
  });

  it.each([
    "backup.tar",
    "public/orders/part-0001.csv",
    "other/stage/public/orders/2026/11/22/07/00000000015F0010-x.csv",
    "x/_pgstage/log/1.json",
  ])("does not claim %s", (key) => {
    expect(isOurKey(key)).toBe(false);
  });
});

describe("safeKey", () => {
  it("takes every key that the layout makes", () => {
    fc.assert(
      fc.property(
        fc.string({ minLength: 1, unit: "binary" }),
        fc.string({ minLength: 1, unit: "binary" }),
        (schema, table) => {
          const key = `${tableFolder(schema, table)}x.csv`;
          expect(safeKey(key)).toBe(key);
          expect(encodeName(table)).not.toMatch(/[^A-Za-z0-9._%-]/);
        },
      ),
    );
  });
});

describe("wholeFile", () => {
  const part = (number: number, offset: number, bytes: number) => ({ number, offset, bytes });

  it("puts parts in order and adds them up", () => {
    expect(wholeFile([part(2, 10, 3), part(1, 0, 10)], 10)).toMatchObject({
      bytes: 13,
      parts: [{ number: 1 }, { number: 2 }],
    });
    expect(wholeFile([], 10)).toEqual({ bytes: 0, parts: [] });
  });

  it.each([
    ["a missing part", [part(1, 0, 10), part(3, 10, 3)]],
    ["a missing first part", [part(2, 0, 10)]],
    ["a gap", [part(1, 0, 10), part(2, 11, 3)]],
    ["an overlap", [part(1, 0, 10), part(2, 9, 3)]],
    ["a small part before the last", [part(1, 0, 9), part(2, 9, 3)]],
  ])("refuses %s", (_name, parts) => {
    expect(() => wholeFile(parts, 10)).toThrow(RangeError);
  });
});
