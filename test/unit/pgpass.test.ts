import fc from "fast-check";
import { expect, it } from "vitest";
import { findPassword } from "../../src/postgres/password.ts";

const SOURCE = { host: "db.example.com", port: 5432, database: "app", user: "me" };

it.each([
  ["db.example.com:5432:app:me:secret", "secret"],
  ["*:*:*:*:secret", "secret"],
  ["# *:*:*:*:comment\n\nother:5432:app:me:no\n*:*:app:*:first\n*:*:*:*:second", "first"],
  ["db.example.com:5432:app:me:with\\:colon\\\\and backslash", "with:colon\\and backslash"],
  ["db.example.com:5432:app:me:secret\r\n", "secret"],
  ["db.example.com:5432:app:me:", undefined],
  ["db.example.com:5432:app:you:secret", undefined],
  ["db.example.com:5433:app:me:secret", undefined],
  ["\\*:*:*:*:no", undefined],
  ["*:*:*:*", undefined],
  ["", undefined],
])("%j has the password %j", (text, password) => {
  expect(findPassword(text, SOURCE)).toBe(password);
});

it("looks for localhost if the server is a socket", () => {
  expect(findPassword("localhost:*:*:*:secret", { ...SOURCE, host: "/var/run/postgresql" })).toBe("secret");
});

it("reads whatever was written with backslashes", () => {
  const text = fc.string({ minLength: 1 }).filter((each) => !/[\r\n]/.test(each));
  fc.assert(
    fc.property(text, text, text, (database, user, password) => {
      const escaped = [database, user, password].map((each) => each.replaceAll(/[:\\]/g, String.raw`\$&`));
      expect(findPassword(`*:*:${escaped.join(":")}\n`, { ...SOURCE, database, user })).toBe(password);
    }),
  );
});
