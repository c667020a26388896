import { describe, expect, it } from "vitest";
import { NO_POSITION } from "../../src/observe/lag.ts";
import { Observations } from "../../src/observe/observations.ts";
import { lsnAt, newScene, tables } from "../browser/scenes.ts";

const MIB = 1024 * 1024;

describe("observations", () => {
  it("measure rows per second over the last minute", () => {
    const scene = newScene(600);
    let receivedRows = 0;
    scene.pass(300, () => {
      receivedRows += 50;
      scene.position = { ...NO_POSITION, receivedRows, receivedBytes: receivedRows * 10 };
    });
    expect(scene.observations.status().throughput).toEqual({ rowsPerSecond: 50, bytesPerSecond: 500 });
    scene.pass(61);
    expect(scene.observations.status().throughput).toEqual({ rowsPerSecond: 0, bytesPerSecond: 0 });
  });

  it("keep the highest lag of each step of the history", () => {
    const scene = newScene(600);
    scene.observations.stateChanged("streaming");
    // Published every five seconds, just before the history's sample is taken.
    scene.pass(100, (second) => {
      const commitMs = scene.nowMs() - (second % 5) * 1_000;
      scene.position = { ...NO_POSITION, stagedLsn: lsnAt(0), oldestOpen: { lsn: lsnAt(0), commitMs } };
      scene.observations.sourceSampled({ sourceLsn: lsnAt(0) });
    });
    expect(
      new Set(
        scene.observations
          .status()
          .history.slice(1)
          .map(([, seconds]) => seconds),
      ),
    ).toEqual(new Set([4]));
  });

  it("have the source no earlier than what is staged of it, although it was asked a moment ago", () => {
    const scene = newScene(60);
    scene.observations.sourceSampled({ sourceLsn: lsnAt(10) });
    scene.position = { ...NO_POSITION, stagedLsn: lsnAt(20) };
    expect(scene.observations.lag()).toMatchObject({
      sourceLsn: lsnAt(20),
      stagedLsn: lsnAt(20),
      lagBytes: 0,
    });
  });

  it("stay bounded over a long time", () => {
    const scene = newScene(7_200);
    scene.pass(7_200, (second) =>
      scene.observations.batchPublished({
        sequence: second,
        files: Array.from({ length: 200 }, (_, i) => ({
          key: `k${i}`,
          table: "public.t",
          rows: 1,
          bytes: i,
        })),
        stagedLsn: null,
        tookMs: 1,
        committedMs: null,
      }),
    );
    const status = scene.observations.status();
    expect(status.history).toHaveLength(720);
    expect(status.batches).toHaveLength(20);
    expect(status.batches[0]).toMatchObject({ sequence: 7_199, fileCount: 200, rows: 200 });
    expect(status.batches[0]?.files).toHaveLength(50);
    expect(status.batches[0]?.files[0]).toEqual({ key: "k199", rows: 1, bytes: 199 });
    expect(status.totals).toMatchObject({ batches: 7_200, files: 1_440_000, rows: 1_440_000 });
  });

  it("log a condition when it begins and when it ends", () => {
    let nowMs = 0;
    const log: string[] = [];
    const observations = new Observations({
      version: "1",
      stage: "file:///s",
      source: "h:5432/d",
      slot: "s",
      publication: "p",
      flushIntervalMs: 1_000,
      clock: () => nowMs,
      onNotice: ({ title, level, message }) => log.push(`${level} ${title}: ${message}`),
      onCleared: (id, _, seconds) => log.push(`over ${id} after ${seconds} s`),
    });
    observations.sourceDown("no route");
    nowMs = 4_000;
    observations.sourceDown("no route");
    observations.sourceUp();
    observations.sourceUp();
    observations.blocked("The slot is lost.", "Do this.");
    observations.stateChanged("starting");
    expect(log).toEqual([
      "error source unreachable: The database does not answer: no route",
      "error source unreachable: The database does not answer: no route",
      "over source-unreachable after 4 s",
      "error blocked: The slot is lost.",
      "over blocked after 0 s",
    ]);
  });

  it("count a range as copied at once, and its rows when a batch names its files", () => {
    const scene = newScene(60);
    scene.observations.tablesChanged(
      tables({ table: "public.t", phase: "pending", rangesDone: 0, ranges: 2, rows: 0, bytes: 0 }),
      [],
    );
    scene.observations.rangeCopied({ table: "public.t", rows: 10, bytes: 100 });
    expect(scene.observations.status().tables[0]).toMatchObject({ phase: "copying", rangesDone: 1, rows: 0 });
    const file = {
      key: "public/t/2026/11/22/07/000000000152C0A8-snapshot-00001.csv.gz",
      table: "public.t",
      rows: 10,
      bytes: 40,
    };
    scene.observations.batchPublished({
      sequence: 1,
      files: [file],
      stagedLsn: lsnAt(0),
      tookMs: 5,
      committedMs: null,
    });
    expect(scene.observations.status().tables[0]).toMatchObject({ rows: 10, bytes: 40 });
  });

  it("keep what changes added to a table when its copy is told anew", () => {
    const scene = newScene(60);
    const told = tables({ table: "public.t", rows: 100, bytes: 1_000 });
    scene.observations.tablesChanged(told, []);
    const key = "public/t/2026/11/22/07/00000000015F0010-0000000001640258-0001.csv.gz";
    const files = [{ key, table: "public.t", rows: 5, bytes: 50 }];
    scene.observations.batchPublished({ sequence: 1, files, stagedLsn: null, tookMs: 5, committedMs: null });
    scene.observations.tablesChanged(told, []);
    expect(scene.observations.status().tables[0]).toMatchObject({ rows: 105, bytes: 1_050 });
    scene.observations.tablesChanged([], []);
    scene.observations.tablesChanged(told, []);
    expect(scene.observations.status().tables[0]).toMatchObject({ rows: 100, bytes: 1_000 });
  });

  it("remember how far the source was clear while the stream is inside a transaction", () => {
    const scene = newScene(7_200);
    scene.observations.stateChanged("streaming");
    scene.pass(3_600, (second) => {
      scene.position = { ...NO_POSITION, stagedLsn: lsnAt(0), quietLsn: lsnAt(second * MIB) };
      scene.observations.sourceSampled({ sourceLsn: lsnAt(second * MIB) });
    });
    scene.position = { ...NO_POSITION, stagedLsn: lsnAt(0), quietLsn: null };
    expect(scene.observations.lag()).toMatchObject({ lagSeconds: 0, lagBytes: 0 });
    scene.pass(7, () => scene.observations.sourceSampled({ sourceLsn: lsnAt(4_000 * MIB) }));
    expect(scene.observations.lag()).toMatchObject({ lagSeconds: 6, lagBytes: 401 * MIB });
  });

  it("take no harm from a source that went back", () => {
    const scene = newScene(600);
    scene.observations.stateChanged("streaming");
    scene.at({ source: 500 * MIB, staged: 500 * MIB });
    scene.pass(10, () => scene.at({ source: 90 * MIB, staged: 80 * MIB }));
    expect(scene.observations.lag()).toMatchObject({ lagSeconds: 9, lagBytes: 10 * MIB });
  });

  it("do not count backwards when a new connection counts from 0", () => {
    const scene = newScene(600);
    scene.pass(10, (second) => (scene.position = { ...NO_POSITION, receivedRows: 1_000 + second }));
    scene.pass(10, (second) => (scene.position = { ...NO_POSITION, receivedRows: second }));
    expect(scene.observations.status().throughput.rowsPerSecond).toBe(1);
  });

  it("name tables without identity in SQL that can be run", () => {
    const scene = newScene(60);
    scene.observations.tablesChanged(tables({ table: 'public.Odd "name"', insertOnly: true }), []);
    expect(scene.observations.status().notices[0]?.mend).toContain(
      'ALTER TABLE "public"."Odd ""name""" ADD PRIMARY KEY',
    );
    scene.observations.tableChanged('public.Odd "name"', { insertOnly: false });
    expect(scene.observations.status().notices).toEqual([]);
  });

  it("say that nothing was committed for an hour, but not after a restart", () => {
    const quietAfter = (seconds: number): boolean => {
      const scene = newScene(10_000);
      scene.observations.stateChanged("streaming");
      scene.pass(seconds);
      return scene.observations.status().notices.some(({ id }) => id === "quiet");
    };
    expect([quietAfter(3_599), quietAfter(3_600)]).toEqual([false, true]);
  });

  it("say that publishing takes longer than the interval, until it no longer does", () => {
    const scene = newScene(60);
    const publish = (tookMs: number) =>
      scene.observations.batchPublished({
        sequence: 1,
        files: [],
        stagedLsn: null,
        tookMs,
        committedMs: null,
      });
    publish(61_000);
    expect(scene.observations.status().notices[0]?.message).toBe(
      "Publishing the last batch took 1 min 1 s, longer than flush.interval (1 min); lag grows with it.",
    );
    publish(900);
    expect(scene.observations.status().notices).toEqual([]);
  });

  it("warn at each threshold of the WAL budget, once", () => {
    const levels: string[] = [];
    const scene = newScene(600);
    for (const percent of [10, 55, 80, 95, 20]) {
      scene.at({ source: percent * MIB, staged: 0, restart: 0, safe: 100 * MIB });
      levels.push(
        scene.observations
          .status()
          .notices.map(({ id }) => id)
          .join(),
      );
    }
    expect(levels).toEqual(["", "wal-50", "wal-75", "wal-90", ""]);
  });
});
