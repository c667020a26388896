import { describe, expect, test } from "vitest";
import type { PipelineIdentity } from "../../src/core/document.ts";
import { OperatorError } from "../../src/core/errors.ts";
import { parseLsn, type Lsn } from "../../src/core/lsn.ts";
import { planStart, type Found } from "../../src/daemon/start.ts";
import { unborn, type State } from "../../src/delivery/state.ts";
import type { SlotInfo } from "../../src/postgres/slot.ts";

const IDENTITY: PipelineIdentity = {
  systemIdentifier: "7",
  timeline: 1,
  database: "db",
  slot: "pgstage",
  publication: "pgstage",
};

const SLOT: SlotInfo = {
  plugin: "pgoutput",
  slotType: "logical",
  database: "db",
  active: false,
  activePid: null,
  restartLsn: 1n as Lsn,
  confirmedFlushLsn: parseLsn("0/100"),
  walStatus: "reserved",
  safeWalBytes: null,
  invalidation: null,
};

const at = (endLsn: string | null, part: Partial<PipelineIdentity> = {}): State => {
  return { ...unborn({ ...IDENTITY, ...part }), sequence: 1, endLsn };
};

const found = (part: Partial<Found>): Found => {
  return { state: at("00000000/00000100"), slot: SLOT, identity: IDENTITY, branchedAt: null, ...part };
};

describe("a start", () => {
  test.each<[string, Partial<Found>, string]>([
    ["makes the slot where there is nothing", { state: null, slot: null }, "create"],
    ["makes the slot that a birth announced", { state: at(null), slot: null }, "create"],
    ["adopts the slot that a birth announced and somebody died over", { state: at(null) }, "adopt"],
    ["goes on where the log ends", {}, "continue"],
    ["skips what a slot that went back sends again", { state: at("00000000/00000200") }, "continue"],
    ["waits for whoever streams", { slot: { ...SLOT, active: true, activePid: 5 } }, "wait"],
    // A leader moves log and slot while a standby looks.
    [
      "waits even if the slot seems to be ahead",
      { state: at("00000000/00000010"), slot: { ...SLOT, active: true } },
      "wait",
    ],
  ])("%s", (_what, part, slot) => {
    expect(planStart(found(part)).slot).toBe(slot);
  });

  test("streams from the log's end, whatever the slot says", () => {
    const plan = planStart(found({ state: at("00000000/00000200") }));
    expect(plan).toMatchObject({ from: 0x200n, confirmed: 0x100n });
  });

  test.each<[string, Partial<Found>, RegExp]>([
    ["a slot without a log", { state: null }, /has no log/],
    ["a log whose slot is gone", { slot: null }, /is gone/],
    ["a slot that somebody moved on", { state: at("00000000/00000010") }, /moved on to 00000000\/00000100/],
    ["a slot whose WAL is gone", { slot: { ...SLOT, walStatus: "lost" } }, /wal_removed/],
    ["a slot that was invalidated", { slot: { ...SLOT, invalidation: "rows_removed" } }, /rows_removed/],
    ["a slot without a position", { slot: { ...SLOT, confirmedFlushLsn: null } }, /no confirmed position/],
    ["another plugin's slot", { slot: { ...SLOT, plugin: "wal2json" } }, /wal2json/],
    ["another database's slot", { slot: { ...SLOT, database: "other" } }, /database other/],
    ["a physical slot", { slot: { ...SLOT, slotType: "physical" } }, /physical/],
    [
      "another server's stage",
      { state: at("00000000/00000100", { systemIdentifier: "8" }) },
      /belongs to database db of system 8/,
    ],
    [
      "another database's stage",
      { state: at("00000000/00000100", { database: "x" }) },
      /belongs to database x/,
    ],
    ["another pipeline's stage", { state: at("00000000/00000100", { slot: "x" }) }, /belongs to slot x/],
    ["a source that went back in time", { branchedAt: parseLsn("0/50") }, /went back in time/],
  ])("refuses %s, and says what mends it", (_what, part, message) => {
    let error: unknown = null;
    try {
      planStart(found(part));
    } catch (caught) {
      error = caught;
    }
    expect(error).toBeInstanceOf(OperatorError);
    expect((error as OperatorError).message).toMatch(message);
    expect((error as OperatorError).mend.length).toBeGreaterThan(10);
  });

  test("goes on over a failover that lost nothing of ours", () => {
    expect(planStart(found({ branchedAt: parseLsn("0/100") })).slot).toBe("continue");
  });
});
