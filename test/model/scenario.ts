import fc from "fast-check";
import type { Fault } from "../support/faulty-store.ts";
import type { Life, Scenario } from "./run.ts";
import type { Kind } from "./tables.ts";
import type { Operation, Transaction, Values } from "./world.ts";

/** Random scenarios, as fast-check makes and shrinks them: towards few, short and faultless. */

const text = fc.constantFrom("", "a", ",", '"', "\n", "\r\n", "é€", "\\.", "NULL", "x".repeat(100));

const values: fc.Arbitrary<Values> = fc.record({
  small: fc.option(text),
  big: fc.oneof(
    { weight: 4, arbitrary: fc.constant(undefined) },
    { weight: 2, arbitrary: fc.nat(9).map((n) => `large ${n} ${"y".repeat(n * 30)}`) },
    { weight: 1, arbitrary: fc.constant(null) },
  ),
});

const table = fc.nat(2);
const pick = fc.nat(20);
const key = fc.nat(15);
const page = fc.nat(5);

const operation: fc.Arbitrary<Operation> = fc.oneof(
  { weight: 8, arbitrary: fc.record({ op: fc.constant("insert" as const), table, key, values }) },
  { weight: 8, arbitrary: fc.record({ op: fc.constant("update" as const), table, pick, values, page }) },
  { weight: 3, arbitrary: fc.record({ op: fc.constant("rekey" as const), table, pick, key, page }) },
  { weight: 3, arbitrary: fc.record({ op: fc.constant("delete" as const), table, pick }) },
  {
    weight: 1,
    arbitrary: fc.record({
      op: fc.constant("truncate" as const),
      tables: fc.array(table, { minLength: 1, maxLength: 3 }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ op: fc.constant("add-column" as const), table }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant("drop-column" as const), table }) },
  {
    weight: 1,
    arbitrary: fc.record({
      op: fc.constant("many" as const),
      table,
      rows: fc.nat(60),
      bytes: fc.constantFrom(10, 200, 20_000),
    }),
  },
);

const transaction: fc.Arbitrary<Transaction> = fc.record({
  operations: fc.array(operation, { maxLength: 6 }),
  // The commit records of two sessions often lie side by side.
  gapBytes: fc.constantFrom(0, 0, 8, 1000),
  walBytes: fc.constantFrom(1, 48, 5000),
  minutesLater: fc.constantFrom(0, 0, 0, 1, 45, -45, 90),
});

const fault: fc.Arbitrary<Fault> = fc.oneof(
  { weight: 40, arbitrary: fc.constant<Fault>("none") },
  { weight: 12, arbitrary: fc.constantFrom<Fault>("reject", "lost-answer", "slow", "very-slow") },
  { weight: 1, arbitrary: fc.constantFrom<Fault>("upload-lost", "expire") },
  {
    weight: 2,
    arbitrary: fc.constantFrom<Fault>("die-before", "die-after", "die-meanwhile", "replaced"),
  },
);

const life: fc.Arbitrary<Life> = fc.record({
  faults: fc.array(fault, { maxLength: 80, size: "max" }),
  commits: fc.nat(10),
  chunk: fc.constantFrom(1, 4, 40),
  slotBack: fc.constantFrom(0, 0, 1, 5),
  idleKilobytes: fc.constantFrom(0, 1, 100),
  resync: fc.option(table, { freq: 3 }),
  ends: fc.constantFrom<Life["ends"]>("drains", "is killed"),
  compression: fc.constantFrom("none", "none", "gzip"),
  fileMaxBytes: fc.constantFrom(1_000_000, 2_000, 200),
  memoryBytes: fc.constantFrom(64_000_000, 1_000_000, 30_000),
  flushAfterMs: fc.constantFrom(0, 30),
  maxBatchBytes: fc.constantFrom(1, 1_000, 1_000_000),
  workers: fc.integer({ min: 1, max: 3 }),
  rangeBytes: fc.constantFrom(8_192, 16_384, 1_000_000),
  breaks: fc.constantFrom(0, 0, 0.2),
  shortSessions: fc.boolean(),
  readBackFails: fc.constantFrom(0, 0, 0.2),
});

const kind = fc.constantFrom<Kind>("key", "two-keys", "index", "full-key", "bag", "insert-only");

export const scenario: fc.Arbitrary<Scenario> = fc.record({
  seed: fc.nat(),
  kinds: fc.array(kind, { minLength: 1, maxLength: 3 }),
  before: fc.nat(6),
  transactions: fc.array(transaction, { maxLength: 30, size: "max" }),
  lives: fc.array(life, { maxLength: 5, size: "max" }),
});
