import fc from "fast-check";
import type { Ambush, Fault } from "../support/faulty-store.ts";
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

const insert = fc.record({ op: fc.constant("insert" as const), table, key, values });
const update = fc.record({ op: fc.constant("update" as const), table, pick, values, page });
const rekey = fc.record({ op: fc.constant("rekey" as const), table, pick, key, page });
const remove = fc.record({ op: fc.constant("delete" as const), table, pick });
const truncate = fc.record({
  op: fc.constant("truncate" as const),
  tables: fc.array(table, { minLength: 1, maxLength: 3 }),
});
const alter = fc.record({ op: fc.constantFrom("add-column" as const, "drop-column" as const), table });
const many = fc.record({
  op: fc.constant("many" as const),
  table,
  rows: fc.nat(60),
  bytes: fc.constantFrom(10, 200, 20_000),
});

const anyOperation: fc.Arbitrary<Operation> = fc.oneof(
  { weight: 8, arbitrary: insert },
  { weight: 8, arbitrary: update },
  { weight: 3, arbitrary: rekey },
  { weight: 3, arbitrary: remove },
  { weight: 1, arbitrary: truncate },
  { weight: 2, arbitrary: alter },
  { weight: 1, arbitrary: many },
);

/** Rows wander from page to page while their large values stay. */
const wandering: fc.Arbitrary<Operation> = fc.oneof(
  { weight: 12, arbitrary: update },
  { weight: 2, arbitrary: rekey },
  { weight: 1, arbitrary: insert },
  { weight: 1, arbitrary: remove },
);

const transactionOf = (operation: fc.Arbitrary<Operation>): fc.Arbitrary<Transaction> =>
  fc.record({
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

/** Steps that are rare among all calls, and where it matters most who dies. */
const ambush: fc.Arbitrary<Ambush> = fc.record({
  what: fc.constantFrom(
    "publish",
    "put if absent _pgstage/log",
    "put _pgstage/packs",
    "upload",
    "delete",
    "discard",
  ),
  nth: fc.nat(12),
  fault: fc.constantFrom<Fault>("die-before", "die-after", "die-meanwhile", "replaced", "expire"),
});

const life: fc.Arbitrary<Life> = fc.record({
  ambush: fc.option(ambush, { freq: 2 }),
  faults: fc.array(fault, { maxLength: 80, size: "max" }),
  commits: fc.nat(10),
  chunk: fc.constantFrom(1, 4, 40),
  speed: fc.constantFrom(1, 1, 1, 0.1, 0.02),
  slotBack: fc.constantFrom(0, 0, 1, 5),
  idleKilobytes: fc.constantFrom(0, 1, 100),
  resync: fc.option(table, { freq: 3 }),
  ends: fc.constantFrom<Life["ends"]>("drains", "is killed"),
  compression: fc.constantFrom("none", "none", "gzip"),
  fileMaxBytes: fc.constantFrom(1_000_000, 2_000, 200),
  memoryBytes: fc.constantFrom(64_000_000, 1_000_000, 30_000, 12_000),
  flushAfterMs: fc.constantFrom(0, 30),
  maxBatchBytes: fc.constantFrom(1, 1_000, 1_000_000),
  workers: fc.integer({ min: 1, max: 3 }),
  rangeBytes: fc.constantFrom(8_192, 16_384, 1_000_000),
  breaks: fc.constantFrom(0, 0, 0.2),
  copyTurns: fc.constantFrom(1, 10, 60),
  shortSessions: fc.boolean(),
  readBackFails: fc.constantFrom(0, 0, 0.2),
});

const anything: fc.Arbitrary<Scenario> = fc.record({
  seed: fc.nat(),
  kinds: fc.array(fc.constantFrom<Kind>("key", "two-keys", "index", "full-key", "bag", "insert-only"), {
    minLength: 1,
    maxLength: 3,
  }),
  rows: fc.constantFrom(0, 3, 12),
  before: fc.nat(6),
  transactions: fc.array(transactionOf(anyOperation), { maxLength: 30, size: "max" }),
  lives: fc.array(life, { maxLength: 5, size: "max" }),
});

/** Copies that take long, in many sessions, of tables that change all the while. */
const copies: fc.Arbitrary<Scenario> = fc.record({
  seed: fc.nat(),
  kinds: fc.array(fc.constantFrom<Kind>("key", "two-keys", "index"), { minLength: 1, maxLength: 2 }),
  rows: fc.constant(12),
  before: fc.constant(0),
  transactions: fc.array(transactionOf(wandering), { maxLength: 40, size: "max" }),
  lives: fc.array(
    life.map((one) => ({ ...one, rangeBytes: 8_192, workers: 1, shortSessions: true, copyTurns: 20 })),
    { minLength: 1, maxLength: 3, size: "max" },
  ),
});

export const scenario: fc.Arbitrary<Scenario> = fc.oneof(
  { weight: 2, arbitrary: anything },
  { weight: 1, arbitrary: copies },
);
