import { appendFile, chown, cp, readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import pg from "pg";
import { afterEach, expect, test } from "vitest";
import { usableBinaries } from "../../src/embedded/binaries.ts";
import { freePort } from "../../src/embedded/ports.ts";
import { Postmaster } from "../../src/embedded/postmaster.ts";
import { makeScratch, serverUser, type ServerUser } from "../../src/embedded/user.ts";
import { watchServer } from "../../src/embedded/watchdog.ts";
import { Daemon, killDaemons } from "../support/daemon.ts";
import { startPostgres, type EmbeddedPostgres } from "../support/postgres.ts";
import { compareStageWithSource, differences } from "../support/rebuild.ts";
import { openDirectory } from "../support/stage.ts";
import { until } from "./documents.ts";

afterEach(killDaemons);

const VERSIONS = [17, 18] as const;

/** A standby made from the files of a server that is stopped for the moment. */
class Standby implements AsyncDisposable {
  readonly url: string;
  readonly #postmaster: Postmaster;
  readonly #scratch: string;
  readonly #release: () => void;

  private constructor(parts: { url: string; postmaster: Postmaster; scratch: string; release: () => void }) {
    this.url = parts.url;
    this.#postmaster = parts.postmaster;
    this.#scratch = parts.scratch;
    this.#release = parts.release;
  }

  /** `primary` is stopped and started; its database is the one whose slots are synchronized. */
  static async of(primary: EmbeddedPostgres, version: (typeof VERSIONS)[number]): Promise<Standby> {
    const user = await serverUser();
    const scratch = await makeScratch(user, []);
    const dataDir = join(scratch, "data");
    const release = watchServer(dataDir, scratch);
    await primary.stop("fast");
    await cp(primary.dataDir, dataDir, { recursive: true, preserveTimestamps: true });
    await primary.start();
    await rm(join(dataDir, "postmaster.pid"), { force: true });
    await writeFile(join(dataDir, "standby.signal"), "");
    const settings = {
      primary_conninfo: `host=127.0.0.1 port=${primary.port} user=postgres dbname=postgres`,
      primary_slot_name: "standby",
      sync_replication_slots: "on",
      hot_standby_feedback: "on",
      wal_receiver_status_interval: "1s",
      synchronized_standby_slots: "",
    };
    const lines = Object.entries(settings).map(([name, value]) => `${name} = '${value}'\n`);
    await appendFile(join(dataDir, "postgresql.auto.conf"), lines.join(""));
    await own(dataDir, user);
    const native = await usableBinaries({ version, user, scratch });
    const postmaster = new Postmaster(join(native, "bin/postgres"), dataDir, user);
    const port = await freePort();
    await postmaster.start(port);
    return new Standby({ url: `postgres://postgres@127.0.0.1:${port}`, postmaster, scratch, release });
  }

  async sql<Row extends object>(text: string, database = "postgres"): Promise<Row[]> {
    const client = new pg.Client({ connectionString: `${this.url}/${database}` });
    await client.connect();
    try {
      return (await client.query<Row>(text)).rows;
    } finally {
      await client.end();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#postmaster.kill();
    this.#release();
    await rm(this.#scratch, { recursive: true, force: true, maxRetries: 3 });
  }
}

/** What was copied belongs to us; the server insists on its own. */
async function own(path: string, user: ServerUser): Promise<void> {
  if (user.uid === undefined) return;
  for (const entry of await readdir(path, { recursive: true }))
    await chown(join(path, entry), user.uid, user.gid);
  await chown(path, user.uid, user.gid);
}

for (const version of VERSIONS) {
  test(
    `a promoted standby with a synchronized slot goes on without loss on ${version}`,
    { timeout: 120_000 },
    async () => {
      await using primary = await startPostgres({ version });
      await using stage = await openDirectory();
      await primary.sql("SELECT pg_create_physical_replication_slot('standby', true)");
      await primary.sql("ALTER SYSTEM SET synchronized_standby_slots = 'standby'");
      await using standby = await Standby.of(primary, version);
      await primary.sql(
        "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT i, 'first' FROM generate_series(1, 1000) AS i",
      );
      const daemon = await Daemon.start({ source: primary.url(), stage: stage.env });
      await daemon.untilState("streaming");
      await primary.sql("UPDATE t SET v = 'second' WHERE id % 2 = 0");
      // A synchronized slot is only good for a failover once it is persistent, and our position has reached it.
      const synced = async (): Promise<string> => {
        await primary.sql("UPDATE t SET v = v || '.' WHERE id = 500; SELECT pg_log_standby_snapshot()");
        const [slot] = await standby.sql<{ ready: boolean }>(
          "SELECT synced AND NOT temporary AND invalidation_reason IS NULL AS ready FROM pg_replication_slots WHERE slot_name = 'pgstage'",
        );
        return slot?.ready === true ? "ready" : "not yet";
      };
      await until(synced, (answer) => answer === "ready", 60_000);
      await primary.sql("DELETE FROM t WHERE id <= 100");
      await daemon.until(({ lag }) => lag.open_rows === 0, "staged");
      await until(
        () => standby.sql<{ count: number }>("SELECT count(*)::int AS count FROM t"),
        ([row]) => row?.count === 900,
      );
      await primary.stop("immediate");
      await daemon.kill();
      await standby.sql("SELECT pg_promote()");
      await standby.sql("INSERT INTO t SELECT i, 'after' FROM generate_series(2000, 2100) AS i");
      const next = await Daemon.start({ source: `${standby.url}/postgres`, stage: stage.env });
      await next.line("started");
      await next.until(({ state, lag }) => state === "streaming" && lag.lag_bytes === 0, "caught up");
      await next.drain();
      expect(next.lines.some(({ msg }) => msg === "table copied afresh")).toBe(false);
      expect(differences(await compareStageWithSource(stage.store, `${standby.url}/postgres`))).toEqual([]);
      expect(await stage.changedKeys()).toEqual([]);
    },
  );
}
