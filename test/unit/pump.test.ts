import { afterEach, describe, expect, test } from "vitest";
import { TransientError } from "../../src/core/errors.ts";
import type { Lsn } from "../../src/core/lsn.ts";
import type { ReadBack } from "../../src/stream/deferred.ts";
import { turns } from "../support/faulty-store.ts";
import * as wire from "../support/pgoutput-writer.ts";
import { Bench, MICROS, type Options } from "./pump-bench.ts";

const benches: Bench[] = [];
function bench(options?: Options): Bench {
  const one = new Bench(options);
  benches.push(one);
  one.pump.done.catch(() => {});
  return one;
}
afterEach(() => {
  for (const { pump } of benches.splice(0)) pump.fail(new Error("the test is over"));
});

const long = (letter: string, bytes = 100_000): string => letter.repeat(bytes);

describe("memory", () => {
  test("a wait that began between two transactions frees the one that the same chunk begins", async () => {
    const one = bench({ limits: { maxHeldBytes: 200_000 } });
    one.store.isOpen = false;
    // The first batch is on its way and stays there; the second one fills, and a copy takes what is left.
    one.send(one.begin(), one.insert(long("a", 300_000)), one.commit());
    one.send(one.begin(), one.insert(long("b", 270_000)), one.insert(long("c", 265_000)));
    expect(one.paused).toBe(false);
    one.memory.hold(100_000);
    one.send(one.commit(), one.begin(), one.insert(long("d", 20_000)));
    expect(one.paused).toBe(true);
    one.memory.release(100_000);
    one.store.open();
    await expect.poll(() => one.paused, { timeout: 5_000 }).toBe(false);
    one.send(one.commit());
    one.pump.drain();
    await one.pump.done;
    expect(one.published.map((text) => text?.length)).toEqual([300_000, 270_000, 265_000, 20_000]);
    expect(one.memory.heldBytes).toBe(0);
  });

  test("a transaction far larger than memory passes, table by table", async () => {
    const one = bench({ memoryBytes: 300_000 });
    one.send(one.begin());
    for (let row = 0; row < 200; row++) {
      await expect.poll(() => one.paused, { timeout: 5_000, interval: 1 }).toBe(false);
      one.send(one.insert(long("x", 10_000), 1 + (row % 3)));
      expect(one.memory.heldBytes).toBeLessThan(600_000);
    }
    one.send(one.commit());
    one.pump.drain();
    await one.pump.done;
    expect(one.published).toHaveLength(200);
    expect(one.memory.heldBytes).toBe(0);
    expect(one.stage.keys("_pgstage/packs/")).toEqual([]);
  });

  test("values read back pass one answer at a time, however long they are", async () => {
    let mostAsked = 0;
    let asked = 0;
    const readBack: ReadBack = async (_table, keys) => {
      asked += keys.length;
      mostAsked = Math.max(mostAsked, keys.length * 1_000_000);
      await turns(1);
      return keys.map(() => ["v".repeat(1_000_000)]);
    };
    const one = bench({ memoryBytes: 8_000_000, readBack, mustFill: true });
    one.send(one.begin());
    for (let row = 0; row < 40; row++) one.send(wire.update(1, [String(row), undefined]));
    one.send(one.commit());
    const most: number[] = [];
    const watch = setInterval(() => most.push(one.memory.heldBytes), 1);
    one.pump.drain();
    await one.pump.done;
    clearInterval(watch);
    expect(asked).toBe(40);
    expect(mostAsked).toBeLessThanOrEqual(8_000_000);
    expect(Math.max(...most)).toBeLessThan(16_000_000);
    expect(one.published).toHaveLength(40);
    expect(one.memory.heldBytes).toBe(0);
  });

  test("many short values are read back in few questions", async () => {
    const questions: number[] = [];
    const readBack: ReadBack = async (_table, keys) => {
      questions.push(keys.length);
      return keys.map(() => ["short"]);
    };
    const one = bench({ readBack, mustFill: true });
    one.send(one.begin());
    for (let row = 0; row < 3_000; row++) one.send(wire.update(1, [String(row), undefined]));
    one.send(one.commit());
    one.pump.drain();
    await one.pump.done;
    expect(questions.length).toBeLessThan(12);
    expect(Math.max(...questions)).toBe(500);
    expect(one.published).toEqual(Array.from({ length: 3_000 }, () => "short"));
  });

  test("rows that are read back while memory is short are not lost", async () => {
    const readBack: ReadBack = async (_table, keys) => {
      await turns(5);
      return keys.map(() => [long("f", 300)]);
    };
    const one = bench({ memoryBytes: 400_000, readBack, mustFill: true });
    one.send(one.begin());
    const updates = Array.from({ length: 5_001 }, (_, row) => wire.update(2, [String(row), undefined]));
    // Short of memory first; then, in the same chunk, more rows wait for values than may wait.
    one.send(one.insert(long("a", 360_000)), ...updates);
    await expect.poll(() => one.paused, { timeout: 10_000 }).toBe(false);
    one.send(one.insert("b", 3), one.commit());
    one.pump.drain();
    await one.pump.done;
    expect(one.published).toHaveLength(5_003);
    expect(one.memory.heldBytes).toBe(0);
  });
});

describe("acknowledging", () => {
  test("waits until the rows are published, and never runs ahead of the log", async () => {
    const one = bench({ limits: { flushAfterMs: 0 } });
    one.store.isOpen = false;
    one.send(one.begin(), one.insert("a"), one.commit());
    await turns(20);
    expect(one.acknowledged).toEqual([]);
    one.store.open();
    await expect.poll(() => one.acknowledged).toEqual([1010n]);
    expect(one.documents.at(-1)?.endLsn).toBe("00000000/000003F2");
    expect(one.published).toEqual(["a"]);
  });

  test("skips what is published already, and nothing that lies right behind it", async () => {
    const one = bench();
    const before = [wire.begin(990n, MICROS), one.insert("old"), wire.commit(990n, 1000n, MICROS)];
    one.send(...before, one.begin(), one.insert("new"), one.commit());
    one.pump.drain();
    await one.pump.done;
    expect(one.published).toEqual(["new"]);
  });

  test("tells a quiet position only after it is recorded", async () => {
    const one = bench();
    one.pump.keepalive(5000n as Lsn, false);
    one.send(one.begin(), one.commit());
    expect(one.acknowledged).toEqual([]);
    one.pump.drain();
    await one.pump.done;
    expect(one.acknowledged).toEqual([5000n]);
    expect(one.documents.map((document) => document.kind)).toEqual(["idle"]);
  });

  test("takes no position from a keepalive inside a transaction", async () => {
    const one = bench();
    one.send(one.begin(), one.insert("a"));
    one.pump.keepalive(5000n as Lsn, true);
    one.send(one.commit());
    one.pump.drain();
    await one.pump.done;
    expect(one.acknowledged).toEqual([1010n]);
  });
});

describe("draining", () => {
  test("waits for the transaction in the middle, and takes nothing after it", async () => {
    const one = bench();
    one.send(one.begin(), one.insert("a"));
    one.pump.drain();
    one.send(one.insert("b"), one.commit(), one.begin(), one.insert("c"), one.commit());
    await one.pump.done;
    expect(one.published).toEqual(["a", "b"]);
    expect(one.acknowledged.at(-1)).toBe(1010n);
  });

  test("ends while the socket waits for memory", async () => {
    const one = bench({ memoryBytes: 100_000 });
    one.store.isOpen = false;
    one.send(
      one.begin(),
      one.insert(long("a")),
      one.commit(),
      one.begin(),
      one.insert(long("b")),
      one.commit(),
    );
    one.pump.drain();
    one.store.open();
    await one.pump.done;
    expect(one.published).toHaveLength(2);
    expect(one.memory.heldBytes).toBe(0);
  });

  test("with nothing to say writes nothing", async () => {
    const one = bench();
    one.pump.drain();
    await one.pump.done;
    expect(one.documents).toEqual([]);
  });
});

describe("failing", () => {
  test("during a delivery ends the attempt once, and what comes afterwards is not taken", async () => {
    const one = bench({ limits: { flushAfterMs: 0 } });
    one.store.isOpen = false;
    one.send(one.begin(), one.insert("a"), one.commit());
    await turns(5);
    one.pump.fail(new TransientError("the connection is gone"));
    await expect(one.pump.done).rejects.toThrow("the connection is gone");
    one.pump.fail(new Error("later"));
    one.send(one.begin(), one.insert("b"), one.commit());
    one.store.open();
    await turns(20);
    expect(one.published).toEqual(["a"]);
  });

  test("of a question for values ends the attempt", async () => {
    const readBack: ReadBack = async () => {
      throw new TransientError("no answer");
    };
    const one = bench({ readBack, mustFill: true });
    one.send(one.begin(), wire.update(1, ["1", undefined]), one.commit());
    one.pump.drain();
    await expect(one.pump.done).rejects.toThrow("no answer");
    expect(one.documents).toEqual([]);
  });

  test("while the socket waits for memory leaves it as it is", async () => {
    const one = bench({ memoryBytes: 100_000 });
    one.store.isOpen = false;
    one.send(one.begin(), one.insert(long("a")));
    expect(one.paused).toBe(true);
    one.pump.fail(new Error("over"));
    one.store.open();
    await expect(one.pump.done).rejects.toThrow("over");
    await turns(20);
    expect(one.paused).toBe(true);
  });
});
