import { describe, expect, it } from "vitest";
import { NO_POSITION } from "../../src/observe/lag.ts";
import { lagJson, statusJson } from "../../src/observe/status-json.ts";
import { renderStatus } from "../../src/observe/status-text.ts";
import { isBehind } from "../../src/observe/status.ts";
import { lsnAt, newScene, SCENES, tables, type SceneName } from "../browser/scenes.ts";

const MIB = 1024 * 1024;
const GIB = 1024 * MIB;

function summaryOf(name: SceneName): string {
  return SCENES[name]().observations.status().summary;
}

describe("the state in words", () => {
  it("is a true sentence in every state", () => {
    const names = Object.keys(SCENES) as SceneName[];
    expect(Object.fromEntries(names.map((name) => [name, summaryOf(name)]))).toEqual({
      starting: "Starting: reading the stage's log and looking at the slot.",
      streaming: "Up to date but for the last 49 s; 36,308 rows will be published with the next batch.",
      idle: "Everything that was committed is on the stage.",
      copying:
        "Copying: 2 of 6 tables done, 12 % of the planned ranges; changes are streamed meanwhile, up to date but for the last 49 s; 25,618 rows will be published with the next batch.",
      behind:
        "The stage cannot be used: PutObject on acme-analytics-stage: 503 SlowDown, please reduce your request rate. That has been so for 19 min 49 s. Nothing is lost: what is not published waits at the source as WAL, which has room for 4.9 GiB more, about 19 min at this pace.",
      sourceDown:
        "The database does not answer: connect ECONNREFUSED 10.0.3.17:5432. That has been so for 2 min 59 s. What it commits meanwhile waits there; pgstage keeps trying.",
      blocked:
        "Blocked, an operator must act: The slot pgstage is lost: its WAL was removed because it kept more than max_slot_wal_keep_size. Run `pgstage teardown --yes`, raise max_slot_wal_keep_size, and start again: every table is copied afresh.",
      standby:
        "In standby: another daemon holds the slot pgstage, and this one takes over when that one ends. Nothing to do.",
      hostile: "Everything that was committed is on the stage.",
      many: "Copying: 9,993 of 10,000 tables done, 99 % of the planned ranges; changes are streamed meanwhile, every change is on the stage.",
    });
  });

  it("does not say 0 B of room, but what that means", () => {
    const scene = SCENES.behind();
    scene.at({ source: 60 * GIB, staged: 0, safe: 1 });
    expect(scene.observations.status().summary).toMatch(
      /waits at the source as WAL, which has no room left: the slot may be lost at any moment\.$/,
    );
  });

  it.each([
    { pace: 2 * MIB, words: "catching up, in about 46 s at this pace" },
    { pace: 0, words: "and neither catching up nor falling further behind" },
    { pace: -2 * MIB, words: "and falling further behind" },
  ])("says $words", ({ pace, words }) => {
    const scene = newScene(600);
    scene.observations.stateChanged("streaming");
    const oldestOpen = { lsn: lsnAt(0), commitMs: scene.nowMs() - 3_600_000 };
    let source = 400 * MIB;
    scene.pass(180, () => {
      scene.position = { ...scene.position, oldestOpen };
      source -= pace;
      scene.at({ source: Math.max(source, 0) + 58 * MIB, staged: 0, safe: null });
    });
    expect(scene.observations.status().summary).toMatch(/^1 h 3 min behind \(\S+ \wiB of WAL\), /);
    expect(scene.observations.status().summary).toContain(words);
  });

  it("says who holds the WAL when the application does", () => {
    const scene = newScene(60);
    scene.observations.stateChanged("streaming");
    scene.position = { ...NO_POSITION, stagedLsn: lsnAt(GIB), quietLsn: lsnAt(GIB) };
    scene.observations.sourceSampled({
      sourceLsn: lsnAt(GIB),
      slot: {
        restartLsn: lsnAt(0),
        confirmedFlushLsn: lsnAt(GIB),
        safeWalBytes: 100 * GIB,
        oldestTransaction: { who: "pid 4242", ageSeconds: 7_500 },
      },
    });
    const { summary, notices } = scene.observations.status();
    expect(notices.map(({ id }) => id)).toEqual(["wal-held-by-transaction"]);
    expect(summary).toBe(
      "Everything that was committed is on the stage. The stage is current, but 1 GiB of WAL stay at the source because a transaction that began long ago is still open: pid 4242, for 2 h 5 min.",
    );
  });

  it("counts two flush intervals as routine", () => {
    const at = (lagSeconds: number) =>
      isBehind({ lag: { ...newScene(1).observations.lag(), lagSeconds }, flushIntervalSeconds: 60 });
    expect([at(0), at(125), at(126)]).toEqual([false, false, true]);
  });
});

describe("as JSON", () => {
  it("has the lag line's fields, LSNs as fixed-width text", () => {
    expect(lagJson(SCENES.behind().observations.lag())).toMatchObject({
      state: "streaming",
      lag_seconds: 1_190,
      staged_lsn: expect.stringMatching(/^[0-9A-F]{8}\/[0-9A-F]{8}$/),
      source_lsn: expect.stringMatching(/^[0-9A-F]{8}\/[0-9A-F]{8}$/),
      open_rows: 412_000,
      open_bytes: 52 * MIB,
      oldest_open_seconds: 1_190,
      slot_retained_bytes: expect.any(Number),
      wal_budget_bytes: expect.any(Number),
      wal_exhausted_in_seconds: 1_146,
    });
  });

  it("has names in snake_case throughout and nothing that JSON cannot say", () => {
    const json = statusJson(SCENES.streaming().observations.status());
    const names = [...JSON.stringify(json).matchAll(/"(\w+)":/g)].map(([, name]) => name);
    expect(names.length).toBeGreaterThan(100);
    expect(names.filter((name) => /[A-Z]/.test(name ?? ""))).toEqual([]);
    expect(JSON.parse(JSON.stringify(json))).toEqual(json);
    expect(json.batches[0]?.took_ms).toBeGreaterThan(0);
    expect(json.history[0]).toHaveLength(4);
  });
});

describe("on a terminal", () => {
  it("is short, aligned and says what to do", () => {
    expect(renderStatus(SCENES.sourceDown().observations.status(), { color: false, tables: 2 })).toBe(
      `streaming  The database does not answer: connect ECONNREFUSED 10.0.3.17:5432. That has been so for 2 min 59 s. What it commits meanwhile waits there; pgstage keeps trying.

source      orders.cluster-c9x.eu-central-1.rds.amazonaws.com:5432/shop, slot pgstage
stage       s3://acme-analytics-stage/production/orders
lag         3 min 39 s, 10.6 MiB of WAL
WAL         50.6 MiB kept at the source, 10 GiB left (0 % used)
waiting     48,401 rows, 5.6 MiB
published   3,151,946 rows, 224 files, 93.2 MiB
last batch  #4766, 3 min 40 s ago: 83,326 rows, 4 files

error: The database does not answer: connect ECONNREFUSED 10.0.3.17:5432. (36 times)
  → See whether the server is up and reachable from here; pgstage keeps trying and goes on where it was.
warning: Nothing identifies a row of public.page_views: its inserts and truncates are captured, updates and deletes are not.
  → ALTER TABLE public.page_views ADD PRIMARY KEY (…), or ALTER TABLE public.page_views REPLICA IDENTITY FULL; pgstage then copies it afresh by itself.
warning: public.session_cache is not captured: it is unlogged.
  → Change the table, or name it in source.exclude to say that it is meant so.

table              copy       rows   stored
public.page_views  done  6,551,068  426 MiB  inserts only
public.inventory   done  7,407,402  498 MiB
… and 4 more tables
1 table not captured: see --json
`,
    );
  });

  it("has colours only if asked, and lets no control character through", () => {
    const scene = newScene(60);
    scene.observations.tablesChanged(tables({ table: "public.a\u001b[2Jb\u202Ec\n" }), []);
    const status = scene.observations.status();
    expect(renderStatus(status, { color: true })).toContain("\u001b[33mstarting\u001b[0m");
    const plain = renderStatus(status, { color: false });
    expect(plain).toContain("public.a\\u{1b}[2Jb\\u{202e}c\\u{a}");
    expect(plain).not.toContain("\u001b");
  });
});
