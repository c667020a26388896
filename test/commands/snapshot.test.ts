import { gunzipSync } from "node:zlib";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { readLog } from "../../src/delivery/log.ts";
import type { Store } from "../../src/stores/store.ts";
import { Daemon, killDaemons } from "../support/daemon.ts";
import { startPostgres, type EmbeddedPostgres } from "../support/postgres.ts";
import { compareStageWithSource, differences } from "../support/rebuild.ts";
import { openStage, type StageKind, type TestStage } from "../support/stage.ts";
import { pgstage, settingsFor, type Outcome, type Running } from "./support.ts";

let server: EmbeddedPostgres;
let database: string;
let stage: TestStage;

beforeAll(async () => {
  server = await startPostgres();
});
afterAll(() => server.destroy());
beforeEach(async () => {
  database = await server.createDatabase();
  for (const statement of TABLES.split(";")) await sql(statement);
});
afterEach(async () => {
  await killDaemons();
  await stage[Symbol.asyncDispose]();
  await server.sql("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots");
});

/** Small ranges, so that the big table has many files. */
const SMALL = { PGSTAGE_SNAPSHOT_RANGE_BYTES: "64KiB", PGSTAGE_SHUTDOWN_TIMEOUT: "1s" };
/** Slow enough to do something meanwhile. */
const SLOW = { PGSTAGE_SNAPSHOT_MAX_BYTES_PER_SECOND: "256KiB", PGSTAGE_SNAPSHOT_WORKERS: "1" };

const TABLES = `CREATE TABLE big (id int PRIMARY KEY, v text);
  INSERT INTO big SELECT i, repeat(md5(i::text), 3) FROM generate_series(1, 8000) i;
  CREATE TABLE bag (v text);
  INSERT INTO bag VALUES ('twice'), ('twice'), (NULL);
  CREATE TABLE empty (id int PRIMARY KEY);
  CREATE TABLE parts (id int, k int, PRIMARY KEY (id, k)) PARTITION BY LIST (k);
  CREATE TABLE parts_1 PARTITION OF parts FOR VALUES IN (1);
  CREATE TABLE parts_2 PARTITION OF parts FOR VALUES IN (2);
  INSERT INTO parts SELECT i, 1 + i % 2 FROM generate_series(1, 50) i`;

function sql<R extends object>(text: string): Promise<R[]> {
  return server.sql<R>(text, [], { database });
}

function snapshot(more: Record<string, string> = {}, running: Running = {}): Promise<Outcome> {
  return pgstage(["snapshot"], { ...settingsFor(server.url(database), stage), ...SMALL, ...more }, running);
}

interface Line {
  readonly msg: string;
  readonly [field: string]: unknown;
}

function linesOf({ out }: Outcome): Line[] {
  return out
    .split("\n")
    .filter(Boolean)
    .map((line) => JSON.parse(line) as Line);
}

async function dataFiles(store: Store): Promise<string[]> {
  const keys: string[] = [];
  for await (const key of store.list("")) if (!key.startsWith("_pgstage/")) keys.push(key);
  return keys;
}

async function leftOf(store: Store): Promise<string[]> {
  const keys: string[] = [];
  for (const folder of ["_pgstage/packs/", "_pgstage/staged/"])
    for await (const key of store.list(folder)) keys.push(key);
  await store.discardUploads((id) => {
    keys.push(id);
    return true;
  });
  return keys;
}

/** Waits for the daemon, if one runs: what is committed right before SIGTERM may be left to the next start. */
async function expectEqualTables(): Promise<void> {
  const verdict = await compareStageWithSource(stage.store, server.url(database), { timeoutMs: 60_000 });
  expect(differences(verdict)).toEqual([]);
}

async function expectEqual(): Promise<void> {
  await expectEqualTables();
  expect(await stage.changedKeys()).toEqual([]);
  expect(await leftOf(stage.store)).toEqual([]);
}

/** Resolves with the running command once it has copied its first range. */
async function begun(signal?: AbortSignal): Promise<{ outcome: Promise<Outcome> }> {
  return new Promise((resolve) => {
    const onWrite = (text: string): void => {
      if (text.includes('"msg":"copied"')) resolve({ outcome });
    };
    const outcome = snapshot(SLOW, { onWrite, ...(signal && { signal }) });
  });
}

describe.each<StageKind>(["file", "s3"])("to a stage of kind %s", (kind) => {
  beforeEach(async () => {
    stage = await openStage(kind);
  });

  it("publishes every table at once, at one point, each beginning with its t row, and leaves nothing in the database", async () => {
    const outcome = await snapshot();
    expect(outcome).toMatchObject({ code: 0, err: "" });
    const reading = await readLog(stage.store);
    expect(reading?.last.sequence).toBe(1);
    expect(reading?.state.endLsn).toBeNull();
    const files = reading?.last.files ?? [];
    expect(new Set(files.map(({ table }) => table))).toEqual(
      new Set(["public.big", "public.bag", "public.empty", "public.parts"]),
    );
    expect(files.filter(({ table }) => table === "public.big").length).toBeGreaterThan(5);
    const points = new Set(files.flatMap(({ firstLsn, lastLsn }) => [firstLsn, lastLsn]));
    expect(points.size).toBe(1);
    for (const { key } of files.filter((file) => file.key.includes("-snapshot-00001"))) {
      const text = gunzipSync((await stage.store.get(key)) ?? Buffer.alloc(0)).toString();
      expect(text.split("\n")[1]).toMatch(new RegExp(`^t,${[...points][0]},0,`));
    }
    expect(await dataFiles(stage.store)).toEqual(files.map(({ key }) => key).toSorted());
    await expectEqual();
    expect(
      await sql(
        "SELECT slot_name::text FROM pg_replication_slots UNION ALL SELECT pubname::text FROM pg_publication",
      ),
    ).toEqual([]);
    const messages = linesOf(outcome).map(({ msg }) => msg);
    expect(messages.filter((msg) => msg === "table copied")).toHaveLength(4);
    expect(messages.at(-1)).toBe("snapshot published");
  });

  it("replaces what an earlier one staged, and forgets dropped tables", async () => {
    expect((await snapshot()).code).toBe(0);
    await sql("DELETE FROM big WHERE id % 2 = 0");
    await sql("TRUNCATE parts");
    await sql("DROP TABLE bag");
    expect((await snapshot()).code).toBe(0);
    await expectEqual();
    const tables = Object.values((await readLog(stage.store))?.state.tables ?? {}).map(
      ({ catalog }) => catalog.name,
    );
    expect(tables.toSorted()).toEqual(["big", "empty", "parts"]);
  });

  it("publishes nothing and leaves nothing staged when it is stopped", async () => {
    const stop = new AbortController();
    const running = await begun(stop.signal);
    stop.abort(new Error("stopped by SIGTERM"));
    const outcome = await running.outcome;
    expect(outcome.code).toBe(1);
    expect(outcome.err).toBe("Stopped before it was done.\n");
    expect(await dataFiles(stage.store)).toEqual([]);
    expect(await readLog(stage.store)).toBeNull();
    expect(await leftOf(stage.store)).toEqual([]);
    expect(await sql("SELECT slot_name FROM pg_replication_slots")).toEqual([]);
    expect((await snapshot()).code).toBe(0);
    await expectEqual();
  });

  it("lets the log decide between two at once: the slower one says so and has published nothing", async () => {
    const slow = await begun();
    expect((await snapshot()).code).toBe(0);
    const published = await dataFiles(stage.store);
    const { code, out } = await slow.outcome;
    expect(code).toBe(3);
    expect(out).toContain(
      "another snapshot, or a daemon, wrote to the stage meanwhile; nothing of this snapshot was published",
    );
    expect(await dataFiles(stage.store)).toEqual(published);
    await expectEqual();
  });

  it("is the beginning of a stream: run copies afresh", async () => {
    expect((await snapshot()).code).toBe(0);
    await sql("UPDATE big SET v = 'between snapshot and run' WHERE id % 2 = 0");
    await sql("DELETE FROM parts WHERE k = 1");
    const daemon = await Daemon.start({ source: server.url(database), stage: stage.env });
    await daemon.untilState("streaming");
    await sql("DELETE FROM big WHERE id % 3 = 0");
    await expectEqualTables();
    await daemon.drain();
    await expectEqual();
    const refused = await snapshot();
    expect(refused.code).toBe(3);
    expect(refused.out).toContain("the stage belongs to a pipeline that streams (slot pgstage");
    expect(refused.out).toContain("pgstage resync --all");
  });

  it("does not let run take over another pipeline's slot", async () => {
    expect((await snapshot()).code).toBe(0);
    await sql("SELECT pg_create_logical_replication_slot('pgstage', 'pgoutput')");
    const daemon = await Daemon.start({ source: server.url(database), stage: stage.env });
    expect((await daemon.exited).code).toBe(3);
    expect(daemon.lastError).toContain("slot pgstage exists, and the stage holds snapshots only");
  });

  it("copies all again when a table is truncated meanwhile", async () => {
    const running = await begun();
    await sql("TRUNCATE big, parts, bag");
    const outcome = await running.outcome;
    expect(outcome.code).toBe(0);
    expect(linesOf(outcome).map(({ msg }) => msg)).toContain(
      "tables changed while they were copied; all are copied again at a later point",
    );
    await expectEqual();
  });
});

describe("to S3", () => {
  beforeEach(async () => {
    stage = await openStage("s3");
  });

  it("publishes in the next run what was recorded and not published before", async () => {
    const fault = stage.s3?.faults.add({
      op: ["CompleteMultipartUpload", "PutObject"],
      key: /\/public\//,
      status: 503,
      code: "SlowDown",
      times: Number.POSITIVE_INFINITY,
    });
    const stop = new AbortController();
    const first = snapshot({}, { signal: stop.signal });
    await fault?.met;
    stop.abort(new Error("stopped by SIGTERM"));
    expect((await first).code).toBe(1);
    expect(await dataFiles(stage.store)).toEqual([]);
    const recorded = (await readLog(stage.store))?.last.files.map(({ key }) => key) ?? [];
    expect(recorded.length).toBeGreaterThan(5);
    fault?.remove();
    expect((await snapshot()).code).toBe(0);
    expect(await dataFiles(stage.store)).toEqual(expect.arrayContaining(recorded));
    await expectEqual();
  });

  it("keeps what is staged for the next run when it cannot tell whether it is recorded", async () => {
    const busy = { status: 503, code: "SlowDown", times: Number.POSITIVE_INFINITY };
    const written = stage.s3?.faults.add({
      ...busy,
      op: "PutObject",
      key: /_pgstage\/log\//,
      afterCommit: true,
    });
    stage.s3?.faults.add({ ...busy, op: "GetObject", key: /_pgstage\/log\// });
    const stop = new AbortController();
    const first = snapshot({}, { signal: stop.signal });
    await written?.met;
    stop.abort(new Error("stopped by SIGTERM"));
    expect((await first).code).toBe(1);
    stage.s3?.faults.clear();
    const recorded = (await readLog(stage.store))?.last.files.map(({ key }) => key) ?? [];
    expect(recorded.length).toBeGreaterThan(5);
    expect((await snapshot()).code).toBe(0);
    expect(await dataFiles(stage.store)).toEqual(expect.arrayContaining(recorded));
    await expectEqual();
  });

  it("copies all again when staged files are gone before they are published", async () => {
    let release = (): void => {};
    const hold = new Promise<void>((resolve) => {
      release = resolve;
    });
    const fault = stage.s3?.faults.add({ op: "PutObject", key: /_pgstage\/log\//, hold });
    const running = snapshot();
    await fault?.met;
    stage.s3?.dropUploads();
    for (const key of stage.s3?.keys("landing/_pgstage/packs/") ?? []) stage.s3?.remove(key);
    release();
    const outcome = await running;
    expect(outcome.code).toBe(0);
    expect(outcome.out).toContain("staged file(s) were gone before they could be published, such as public/");
    await expectEqualTables();
  });

  it("shows one moment of a database in motion", async () => {
    await sql("CREATE TABLE left_side AS SELECT i AS id, 1000 AS amount FROM generate_series(1, 500) i");
    await sql("CREATE TABLE right_side AS SELECT i AS id, 1000 AS amount FROM generate_series(1, 500) i");
    let isOver = false;
    const moving = (async () => {
      const client = await server.connect({ database });
      for (let round = 1; !isOver; round++) {
        await client.query(`WITH a AS (UPDATE left_side SET amount = amount - ${round} WHERE id = ${(round % 500) + 1})
          UPDATE right_side SET amount = amount + ${round} WHERE id = ${((round * 7) % 500) + 1}`);
      }
      await client.end();
    })();
    const { code } = await snapshot({
      PGSTAGE_SOURCE_INCLUDE: "public.*_side",
    });
    isOver = true;
    await moving;
    expect(code).toBe(0);
    let total = 0;
    for (const key of await dataFiles(stage.store)) {
      const rows = gunzipSync((await stage.store.get(key)) ?? Buffer.alloc(0))
        .toString()
        .split("\n")
        .slice(1);
      for (const row of rows) if (row.startsWith("r,")) total += Number(row.split(",").at(-1));
    }
    expect(total).toBe(1_000_000);
  });
});
