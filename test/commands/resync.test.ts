import { execFile } from "node:child_process";
import { rename, rm } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import { afterEach, describe, expect, it } from "vitest";
import { readLog } from "../../src/delivery/log.ts";
import { Daemon, killDaemons } from "../support/daemon.ts";
import { startPostgres, type EmbeddedPostgres, type PostgresOptions } from "../support/postgres.ts";
import { compareStageWithSource, differences } from "../support/rebuild.ts";
import { openDirectory, type TestStage } from "../support/stage.ts";
import { pgstage, settingsFor, type Outcome } from "./support.ts";

const run = promisify(execFile);
const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  await killDaemons();
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

async function serverWith(tables: string, options: PostgresOptions = {}): Promise<EmbeddedPostgres> {
  const server = await startPostgres(options);
  cleanups.push(() => server.destroy());
  for (const statement of tables.split(";")) await server.sql(statement);
  return server;
}

async function newStage(): Promise<TestStage> {
  const stage = await openDirectory();
  cleanups.push(async () => stage[Symbol.asyncDispose]());
  return stage;
}

function resync(args: readonly string[], server: EmbeddedPostgres, stage: TestStage): Promise<Outcome> {
  return pgstage(["resync", ...args], settingsFor(server.url(), stage));
}

const TABLES = `CREATE TABLE orders (id int PRIMARY KEY, v text);
  INSERT INTO orders SELECT i, repeat('x', i % 100) FROM generate_series(1, 5000) i;
  CREATE TABLE "Odd ""name.1" (id int PRIMARY KEY);
  INSERT INTO "Odd ""name.1" VALUES (1)`;

async function isEqual(server: EmbeddedPostgres, stage: TestStage): Promise<void> {
  const verdict = await compareStageWithSource(stage.store, server.url(), { timeoutMs: 60_000 });
  expect(differences(verdict)).toEqual([]);
}

/** Writes without end until it is told to stop. */
function load(server: EmbeddedPostgres): { stop(): Promise<void> } {
  let isOver = false;
  const writing = (async () => {
    const client = await server.connect();
    for (let round = 1; !isOver; round++) {
      await client.query(`UPDATE orders SET v = v || 'y' WHERE id % 500 = ${round % 500}`);
      await client.query(`INSERT INTO orders VALUES (${5000 + round}, 'new')`);
      await client.query(`DELETE FROM orders WHERE id = ${round}`);
    }
    await client.end();
  })();
  writing.catch(() => {}); // told to whoever stops it
  return {
    async stop() {
      isOver = true;
      await writing;
    },
  };
}

describe("with a daemon", () => {
  it("copies the named tables afresh under load, and the stage stays exact", async () => {
    const server = await serverWith(TABLES);
    const stage = await newStage();
    const daemon = await Daemon.start({ source: server.url(), stage: stage.env });
    await daemon.untilState("streaming");
    const work = load(server);
    const before = daemon.lines.length;
    const { code, out, err } = await resync(["ORDERS", '"Odd ""name.1"'], server, stage);
    expect(err).toBe("");
    expect(code).toBe(0);
    expect(out).toContain(
      'The daemon copies 2 tables afresh, while changes go on being staged:\n  public.orders\n  public.Odd "name.1\n',
    );
    for (const table of ["public.orders", 'public.Odd "name.1']) {
      await daemon.line((line) => line.msg === "table copied" && line["table"] === table, before);
    }
    await work.stop();
    await isEqual(server, stage);
    await daemon.drain();
    expect(await stage.changedKeys()).toEqual([]);
  });

  it("names what it does not know, with a suggestion, and asks for nothing then", async () => {
    const server = await serverWith(TABLES);
    const stage = await newStage();
    const daemon = await Daemon.start({ source: server.url(), stage: stage.env });
    await daemon.untilState("streaming");
    const { code, err } = await resync(["public.orders", "ordres"], server, stage);
    expect(code).toBe(3);
    expect(err).toContain(
      "no captured table is called ordres (did you mean public.orders?); nothing was asked for",
    );
    expect(daemon.lines.filter(({ msg }) => msg === "resync asked for")).toEqual([]);
    await daemon.drain();
  });

  it("takes --all, and more names than a request holds", async () => {
    const many = Array.from(
      { length: 200 },
      (_, i) => `CREATE TABLE ${"t".repeat(50)}${i} (id int PRIMARY KEY)`,
    );
    const server = await serverWith(many.join(";"));
    const stage = await newStage();
    const daemon = await Daemon.start({ source: server.url(), stage: stage.env });
    await daemon.untilState("streaming");
    const globbed = await resync(["*"], server, stage);
    expect(globbed.code).toBe(0);
    expect(globbed.out).toContain("The daemon copies 200 tables afresh");
    const asked = daemon.lines
      .filter(({ msg }) => msg === "resync asked for")
      .map((line) => line["tables"] as string[]);
    expect(asked.length).toBeGreaterThan(1);
    expect(asked.flat()).toHaveLength(200);
    const before = daemon.lines.length;
    expect((await resync(["--all"], server, stage)).code).toBe(0);
    expect((await daemon.line("resync asked for", before))["tables"]).toBe("all");
    await daemon.drain();
  });
});

it("refuses contradictory arguments, and tables without a daemon", async () => {
  const server = await serverWith("SELECT 1");
  const stage = await newStage();
  expect((await resync([], server, stage)).code).toBe(2);
  expect((await resync(["--all", "t"], server, stage)).code).toBe(2);
  expect((await resync(["--new-source", "t"], server, stage)).code).toBe(2);
  const { code, err } = await resync(["t"], server, stage);
  expect(code).toBe(3);
  expect(err).toContain("no daemon holds the slot pgstage, so nobody would copy");
  expect((await resync(["--all"], server, stage)).err).toContain(
    "has no log, so there is nothing to copy afresh",
  );
});

describe("--all without a daemon", () => {
  /** Runs a daemon until it has staged what there is. */
  async function drained(server: EmbeddedPostgres, stage: TestStage): Promise<void> {
    const daemon = await Daemon.start({ source: server.url(), stage: stage.env });
    await daemon.untilState("streaming");
    await daemon.drain();
  }

  async function refusal(server: EmbeddedPostgres, stage: TestStage): Promise<string> {
    const daemon = await Daemon.start({ source: server.url(), stage: stage.env });
    expect((await daemon.exited).code).toBe(3);
    return daemon.lastError;
  }

  async function mended(server: EmbeddedPostgres, stage: TestStage): Promise<void> {
    const { code, out, err } = await resync(["--all"], server, stage);
    expect(err).toBe("");
    expect(code).toBe(0);
    expect(out).toMatch(
      /Changes are kept from [0-9A-F]{8}\/[0-9A-F]{8} on\. Start `pgstage run` soon: it copies 2 tables afresh/,
    );
    await server.sql("INSERT INTO orders SELECT min(id) - 1, 'between resync and run' FROM orders");
    await drained(server, stage);
    await isEqual(server, stage);
    expect(await stage.changedKeys()).toEqual([]);
  }

  it("makes up for a slot that was dropped", async () => {
    const server = await serverWith(TABLES);
    const stage = await newStage();
    await drained(server, stage);
    await stage.changedKeys();
    await server.sql("SELECT pg_drop_replication_slot('pgstage')");
    await server.sql("DELETE FROM orders WHERE id % 3 = 0");
    await server.sql("UPDATE orders SET v = 'while no slot was there' WHERE id % 3 = 1");
    expect(await refusal(server, stage)).toContain("slot pgstage is gone");
    await mended(server, stage);
  });

  it("makes up for a slot that was moved on, and after teardown", async () => {
    const server = await serverWith(TABLES);
    const stage = await newStage();
    await drained(server, stage);
    await stage.changedKeys();
    await server.sql("DELETE FROM orders WHERE id % 3 = 0");
    await server.sql("SELECT pg_replication_slot_advance('pgstage', pg_current_wal_lsn())");
    expect(await refusal(server, stage)).toContain("was moved on to");
    await mended(server, stage);
    expect((await pgstage(["teardown", "--yes"], settingsFor(server.url(), stage))).code).toBe(0);
    await server.sql("DELETE FROM orders WHERE id % 3 = 1");
    expect(await refusal(server, stage)).toContain("slot pgstage is gone");
    await mended(server, stage);
  });

  it("makes up for a slot that the server gave up for its WAL", async () => {
    const server = await serverWith(TABLES, {
      settings: { max_slot_wal_keep_size: "1MB", min_wal_size: "32MB", max_wal_size: "32MB" },
    });
    const stage = await newStage();
    await drained(server, stage);
    await stage.changedKeys();
    const lost = async (): Promise<boolean> => {
      const [row] = await server.sql<{ wal_status: string }>("SELECT wal_status FROM pg_replication_slots");
      return row?.wal_status === "lost";
    };
    for (let round = 0; !(await lost()); round++) {
      expect(round).toBeLessThan(100);
      await server.sql("UPDATE orders SET v = v || 'z' WHERE id % 2 = 0");
      await server.sql("SELECT pg_switch_wal()");
      await server.sql("CHECKPOINT");
      await delay(0);
    }
    expect(await refusal(server, stage)).toContain("was invalidated by the server");
    await mended(server, stage);
  });

  it("asks no daemon of another stage", async () => {
    const server = await serverWith(TABLES);
    const stage = await newStage();
    const daemon = await Daemon.start({ source: server.url(), stage: stage.env });
    await daemon.untilState("streaming");
    const { code, err } = await resync(["--all"], server, await newStage());
    expect(code).toBe(3);
    expect(err).toContain("a daemon holds the slot pgstage, but the stage");
    expect(daemon.lines.filter(({ msg }) => msg === "resync asked for")).toEqual([]);
    await daemon.drain();
  });

  it.each([
    ["its WAL stands before the stage's", "", "it stands at"],
    ["its timeline branched off before the stage's end", "recovery.signal", "its timeline 2 branched at"],
  ])("refuses a source that was restored: %s, until it is beyond", async (_, signalFile, why) => {
    const server = await serverWith(TABLES, { settings: { restore_command: "false" } });
    const stage = await newStage();
    await drained(server, stage);
    await server.stop();
    await run("cp", ["-a", server.dataDir, `${server.dataDir}.backup`]);
    await server.start();
    await server.sql("DELETE FROM orders WHERE id % 2 = 0");
    await server.sql("SELECT pg_switch_wal(), txid_current()");
    await server.sql("DELETE FROM orders WHERE id % 3 = 0");
    await drained(server, stage);
    await stage.changedKeys();
    await server.stop();
    await rm(server.dataDir, { recursive: true });
    await rename(`${server.dataDir}.backup`, server.dataDir);
    if (signalFile !== "")
      await run("cp", ["-a", `${server.dataDir}/PG_VERSION`, `${server.dataDir}/${signalFile}`]);
    await server.start();
    const isPrimary = async (): Promise<boolean> =>
      (await server.sql<{ yes: boolean }>("SELECT NOT pg_is_in_recovery() AS yes"))[0]?.yes === true;
    while (!(await isPrimary())) await delay(20);

    expect(await refusal(server, stage)).toContain("the source went back in time");
    expect(await refusal(server, stage)).toContain(why);
    const early = await resync(["--all"], server, stage);
    expect(early.code).toBe(3);
    expect(early.err).toContain("use another stage.url for this source");
    for (let i = 0; i < 3; i++) await server.sql("SELECT pg_switch_wal(), txid_current()");
    await server.sql("DELETE FROM orders WHERE id % 5 = 0");
    if (signalFile !== "") await mended(server, stage);
  });

  it("takes over from another server only if it is told so, and only if its positions are beyond the stage's", async () => {
    const first = await serverWith(TABLES);
    for (let i = 0; i < 3; i++) await first.sql("SELECT pg_switch_wal(), txid_current()");
    const stage = await newStage();
    await drained(first, stage);
    await stage.changedKeys();
    const second = await serverWith(`${TABLES}; DELETE FROM orders WHERE id < 100`);
    const lsnOf = async (server: EmbeddedPostgres): Promise<bigint> => {
      const [row] = await server.sql<{ lsn: string }>(
        "SELECT (pg_current_wal_flush_lsn() - '0/0')::text AS lsn",
      );
      return BigInt(row?.lsn ?? 0);
    };
    const plain = await resync(["--all"], second, stage);
    expect(plain.code).toBe(3);
    expect(plain.err).toContain("the stage belongs to database postgres of system");
    const end = BigInt(`0x${((await readLog(stage.store))?.state.endLsn ?? "").replace("/", "")}`);
    expect(await lsnOf(second)).toBeLessThan(end);
    const early = await resync(["--all", "--new-source"], second, stage);
    expect(early.code).toBe(3);
    expect(early.err).toMatch(/the source stands at .*, before what the stage holds/);
    expect(early.err).toContain("use another stage.url for this source");
    while ((await lsnOf(second)) <= end) await second.sql("SELECT pg_switch_wal(), txid_current()");
    const late = await resync(["--all", "--new-source"], second, stage);
    expect(late).toMatchObject({ code: 0, err: "" });
    await drained(second, stage);
    await isEqual(second, stage);
    expect(await stage.changedKeys()).toEqual([]);
  });
});
