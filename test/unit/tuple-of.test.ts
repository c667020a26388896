import { expect, test } from "vitest";
import { tupleOf, valuesOf } from "../../src/stream/rows.ts";

test("a tuple of texts has the bytes of a tuple of their UTF-8", () => {
  const texts = ["", "ab", "ä€😀", "x".repeat(70_000)];
  const bytes = texts.map((text) => Buffer.from(text, "utf8"));
  const tuple = tupleOf([...texts, null, undefined]);
  expect(tuple.equals(tupleOf([...bytes, null, undefined]))).toBe(true);
  expect(valuesOf(tuple, 0)).toEqual([...bytes, null, undefined]);
});

test("a tuple is a copy of its values", () => {
  const value = Buffer.from("before");
  const tuple = tupleOf([value]);
  value.fill("x");
  expect(valuesOf(tuple, 0)).toEqual([Buffer.from("before")]);
});
