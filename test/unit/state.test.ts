import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { OperatorError, ReplacedError } from "../../src/core/errors.ts";
import { logKey } from "../../src/core/layout.ts";
import type { CopyProgress } from "../../src/core/table.ts";
import { Log, readLog, type NewDocument } from "../../src/delivery/log.ts";
import { applyDocument, unborn, type State, type TableEvent } from "../../src/delivery/state.ts";
import { MemoryStage, MemoryStore } from "../support/memory-store.ts";
import { record, table } from "./catalogs.ts";

const IDENTITY = { systemIdentifier: "1", timeline: 1, database: "d", slot: "s", publication: "p" };

function document(tables: readonly TableEvent[] = [], endLsn: string | null = null): NewDocument {
  const nothing = { files: [], firstLsn: null, committedAt: null };
  return { kind: "batch", ...nothing, endLsn, tables: tables as unknown as NewDocument["tables"] };
}

const planned = { oid: 1, schema: "public", name: "t", filenode: 1, pages: 10, pagesPerRange: 5 };
const copying: CopyProgress = {
  phase: "copying",
  firstPoint: "0/1",
  storages: [planned],
  done: [],
  rows: 0,
  bytes: 0,
};

/** The state after these events, each in a document of its own. */
function after(...events: readonly TableEvent[]): State {
  const log = new Log(new MemoryStore(new MemoryStage()), unborn(IDENTITY), []);
  return events.reduce((state, event) => applyDocument(state, log.next(document([event]))), unborn(IDENTITY));
}

describe("events", () => {
  const begun: TableEvent = { event: "table", table: record(table(), copying) };
  const range = (number: number, firstPoint = "0/1"): TableEvent => {
    return { event: "range", oid: 1, firstPoint, number, rows: 10, bytes: 100 };
  };

  test("add ranges up, once each, until the copy is complete", () => {
    expect(after(begun, range(2), range(1), range(2)).tables[1]?.copy).toMatchObject({
      done: [2, 1],
      rows: 20,
      bytes: 200,
    });
    const copied = after(begun, range(1), { event: "copied", oid: 1, firstPoint: "0/1", lastPoint: "0/9" });
    expect(copied.tables[1]?.copy).toEqual({
      phase: "copied",
      firstPoint: "0/1",
      lastPoint: "0/9",
      rows: 10,
      bytes: 100,
    });
  });

  test("of a plan that was given up, or of a table that is forgotten, count for nothing", () => {
    const again: TableEvent = { event: "table", table: record(table(), { ...copying, firstPoint: "0/5" }) };
    expect(after(begun, again, range(1)).tables[1]?.copy).toMatchObject({ done: [], firstPoint: "0/5" });
    expect(after(begun, { event: "copyAll", reason: "why" }, range(1)).tables[1]?.copy).toEqual({
      phase: "pending",
      reason: "why",
    });
    expect(after(begun, { event: "forget", oid: 1 }, range(1)).tables).toEqual({});
  });
});

describe("the log", () => {
  test("reads back what was written, whether from documents or from a state", async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 230 }), async (count) => {
        const store = new MemoryStore(new MemoryStage());
        const log = new Log(store, unborn(IDENTITY), []);
        for (let i = 1; i <= count; i++) {
          await log.append(
            log.next(document([{ event: "table", table: record(table({ oid: i })) }], `00000000/${i}`)),
          );
          if (log.wantsState) await log.writeState();
        }
        const reading = await readLog(store);
        expect(reading?.state).toEqual(log.state);
        expect(reading?.damage).toBeNull();
        expect(reading?.stateKeys.length).toBeLessThanOrEqual(2);
      }),
      { numRuns: 15 },
    );
  });

  test("that does not exist is none", async () => {
    expect(await readLog(new MemoryStore(new MemoryStage()))).toBeNull();
  });

  test.each(["000000000/copy-000000000001.json", "saved/000000000001.json", "000000000/1.json"])(
    "refuses to take %s for a document",
    async (name) => {
      const store = new MemoryStore(new MemoryStage());
      const log = new Log(store, unborn(IDENTITY), []);
      for (let i = 1; i <= 2; i++) await log.append(log.next(document()));
      await store.put(`_pgstage/log/${name}`, (await store.get(logKey(1))) ?? Buffer.alloc(0));
      await expect(readLog(store)).rejects.toThrow(OperatorError);
    },
  );

  test("tells a lost answer of its own from somebody else's document", async () => {
    const store = new MemoryStore(new MemoryStage());
    const [one, other] = [new Log(store, unborn(IDENTITY), []), new Log(store, unborn(IDENTITY), [])];
    const mine = one.next(document());
    await one.append(mine);
    await new Log(store, unborn(IDENTITY), []).append(mine);
    await expect(other.append(other.next(document()))).rejects.toThrow(ReplacedError);
    expect(other.state.sequence).toBe(0);
  });

  test("says that documents are gone, and keeps what a state document has saved", async () => {
    const stage = new MemoryStage();
    const store = new MemoryStore(stage);
    const log = new Log(store, unborn(IDENTITY), []);
    for (let i = 1; i <= 5; i++) {
      await log.append(log.next(document([{ event: "table", table: record(table({ oid: i })) }])));
      if (i === 2) await log.writeState();
    }
    stage.objects.delete(logKey(1));
    expect((await readLog(store))?.damage).toBeNull();
    stage.objects.delete(logKey(4));
    const reading = await readLog(store);
    expect(reading?.damage).toMatch(/^1 log document/);
    expect(Object.keys(reading?.state.tables ?? {})).toEqual(["1", "2", "3", "5"]);
  });

  test("does not take a state of a log that was removed before it began", async () => {
    const stage = new MemoryStage();
    const store = new MemoryStore(stage);
    for (const [name, count] of [
      ["old", 5],
      ["new", 7],
    ] as const) {
      const log = new Log(store, unborn(IDENTITY), []);
      for (let i = 1; i <= count; i++) {
        await log.append(log.next(document([{ event: "table", table: record(table({ oid: i, name })) }])));
        if (name === "old" && i === 5) await log.writeState();
      }
      if (name === "old") for (let i = 1; i <= count; i++) stage.objects.delete(logKey(i));
    }
    const reading = await readLog(store);
    expect(reading?.damage).toBeNull();
    const names = Object.values(reading?.state.tables ?? {}).map(({ catalog }) => catalog.name);
    expect(names).toEqual(Array.from({ length: 7 }, () => "new"));
  });

  test.each([
    ["is not JSON", "{"],
    ["is of a newer version", JSON.stringify({ format: 99 })],
  ])("refuses a document that %s", async (_what, text) => {
    const store = new MemoryStore(new MemoryStage());
    await store.put(logKey(1), Buffer.from(text));
    await expect(readLog(store)).rejects.toThrow(OperatorError);
  });
});
