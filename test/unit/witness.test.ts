import type { Buffer } from "node:buffer";
import { describe, expect, test } from "vitest";
import { OperatorError } from "../../src/core/errors.ts";
import type { Lsn } from "../../src/core/lsn.ts";
import { UnsendableError, Witness } from "../../src/stream/witness.ts";
import * as wire from "../support/pgoutput-writer.ts";

const relation = (oid: number): Buffer =>
  wire.relation({ oid, schema: "public", table: `t${oid}`, identity: "d", columns: [] });
const begin = (lsn: bigint): Buffer => wire.begin(lsn, 0n);
const commit = (lsn: bigint): Buffer => wire.commit(lsn, lsn + 10n, 0n);
const change = (oid: number): Buffer => wire.insert(oid, ["1"]);

const TOO_LONG = new Error("string buffer exceeds maximum allowed length");

/** What it makes of the server's failure after these messages. */
function told(witness: Witness, messages: readonly Buffer[]): UnsendableError | OperatorError {
  for (const message of messages) witness.see(message);
  return witness.explain(TOO_LONG);
}

const at = (startLsn: bigint, unsendable: bigint | null = null): Witness =>
  new Witness(startLsn as Lsn, unsendable as Lsn | null);

describe("a row that the server cannot send", () => {
  test.each<[string, bigint | null, Buffer[], RegExp]>([
    ["is of the table that was described last", null, [relation(1)], /a row of public\.t1 in/],
    [
      "… though others have changed before",
      null,
      [relation(1), change(1), relation(2)],
      /a row of public\.t2 in/,
    ],
    ["is of the one table that has changed", 100n, [relation(1), change(1)], /a row of public\.t1 in/],
    [
      "is of one of those that have changed, if any may be it",
      100n,
      [relation(1), change(1), relation(2), change(2), change(1)],
      /a row of public\.t1 or public\.t2 in/,
    ],
  ])("%s", (_what, unsendable, messages, named) => {
    const error = told(at(50n, unsendable), [begin(100n), ...messages]);
    expect(error).toBeInstanceOf(OperatorError);
    expect(error.message).toMatch(named);
    expect(error.message).toContain(TOO_LONG.message);
    expect((error as OperatorError).mend).toContain("resync --all");
  });

  test("waits until what is before it is published", () => {
    const error = told(at(50n), [
      begin(100n),
      relation(1),
      change(1),
      commit(100n),
      begin(200n),
      relation(2),
    ]);
    expect(error).toBeInstanceOf(UnsendableError);
    expect((error as UnsendableError).commitLsn).toBe(200n);
  });

  test("does not wait for what the log has already, but for a stream that begins where the log ends", () => {
    const before = [begin(100n), relation(1), change(1), commit(100n), begin(200n)];
    expect(told(at(150n), [...before, relation(2)])).toBeInstanceOf(OperatorError);
    expect(told(at(150n), before)).toBeInstanceOf(UnsendableError);
  });
});

describe("the attempt after it", () => {
  const first = [begin(100n), relation(1), change(1), commit(100n)];

  test("stops before the transaction, and nowhere else", () => {
    const witness = at(50n, 200n);
    for (const message of first) witness.see(message);
    expect(witness.isStopped).toBe(false);
    witness.see(begin(200n));
    expect(witness.isStopped).toBe(true);
    const other = at(50n, 300n);
    for (const message of [...first, begin(200n)]) other.see(message);
    expect(other.isStopped).toBe(false);
  });

  test("reads on if nothing is before it", () => {
    const witness = at(150n, 200n);
    for (const message of [...first, begin(200n), relation(2)]) witness.see(message);
    expect(witness.isStopped).toBe(false);
    expect(witness.explain(TOO_LONG).message).toMatch(/a row of public\.t2 in/);
  });
});
