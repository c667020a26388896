import { readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { Daemon, killDaemons } from "../support/daemon.ts";
import { POSTGRES_VERSIONS, startPostgres, type EmbeddedPostgres } from "../support/postgres.ts";
import { openDirectory, type TestStage } from "../support/stage.ts";
import { runCheck, type Result } from "./checks.ts";

let stage: TestStage;
beforeEach(async () => {
  stage = await openDirectory();
});
afterEach(async () => {
  await killDaemons();
  await stage[Symbol.asyncDispose]();
});

function check(source: string, more: Record<string, string> = {}): Promise<Result> {
  return runCheck(source, stage, more);
}

describe.each(POSTGRES_VERSIONS)("Postgres %i", (version) => {
  let server: EmbeddedPostgres;
  beforeAll(async () => {
    server = await startPostgres({ version, settings: { max_slot_wal_keep_size: "10GB" } });
    await server.sql("CREATE TABLE t (id int PRIMARY KEY, g int GENERATED ALWAYS AS (id * 2) STORED)");
  });
  afterAll(() => server.destroy());

  it("finds all well, first, while the daemon runs and after it, and leaves nothing behind", async () => {
    const first = await check(server.url());
    expect(first.problems).toEqual([]);
    expect(first.code).toBe(0);
    expect(first.of("server version").found).toMatch(new RegExp(`^Postgres ${version}\\.`));
    expect(first.of("slot").found).toBe("pgstage is not there yet; the first start makes it");
    expect(first.of("publications").found).toBe("pgstage and pgstage_insert_only will be made, for 1 table");
    expect(
      await server.sql(
        "SELECT slot_name::text FROM pg_replication_slots UNION ALL SELECT pubname::text FROM pg_publication",
      ),
    ).toEqual([]);
    const files = await readdir(stage.directory ?? "", { recursive: true, withFileTypes: true });
    expect(files.filter((entry) => entry.isFile())).toEqual([]);

    const daemon = await Daemon.start({ source: server.url(), stage: stage.env });
    await daemon.untilState("streaming");
    const during = await check(server.url());
    expect(during.problems).toEqual([]);
    expect(during.of("slot").found).toMatch(
      /^pgstage is in use by pid \d+: a daemon runs, another one would be its standby$/,
    );
    await daemon.drain();
    const after = await check(server.url());
    expect(after.problems).toEqual([]);
    expect(after.of("slot").found).toMatch(/^pgstage and the log fit; streaming goes on at /);
    expect(after.of("stage log").found).toMatch(/^slot pgstage of database postgres, 1 table, up to /);
    expect(after.of("publications").found).toBe("pgstage publishes all of them");
  });
});

describe("a server that is not ready", () => {
  let server: EmbeddedPostgres;
  beforeAll(async () => {
    server = await startPostgres({
      settings: {
        wal_level: "replica",
        max_replication_slots: "1",
        max_wal_senders: "1",
        max_slot_wal_keep_size: "64MB",
        idle_replication_slot_timeout: "3600",
        synchronous_standby_names: "*",
        synchronous_commit: "local",
      },
    });
    await server.sql("CREATE TABLE t (id int PRIMARY KEY)");
  });
  afterAll(() => server.destroy());

  it("is told all that is wrong with it", async () => {
    const { code, of } = await check(server.url());
    expect(code).toBe(3);
    expect(of("wal_level")).toMatchObject({
      verdict: "fail",
      mend: "ALTER SYSTEM SET wal_level = 'logical'; then restart the server",
    });
    expect(of("replication slots")).toMatchObject({
      verdict: "fail",
      found: "1 of 1 free, 2 needed: one for the pipeline, and one for a moment while tables are copied",
    });
    expect(of("replication slots").mend).toContain("max_replication_slots = '3'");
    expect(of("WAL senders")).toMatchObject({ verdict: "fail", passing: true });
    expect(of("WAL limit")).toMatchObject({ verdict: "warn" });
    expect(of("WAL limit").found).toContain("max_slot_wal_keep_size is 64 MiB");
    expect(of("idle slot timeout")).toMatchObject({
      verdict: "warn",
      found: "idle_replication_slot_timeout is 1 h: the slot is lost when pgstage is down for longer",
    });
    expect(of("synchronous replication")).toMatchObject({ verdict: "fail" });
    expect(of("synchronous replication").found).toContain(
      "synchronous_standby_names = '*' matches pgstage: the application's commits wait until pgstage has staged them",
    );
  });

  it("gets RDS's words on RDS, and Aurora's on Aurora", async () => {
    await server.sql("CREATE ROLE rds_superuser");
    const rds = await check(server.url());
    expect(rds.of("server version").found).toMatch(/ on RDS$/);
    expect(rds.of("wal_level").mend).toBe(
      "set rds.logical_replication = 1 in the DB parameter group and reboot the instance",
    );
    await server.sql("CREATE FUNCTION aurora_version() RETURNS text LANGUAGE sql AS 'SELECT ''16.4.1'''");
    const aurora = await check(server.url());
    expect(aurora.of("wal_level").mend).toBe(
      "set rds.logical_replication = 1 in the DB cluster parameter group and reboot the writer",
    );
  });

  it("stops run with one message, exit 3, no stack", async () => {
    const daemon = await Daemon.start({ source: server.url(), stage: stage.env });
    expect((await daemon.exited).code).toBe(3);
    expect(daemon.lines.filter(({ level }) => level === "error")).toHaveLength(1);
    expect(daemon.lastError).toContain("wal_level: replica: changes cannot be decoded");
    expect(daemon.lastError).not.toContain('"stack"');
  });

  it("is told that a standby is no source", async () => {
    await server.stop();
    await writeFile(join(server.dataDir, "standby.signal"), "");
    // It waits for connections that can write, which never come.
    void server.start().catch(() => {});
    const answers = (): Promise<boolean> => server.sql("SELECT 1").then(Boolean, () => false);
    while (!(await answers())) await delay(50);
    const { of } = await check(server.url());
    expect(of("primary")).toMatchObject({
      verdict: "fail",
      mend: "set source.url to the primary; on Aurora to the cluster's writer endpoint",
    });
    await server.stop();
    await rm(join(server.dataDir, "standby.signal"));
    await server.start();
  });
});
