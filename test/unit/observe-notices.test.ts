import { describe, expect, it } from "vitest";
import { NoticeBoard } from "../../src/observe/notice-board.ts";
import { NOTICES, noticeText } from "../../src/observe/notices.ts";

const DAY = 86_400_000;

describe("notice board", () => {
  it("logs a repeated failure when it is new and each time its count doubles", () => {
    const board = new NoticeBoard();
    const logged: number[] = [];
    for (let time = 1; time <= 1_000; time++) {
      if (board.raise("store-failing", { problem: `try ${time}` }, { nowMs: time }) !== null)
        logged.push(time);
    }
    expect(logged).toEqual([1, 2, 4, 8, 16, 32, 64, 128, 256, 512]);
    expect(board.list(1_000)).toEqual([
      {
        id: "store-failing",
        level: "error",
        message: "The stage cannot be used: try 1000",
        mend: NOTICES["store-failing"].mend,
        since: "1970-01-01T00:00:00.001Z",
        count: 1_000,
      },
    ]);
  });

  it("holds a condition until it is cleared, renewing its words without counting", () => {
    const board = new NoticeBoard();
    expect(board.hold("quiet", { quiet: "1 h" }, { nowMs: 0 })).not.toBeNull();
    expect(board.hold("quiet", { quiet: "2 h" }, { nowMs: 5 })).toBeNull();
    expect(board.list(10 * DAY)).toMatchObject([
      { message: "No captured table has changed for 2 h.", count: 1 },
    ]);
    expect(board.clear("quiet")).toBe(0);
    expect(board.clear("quiet")).toBeNull();
    expect(board.list(5)).toEqual([]);
  });

  it("forgets events after their time", () => {
    const board = new NoticeBoard();
    board.raise(
      "copied-afresh",
      { table: "public.t", reason: "it was truncated" },
      { nowMs: 0, subject: "public.t" },
    );
    expect(board.list(DAY - 1)).toHaveLength(1);
    expect(board.list(DAY)).toEqual([]);
  });

  it("tells few tables one by one and many as one", () => {
    const board = new NoticeBoard();
    const facts = (count: number) =>
      new Map(
        Array.from({ length: count }, (_, i) => [`s.t${i}`, { table: `s.t${i}`, reason: "it is unlogged" }]),
      );
    expect(board.holdExactly("table-not-captured", facts(5), 1)).toHaveLength(5);
    expect(board.list(1).map(({ message }) => message)).toContain("s.t3 is not captured: it is unlogged.");
    expect(board.holdExactly("table-not-captured", facts(10_000), 2)).toHaveLength(9_995);
    expect(board.list(2)).toMatchObject([
      {
        message:
          "s.t0 is not captured: it is unlogged. The same holds for 10,000 in all: s.t0, s.t1, s.t2, s.t3, s.t4, …",
        count: 1,
      },
    ]);
    expect(board.holdExactly("table-not-captured", facts(1), 3)).toEqual([]);
    expect(board.list(3)).toHaveLength(1);
  });

  it("stays bounded when events come for ever more subjects", () => {
    const board = new NoticeBoard();
    for (let index = 0; index < 5_000; index++) {
      board.raise(
        "copied-afresh",
        { table: `s.t${index}`, reason: "x" },
        { nowMs: index, subject: `s.t${index}` },
      );
    }
    expect(board.list(5_000)[0]?.message).toContain("5,000 in all");
  });

  it("shows the worst first, then the newest", () => {
    const board = new NoticeBoard();
    board.hold("quiet", { quiet: "1 h" }, { nowMs: 9 });
    board.hold("wal-50", { retained: "", percent: "", budget: "", exhaustion: "" }, { nowMs: 1 });
    board.hold("wal-75", { retained: "", percent: "", budget: "", exhaustion: "" }, { nowMs: 2 });
    board.hold("blocked", { problem: "p", todo: "t" }, { nowMs: 0 });
    expect(board.list(10).map(({ id }) => id)).toEqual(["blocked", "wal-75", "wal-50", "quiet"]);
  });
});

describe("catalogue", () => {
  it("has a title of its own for each kind, and says what to do about every warning and error", () => {
    const kinds = Object.values(NOTICES);
    expect(new Set(kinds.map(({ title }) => title)).size).toBe(kinds.length);
    for (const kind of kinds) if (kind.level !== "info") expect(kind.mend, kind.title).not.toBe("");
  });

  it("does not take facts for templates", () => {
    expect(noticeText("{a} and {b}", { a: "{b}", b: "$&" })).toBe("{b} and $&");
  });
});
