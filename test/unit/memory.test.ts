import fc from "fast-check";
import { expect, test } from "vitest";
import { MemoryAccount } from "../../src/core/memory.ts";

test("whoever waits goes on when enough is free, and not before", async () => {
  const memory = new MemoryAccount(100);
  memory.hold(90);
  const went: string[] = [];
  const waits = [
    memory.below(50).then(() => went.push("fifty")),
    memory.below(20).then(() => went.push("twenty")),
    memory.below(91).then(() => went.push("at once")),
  ];
  await new Promise((resolve) => setImmediate(resolve));
  expect(went).toEqual(["at once"]);
  memory.release(40);
  await new Promise((resolve) => setImmediate(resolve));
  expect(went).toEqual(["at once"]);
  memory.release(1);
  await new Promise((resolve) => setImmediate(resolve));
  expect(went).toEqual(["at once", "fifty"]);
  memory.release(49);
  await Promise.all(waits);
  expect(memory.heldBytes).toBe(0);
});

test("nobody waits for ever while everything is released", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.nat(100), { maxLength: 20 }),
      fc.array(fc.integer({ min: 1, max: 500 })),
      async (held, below) => {
        const memory = new MemoryAccount(100);
        for (const bytes of held) memory.hold(bytes);
        const waits = below.map((bytes) => memory.below(bytes));
        for (const bytes of held) memory.release(bytes);
        await Promise.all(waits);
        expect(memory.heldBytes).toBe(0);
      },
    ),
  );
});
