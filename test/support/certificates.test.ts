import { expect, test } from "vitest";
import { integer } from "./certificates.ts";

test.each([
  { bytes: "00", der: "020100" },
  { bytes: "0000", der: "020100" },
  { bytes: "7f", der: "02017f" },
  { bytes: "80", der: "02020080" },
  { bytes: "007f", der: "02017f" },
  { bytes: "0080", der: "02020080" },
  { bytes: "00000102", der: "02020102" },
])("the number $bytes has the fewest bytes that keep it positive", ({ bytes, der }) => {
  expect(integer(Buffer.from(bytes, "hex")).toString("hex")).toBe(der);
});
