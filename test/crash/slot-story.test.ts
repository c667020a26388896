import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import type { Daemon } from "../support/daemon.ts";
import { openDirectory } from "../support/stage.ts";
import { newestDocument, until } from "./documents.ts";
import { sceneFor, type Scene } from "./scene.ts";

const newScene = sceneFor({ settings: { autovacuum: "off" } });

const ROWS =
  "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT i, md5(i::text) FROM generate_series(1, 5000) AS i";

/** A pipeline that streams, with some rows in it. */
async function streaming(scene: Scene, settings: Record<string, string> = {}): Promise<Daemon> {
  await scene.sql(ROWS);
  const daemon = await scene.daemon(settings);
  await scene.settled(daemon, { isFlushing: settings["PGSTAGE_FLUSH_INTERVAL"] === undefined });
  await scene.sql("UPDATE t SET v = v || '!' WHERE id % 10 = 0");
  return daemon;
}

/** It stops for a person, and says why and what to do. */
async function stopsFor(daemon: Daemon, why: RegExp, mend: RegExp): Promise<void> {
  expect(await daemon.exited, daemon.story()).toEqual({ code: 3, signal: null });
  expect(daemon.lastError).toMatch(why);
  expect(daemon.lastError).toMatch(mend);
}

/** The way out that the error names ends with a stage that is whole again. */
async function wayOut(scene: Scene): Promise<void> {
  await scene.command("resync", "--all");
  const daemon = await scene.daemon();
  await scene.settled(daemon);
  await daemon.drain();
  await scene.prove();
}

const DROP = `SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = 'pgstage' AND active;
  SELECT pg_drop_replication_slot('pgstage')`;

/** Until we are quicker than the daemon that connects again. */
async function dropSlot(scene: Scene): Promise<void> {
  await until(
    async () =>
      scene.sql(DROP).then(
        () => "dropped",
        (error: Error) => error.message,
      ),
    (outcome) => outcome === "dropped" || outcome.includes("does not exist"),
  );
}

test("a slot that was dropped while we were down", async () => {
  await using scene = await newScene("file");
  await (await streaming(scene)).drain();
  await scene.sql("DELETE FROM t WHERE id < 100");
  await dropSlot(scene);
  await stopsFor(await scene.daemon(), /slot pgstage is gone/, /resync --all/);
  await wayOut(scene);
});

test("a slot that is dropped while we stream", async () => {
  await using scene = await newScene("file");
  const daemon = await streaming(scene);
  await dropSlot(scene);
  await scene.sql("DELETE FROM t WHERE id < 100");
  await stopsFor(daemon, /slot pgstage (is gone|was dropped)/, /resync --all/);
  await wayOut(scene);
});

test("a slot that somebody moved on while we were down", async () => {
  await using scene = await newScene("file");
  await (await streaming(scene)).drain();
  await scene.sql("DELETE FROM t WHERE id < 100");
  await scene.sql("SELECT pg_replication_slot_advance('pgstage', pg_current_wal_lsn())");
  await stopsFor(await scene.daemon(), /moved on/, /resync --all/);
  await wayOut(scene);
});

test("a slot that somebody moves on while we stream, between two connections of ours", async () => {
  await using scene = await newScene("file");
  const daemon = await streaming(scene, { PGSTAGE_FLUSH_INTERVAL: "1h" });
  const staged = (await newestDocument(scene.stage.store)).sequence;
  const move = `SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = 'pgstage' AND active;
    DELETE FROM t WHERE id < 100;
    SELECT pg_replication_slot_advance('pgstage', pg_current_wal_lsn())`;
  await until(
    async () =>
      scene.sql(move).then(
        () => "moved",
        (error: Error) => error.message,
      ),
    (outcome) => outcome === "moved",
  );
  await stopsFor(daemon, /moved on/, /resync --all/);
  // Nothing is staged from a wrong place.
  expect((await newestDocument(scene.stage.store)).sequence).toBe(staged);
  await wayOut(scene);
});

/** Writes more WAL than the server keeps for us, and lets it throw the rest away. */
async function loseSlot(scene: Scene): Promise<void> {
  await scene.sql("CREATE TABLE IF NOT EXISTS waste (v text)");
  for (let i = 0; i < 4; i++) {
    await scene.sql("INSERT INTO waste SELECT 'x'");
    await scene.sql("SELECT pg_switch_wal()");
  }
  await scene.sql("CHECKPOINT");
  const [slot] = await scene.sql<{ status: string }>(
    "SELECT wal_status AS status FROM pg_replication_slots WHERE slot_name = 'pgstage'",
  );
  expect(slot?.status).toBe("lost");
}

async function keepLittleWal(scene: Scene): Promise<AsyncDisposable> {
  await scene.sql("ALTER SYSTEM SET max_slot_wal_keep_size = '1MB'");
  await scene.sql("SELECT pg_reload_conf()");
  return {
    async [Symbol.asyncDispose]() {
      await scene.sql("ALTER SYSTEM RESET max_slot_wal_keep_size");
      await scene.sql("SELECT pg_reload_conf()");
    },
  };
}

test("a slot that the server gave up while we were down", async () => {
  await using scene = await newScene("file");
  await (await streaming(scene)).drain();
  {
    await using _little = await keepLittleWal(scene);
    await loseSlot(scene);
  }
  await stopsFor(await scene.daemon(), /invalidated|WAL/, /max_slot_wal_keep_size/);
  await wayOut(scene);
});

for (const phase of ["streaming", "copying"] as const) {
  test(`a slot that the server gives up while we are ${phase} too slowly`, async () => {
    await using scene = await newScene("file");
    let daemon: Daemon;
    if (phase === "streaming") {
      daemon = await streaming(scene);
    } else {
      await scene.sql(ROWS);
      daemon = await scene.daemon({ PGSTAGE_SNAPSHOT_MAX_BYTES_PER_SECOND: "64KiB" });
      await daemon.untilState("copying");
      await daemon.line("copied");
    }
    daemon.signal("SIGSTOP");
    {
      await using _little = await keepLittleWal(scene);
      await loseSlot(scene);
    }
    daemon.signal("SIGCONT");
    await stopsFor(daemon, /invalidated|WAL/, /resync --all/);
    await wayOut(scene);
  });
}

test("a server crash that moves the slot back doubles nothing", async () => {
  await using scene = await newScene("file");
  const daemon = await streaming(scene);
  await scene.sql("CHECKPOINT");
  const [slot] = await readdir(join(scene.server.dataDir, "pg_replslot"));
  const saved = join(scene.server.dataDir, "pg_replslot", slot ?? "", "state");
  const then = await readFile(saved);
  for (let i = 0; i < 5; i++) {
    const { totals } = await daemon.until(({ lag }) => lag.open_rows === 0, "staged");
    await scene.sql(`UPDATE t SET v = '${i}' WHERE id <= 500`);
    await daemon.until((status) => status.totals.batches > totals.batches, "staged");
  }
  const { endLsn } = await newestDocument(scene.stage.store);
  const before = await until(
    () => scene.slot(),
    (one) => one !== undefined && lsnNumber(one.confirmed) >= lsnNumber(endLsn ?? "0/0"),
  );
  await daemon.kill();
  await scene.server.stop("immediate");
  // Postgres saves a slot at checkpoints, and now and then between them.
  await writeFile(saved, then);
  await scene.server.start();
  const after = await scene.slot();
  expect(lsnNumber(after?.confirmed ?? "0/0")).toBeLessThan(lsnNumber(before?.confirmed ?? "0/0"));
  await scene.drainAndProve(await scene.daemon());
});

function lsnNumber(lsn: string): number {
  const [high = "0", low = "0"] = lsn.split("/");
  return Number.parseInt(high, 16) * 2 ** 32 + Number.parseInt(low, 16);
}

test("another database on the same stage is refused", async () => {
  await using scene = await newScene("file");
  await (await streaming(scene)).drain();
  const other = await scene.server.createDatabase();
  const daemon = await scene.daemon({ PGSTAGE_SOURCE_SLOT: "other" }, scene.server.url(other));
  await stopsFor(daemon, /belongs to/, /stage\.url|source\.url/);
  await using third = await openDirectory();
  await using second = await newScene(third);
  await (await streaming(second)).drain();
  const wrong = await second.daemon({}, scene.url);
  await stopsFor(wrong, /belongs to/, /stage\.url|source\.url/);
});

test("the way out is taken twice while the server is idle", async () => {
  await using scene = await newScene("file");
  await (await streaming(scene)).drain();
  await scene.command("resync", "--all");
  await wayOut(scene);
});
