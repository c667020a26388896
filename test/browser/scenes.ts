import type { Lsn } from "../../src/core/lsn.ts";
import type { TableStatus } from "../../src/core/status.ts";
import { NO_POSITION, type StreamPosition } from "../../src/observe/lag.ts";
import { Observations } from "../../src/observe/observations.ts";

/**
 * Situations of a daemon, told to the real recorder with a clock of their own that ends now: what the page, the
 * metrics and the terminal then show is what they would show.
 */

const MIB = 1024 * 1024;
const GIB = 1024 * MIB;
const WAL_START = 0x16_0000_0000n;

export interface Scene {
  readonly observations: Observations;
  /** Moves the clock on, a second at a time; `each` is called before each. */
  readonly pass: (seconds: number, each?: (second: number) => void) => void;
  /** The source and the stream stand here: bytes of WAL since the scene's begin. */
  readonly at: (wal: { source: number; staged: number; restart?: number; safe?: number | null }) => void;
  position: StreamPosition;
  readonly nowMs: () => number;
}

export function lsnAt(bytes: number): Lsn {
  return (WAL_START + BigInt(Math.round(bytes))) as Lsn;
}

export function newScene(hourSeconds = 3_600): Scene {
  let nowMs = Math.floor(Date.now() / 1000) * 1000 - hourSeconds * 1000;
  const observations = new Observations({
    version: "0.1.0",
    stage: "s3://acme-analytics-stage/production/orders",
    source: "orders.cluster-c9x.eu-central-1.rds.amazonaws.com:5432/shop",
    slot: "pgstage",
    publication: "pgstage",
    flushIntervalMs: 60_000,
    clock: () => nowMs,
  });
  const scene: Scene = {
    observations,
    position: NO_POSITION,
    nowMs: () => nowMs,
    pass(seconds, each = () => {}) {
      for (let second = 0; second < seconds; second++) {
        nowMs += 1_000;
        each(second);
        observations.tick();
      }
    },
    at({ source, staged, restart = staged, safe = 10 * GIB }) {
      scene.position = { ...scene.position, stagedLsn: lsnAt(staged), quietLsn: lsnAt(staged) };
      observations.sourceSampled({
        sourceLsn: lsnAt(source),
        sourceClockMs: nowMs,
        slot: {
          restartLsn: lsnAt(restart),
          confirmedFlushLsn: lsnAt(staged),
          safeWalBytes: safe === null ? null : Math.max(0, safe - (source - restart)),
          oldestTransaction: null,
        },
      });
    },
  };
  observations.watch(() => scene.position);
  return scene;
}

export function tables(...changes: readonly (Partial<TableStatus> & { table: string })[]): TableStatus[] {
  return changes.map((change, index) => ({
    phase: "copied",
    rangesDone: 4,
    ranges: 4,
    rows: 1_234_567 * (index + 1),
    bytes: (index + 1) * 83 * MIB,
    insertOnly: false,
    notes: [],
    ...change,
  }));
}

const SHOP = [
  { table: "public.orders" },
  { table: "public.order_lines" },
  { table: "public.customers" },
  { table: "public.products" },
  { table: "public.page_views", insertOnly: true },
  { table: "public.inventory" },
] as const;

const NOT_CAPTURED = [{ table: "public.session_cache", reason: "it is unlogged" }];

/** Streams for `seconds`, one batch a minute, rates that vary a little. */
function stream(scene: Scene, seconds: number, from = 0): number {
  let wal = from;
  let staged = from;
  let rows = scene.position.receivedRows;
  let open = { rows: 0, since: 0 };
  scene.pass(seconds, (second) => {
    const rate = Math.max(0, Math.round(900 + 500 * Math.sin(second / 160) + 220 * Math.sin(second / 11)));
    wal += rate * 310;
    rows += rate;
    if (open.rows === 0) open = { rows: 0, since: scene.nowMs() };
    open.rows += rate;
    if (second % 60 === 59) {
      staged = wal;
      publish(scene, open.rows, staged);
      open = { rows: 0, since: 0 };
    }
    scene.position = {
      ...scene.position,
      stagedLsn: lsnAt(staged),
      oldestOpen: open.rows === 0 ? null : { lsn: lsnAt(staged + 1), commitMs: open.since },
      openRows: open.rows,
      openBytes: open.rows * 122,
      receivedRows: rows,
      receivedBytes: rows * 122,
    };
    if (second % 10 === 0) scene.at({ source: wal, staged, restart: Math.max(0, staged - 40 * MIB) });
  });
  return wal;
}

function publish(scene: Scene, rows: number, staged: number): void {
  const shares = [0.46, 0.31, 0.12, 0.11];
  const names = ["orders", "order_lines", "page_views", "customers"];
  const sequence = 4_711 + scene.observations.status().totals.batches;
  scene.observations.batchPublished({
    sequence,
    files: shares.map((share, index) => ({
      key: `public/${names[index]}/2026/11/22/07/0000001600000000-${staged.toString(16).toUpperCase().padStart(16, "0")}-0001.csv.gz`,
      table: `public.${names[index]}`,
      rows: Math.round(rows * share),
      bytes: Math.round(rows * share * 31),
    })),
    stagedLsn: lsnAt(staged),
    tookMs: 640 + (sequence % 7) * 41,
    committedMs: scene.nowMs(),
  });
}

export const SCENES = {
  starting: () => newScene(60),

  streaming() {
    const scene = newScene();
    scene.observations.tablesChanged(tables(...SHOP), NOT_CAPTURED);
    scene.observations.stateChanged("streaming");
    stream(scene, 3_590);
    scene.observations.raise(
      "shape-changed",
      { table: "public.customers", change: "column loyalty_tier added" },
      "public.customers",
    );
    return scene;
  },

  idle() {
    const scene = newScene();
    scene.observations.tablesChanged(tables({ table: "public.orders" }), []);
    scene.observations.stateChanged("streaming");
    scene.pass(3_610, () => scene.at({ source: 0, staged: 0 }));
    return scene;
  },

  copying() {
    const scene = newScene(900);
    scene.observations.stateChanged("copying");
    scene.observations.tablesChanged(
      tables(
        { table: "public.order_lines", phase: "copying", rangesDone: 37, ranges: 96 },
        { table: "public.orders", phase: "copying", rangesDone: 11, ranges: 24 },
        {
          table: "public.page_views",
          phase: "pending",
          ranges: 310,
          rangesDone: 0,
          rows: 0,
          bytes: 0,
          insertOnly: true,
        },
        { table: "public.inventory", phase: "pending", ranges: 0, rangesDone: 0, rows: 0, bytes: 0 },
        { table: "public.customers" },
        { table: "public.products" },
      ),
      NOT_CAPTURED,
    );
    stream(scene, 890);
    return scene;
  },

  /** The store is away: lag and WAL grow. */
  behind() {
    const scene = newScene();
    scene.observations.tablesChanged(tables(...SHOP), NOT_CAPTURED);
    scene.observations.stateChanged("streaming");
    const staged = stream(scene, 2_400);
    scene.position = {
      ...scene.position,
      oldestOpen: { lsn: lsnAt(staged + 1), commitMs: scene.nowMs() },
      openRows: 412_000,
      openBytes: 52 * MIB,
    };
    let wal = staged;
    scene.pass(1_190, (second) => {
      wal += 4.4 * MIB;
      if (second % 10 === 0) {
        scene.at({ source: wal, staged });
        scene.observations.storeFailing(
          "PutObject on acme-analytics-stage: 503 SlowDown, please reduce your request rate.",
        );
      }
    });
    return scene;
  },

  sourceDown() {
    const scene = newScene();
    scene.observations.tablesChanged(tables(...SHOP), NOT_CAPTURED);
    scene.observations.stateChanged("streaming");
    stream(scene, 3_400);
    scene.pass(180, (second) => {
      if (second % 5 === 0) scene.observations.sourceDown("connect ECONNREFUSED 10.0.3.17:5432.");
    });
    return scene;
  },

  blocked() {
    const scene = newScene();
    scene.observations.tablesChanged(tables(...SHOP), NOT_CAPTURED);
    scene.observations.stateChanged("streaming");
    stream(scene, 3_400);
    scene.observations.blocked(
      "The slot pgstage is lost: its WAL was removed because it kept more than max_slot_wal_keep_size.",
      "Run `pgstage teardown --yes`, raise max_slot_wal_keep_size, and start again: every table is copied afresh.",
    );
    scene.pass(30);
    return scene;
  },

  standby() {
    const scene = newScene(120);
    scene.observations.stateChanged("standby");
    scene.pass(100);
    return scene;
  },

  /** Names as an attacker who may create tables would choose them. */
  hostile() {
    const scene = newScene(120);
    const table = `public.<img src=x onerror=window.pwned=1>`;
    const script = `public."><script>window.pwned=1</script>`;
    scene.observations.tablesChanged(
      tables(
        { table, insertOnly: true, notes: ["<b onclick=window.pwned=1>"] },
        { table: script },
        { table: `public.${"very_long_name_".repeat(8)}` },
      ),
      [{ table: "public.<svg onload=window.pwned=1>", reason: "<i>unlogged</i>" }],
    );
    scene.observations.stateChanged("streaming");
    scene.observations.batchPublished({
      sequence: 1,
      files: [{ key: "public/<img src=x onerror=window.pwned=1>/x.csv.gz", table, rows: 1, bytes: 1 }],
      stagedLsn: lsnAt(0),
      tookMs: 1,
      committedMs: null,
    });
    scene.pass(60, () => scene.at({ source: 0, staged: 0 }));
    return scene;
  },

  many() {
    const scene = newScene(120);
    const all = Array.from({ length: 10_000 }, (_, index) => ({
      table: `tenant.t_${String(index).padStart(5, "0")}`,
      insertOnly: index % 3 === 0,
      phase: index < 7 ? ("copying" as const) : ("copied" as const),
      rangesDone: index < 7 ? 1 : 4,
    }));
    scene.observations.tablesChanged(tables(...all), []);
    scene.observations.stateChanged("copying");
    scene.pass(60, () => scene.at({ source: 0, staged: 0 }));
    return scene;
  },
} as const satisfies Record<string, () => Scene>;

export type SceneName = keyof typeof SCENES;
