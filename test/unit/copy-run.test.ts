import { expect, test } from "vitest";
import { parseLsn } from "../../src/core/lsn.ts";
import { MemoryAccount } from "../../src/core/memory.ts";
import type { TableRecord } from "../../src/core/table.ts";
import { CopyRun } from "../../src/copy/run.ts";
import type { Session } from "../../src/copy/session.ts";
import { ShapeBook } from "../../src/delivery/shapes.ts";
import { unborn, type State, type TableEvent } from "../../src/delivery/state.ts";
import { SILENT } from "../support/copier-events.ts";
import { MemoryStage, MemoryStore } from "../support/memory-store.ts";
import { record, storage, table } from "./catalogs.ts";

test("a table that is dropped while its plan is recorded is not copied, and nothing else suffers", async () => {
  const stays = table({ oid: 1, name: "stays", storages: [storage({ oid: 11 })] });
  const goes = table({ oid: 2, name: "goes", storages: [storage({ oid: 12 })] });
  const pending = { phase: "pending", reason: "it is new" } as const;
  let tables: Record<string, TableRecord> = { 1: record(stays, pending), 2: record(goes, pending) };
  const pipeline = { systemIdentifier: "1", database: "d", slot: "s", publication: "p", timeline: 1 };
  const delivery = {
    get state(): State {
      return { ...unborn(pipeline), tables };
    },
    /** Takes what is said of the one table; the other one is dropped by then. */
    record: async (events: readonly TableEvent[]): Promise<void> => {
      await Promise.resolve();
      for (const event of events)
        if (event.event === "table" && event.table.catalog.oid === 1) tables = { 1: event.table };
    },
    submit: async (): Promise<void> => {},
  };
  const read: number[] = [];
  const session: Session = {
    consistentPoint: parseLsn("0/64"),
    pointMicros: 0n,
    tables: [stays, goes],
    workers: 1,
    sizes: async (oids) => new Map(oids.map((oid) => [oid, { pages: 1, bytes: 8192 }])),
    copy: async (_worker, range) => {
      read.push(range.storage.oid);
      return 0;
    },
    close: async () => {},
  };
  const store = new MemoryStore(new MemoryStage());
  const patiently = <T>(_what: string, attempt: () => Promise<T>): Promise<T> => attempt();
  const run = new CopyRun(
    {
      delivery,
      shapes: new ShapeBook({
        store,
        patiently,
        metadataPrefix: "_",
        typeNames: async (types) => types.map(() => "text"),
      }),
      writer: { store, memory: new MemoryAccount(1e8), compression: "none", patiently, fileMaxBytes: 1e9 },
      rangeBytes: 1e6,
      maxAgeMs: 60_000,
      maxBytesPerSecond: 0,
      metadataPrefix: "_",
      failureOf: () => "lost",
      events: SILENT,
    },
    session,
    new AbortController().signal,
  );
  await run.run([1, 2]);
  expect(read).toEqual([11]);
});
