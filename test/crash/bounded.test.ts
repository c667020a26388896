import { expect, test } from "vitest";
import type { Daemon } from "../support/daemon.ts";
import { sceneFor, type Scene } from "./scene.ts";

/** `npm run soak` has the large numbers. */
const ROWS = Number(process.env["BOUNDED_ROWS"] ?? 1_000_000);
const TABLES = Number(process.env["BOUNDED_TABLES"] ?? 1_000);

const MIB = 1024 * 1024;
/** memory.max by default. */
const LIMIT_BYTES = 256 * MIB;

const newScene = sceneFor({
  settings: { shared_buffers: "256MB", max_wal_size: "4GB", max_locks_per_transaction: "512" },
});

/** What production has, but for the time it waits. */
const PRODUCTION = {
  PGSTAGE_FLUSH_INTERVAL: "1s",
  PGSTAGE_FILE_MAX_BYTES: "512MiB",
  PGSTAGE_SNAPSHOT_RANGE_BYTES: "256MiB",
  PGSTAGE_LOG_LEVEL: "info",
};

const SEVERAL_MINUTES = 240_000;

async function isStaged(daemon: Daemon, rows: number): Promise<void> {
  await daemon.until(
    ({ totals, lag }) => totals.rows >= rows && lag.open_rows === 0,
    `${rows} rows staged`,
    SEVERAL_MINUTES,
  );
}

/** Rows that the daemon has staged since it started. */
async function stagedRows(daemon: Daemon): Promise<number> {
  return (await daemon.status())?.totals.rows ?? 0;
}

async function expectBounded(daemon: Daemon, what: string, limitBytes = LIMIT_BYTES): Promise<void> {
  const peak = await daemon.peakBytes();
  console.log(`${what}: peak ${Math.round(peak / MIB)} MiB of ${Math.round(limitBytes / MIB)} MiB`);
  expect(peak, what).toBeLessThan(limitBytes);
}

async function begin(scene: Scene, settings: Record<string, string> = {}): Promise<Daemon> {
  const daemon = await scene.daemon({ ...PRODUCTION, ...settings });
  await scene.settled(daemon);
  return daemon;
}

for (const kind of ["file", "s3"] as const) {
  test(
    `a transaction of ${ROWS} rows over three tables stays within memory.max on ${kind}://`,
    { timeout: 2 * SEVERAL_MINUTES },
    async () => {
      await using scene = await newScene(kind);
      await scene.sql(
        "CREATE TABLE a (id int PRIMARY KEY, v text, n numeric); CREATE TABLE b (id int PRIMARY KEY, v text); CREATE TABLE c (id int PRIMARY KEY)",
      );
      const daemon = await begin(scene);
      const before = await stagedRows(daemon);
      await scene.sql(`BEGIN;
      INSERT INTO a SELECT i, md5(i::text) || md5((i * 7)::text), i * 1.1 FROM generate_series(1, ${ROWS * 0.6}) AS i;
      INSERT INTO b SELECT i, md5(i::text) FROM generate_series(1, ${ROWS * 0.2}) AS i;
      INSERT INTO c SELECT generate_series(1, ${ROWS * 0.2});
      COMMIT`);
      await isStaged(daemon, before + ROWS);
      await expectBounded(daemon, `${ROWS} rows in one transaction, ${kind}`);
      await scene.drainAndProve(daemon);
    },
  );
}

test("a table of as many rows is copied within memory.max", { timeout: 2 * SEVERAL_MINUTES }, async () => {
  await using scene = await newScene("s3");
  await scene.sql(`CREATE TABLE a (id int PRIMARY KEY, v text, n numeric);
    INSERT INTO a SELECT i, md5(i::text) || md5((i * 7)::text), i * 1.1 FROM generate_series(1, ${ROWS}) AS i`);
  const daemon = await begin(scene, { PGSTAGE_SNAPSHOT_RANGE_BYTES: "16MiB" });
  await expectBounded(daemon, `${ROWS} rows copied`);
  await scene.drainAndProve(daemon);
});

test(
  `${TABLES} tables in one transaction stay within memory.max`,
  { timeout: 2 * SEVERAL_MINUTES },
  async () => {
    await using scene = await newScene("s3");
    await scene.sql(`DO $$ BEGIN FOR i IN 1..${TABLES} LOOP
    EXECUTE format('CREATE TABLE many_%s (id int PRIMARY KEY, v text)', i); END LOOP; END $$`);
    const daemon = await scene.daemon({ ...PRODUCTION, PGSTAGE_DISCOVERY_INTERVAL: "2s" });
    await scene.settled(daemon, { withinMs: SEVERAL_MINUTES });
    await expectBounded(daemon, `${TABLES} tables copied`);
    const before = await stagedRows(daemon);
    await scene.sql(`DO $$ BEGIN FOR j IN 1..3 LOOP FOR i IN 1..${TABLES} LOOP
    EXECUTE format('INSERT INTO many_%s SELECT %s * 100 + n, repeat(md5(n::text), 10) FROM generate_series(1, 20) AS n', i, j); END LOOP; END LOOP; END $$`);
    await isStaged(daemon, before + TABLES * 60);
    await expectBounded(daemon, `${TABLES} tables in one transaction`);
    await scene.drainAndProve(daemon);
  },
);

/** Does not compress: base64 of random bytes, `mib` MiB of it. */
const wide = (mib: number): string =>
  `(SELECT string_agg(encode(sha512((random()::text || i)::bytea), 'hex'), '') FROM generate_series(1, ${mib * 8192}) AS i)`;

const WIDE_TABLE =
  "CREATE TABLE wide (id int PRIMARY KEY, v text, n int); ALTER TABLE wide ALTER v SET STORAGE EXTERNAL";

test(
  "rows of 16 MiB are copied and streamed within memory.max",
  { timeout: 2 * SEVERAL_MINUTES },
  async () => {
    await using scene = await newScene("s3");
    await scene.sql(WIDE_TABLE);
    for (let i = 1; i <= 4; i++) await scene.sql(`INSERT INTO wide VALUES (${i}, ${wide(16)}, 0)`);
    const daemon = await begin(scene);
    await expectBounded(daemon, "4 rows of 16 MiB copied");
    const before = await stagedRows(daemon);
    for (let i = 5; i <= 8; i++) await scene.sql(`INSERT INTO wide VALUES (${i}, ${wide(16)}, 0)`);
    await isStaged(daemon, before + 4);
    await expectBounded(daemon, "4 rows of 16 MiB streamed");
    await scene.sql("UPDATE wide SET id = id + 100 WHERE id IN (1, 2)");
    await isStaged(daemon, before + 8);
    await expectBounded(daemon, "2 of them with a new key");
    await scene.drainAndProve(daemon);
  },
);

test.each(["copied", "streamed"])(
  "a row of 60 MiB that is %s passes, and is announced",
  { timeout: 2 * SEVERAL_MINUTES },
  async (way) => {
    await using scene = await newScene("s3");
    await scene.sql(WIDE_TABLE);
    const insert = (): Promise<unknown> => scene.sql(`INSERT INTO wide VALUES (4711, ${wide(60)}, 0)`);
    if (way === "copied") await insert();
    const daemon = await begin(scene);
    if (way === "streamed") {
      await insert();
      await isStaged(daemon, 1);
    }
    const line = await daemon.line(
      ({ level, table }) => level === "warn" && String(table).startsWith("public.wide"),
    );
    expect(JSON.stringify(line)).toContain("4711");
    // In proportion to itself: received, written as CSV, compressed.
    await expectBounded(daemon, `a row of 60 MiB, ${way}`, LIMIT_BYTES + 6 * 60 * MIB);
    await scene.drainAndProve(daemon);
  },
);

test(
  "a store that is slow for a while makes the database wait, not our memory grow",
  { timeout: 2 * SEVERAL_MINUTES },
  async () => {
    await using scene = await newScene("s3");
    const { s3 } = scene.stage;
    await scene.sql("CREATE TABLE t (id serial PRIMARY KEY, v text)");
    const daemon = await begin(scene);
    const before = await stagedRows(daemon);
    const slow = s3?.faults.add({
      op: ["UploadPart", "PutObject", "CompleteMultipartUpload"],
      delayMs: 4_000,
      times: Number.POSITIVE_INFINITY,
    });
    for (let i = 0; i < 10; i++) {
      await scene.sql(`INSERT INTO t (v) SELECT ${wide(1)} FROM generate_series(1, 40)`);
    }
    expect((await daemon.status())?.state).toBe("streaming");
    slow?.remove();
    await isStaged(daemon, before + 400);
    await expectBounded(daemon, "400 MB while the store took 4 s for every request");
    expect(daemon.lines.some(({ msg }) => msg === "the pipeline starts again")).toBe(false);
    await scene.drainAndProve(daemon);
  },
);
