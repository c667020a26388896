import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { preflight, type Check } from "../../src/daemon/preflight.ts";
import { loadSettings } from "../../src/settings/load.ts";
import { Daemon, killDaemons } from "../support/daemon.ts";
import { startPostgres, type EmbeddedPostgres } from "../support/postgres.ts";
import { openBucket, openDirectory, type TestStage } from "../support/stage.ts";
import { runCheck, type Result } from "./checks.ts";
import { pgstage, settingsFor } from "./support.ts";

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

describe("a role and its tables", () => {
  let server: EmbeddedPostgres;
  let database: string;
  beforeAll(async () => {
    server = await startPostgres({
      settings: { max_slot_wal_keep_size: "10GB", max_prepared_transactions: "5" },
    });
    await server.sql("CREATE ROLE loader LOGIN REPLICATION");
    await server.sql("GRANT pg_read_all_stats TO loader");
    await server.sql("CREATE ROLE app");
  });
  afterAll(() => server.destroy());
  beforeEach(async () => {
    database = await server.createDatabase();
    await sql("REVOKE app FROM loader");
    await sql("CREATE TABLE orders (id int PRIMARY KEY, v text)");
    await sql("ALTER TABLE orders OWNER TO app");
  });

  async function sql(text: string): Promise<void> {
    await server.sql(text, [], { database });
  }

  function as(user: string, more: Record<string, string> = {}): Promise<Result> {
    return check(server.url(database, user), more);
  }

  const DBA = { PGSTAGE_SOURCE_MANAGE: "false" };

  it("names each right that is missing, until none is", async () => {
    await server.sql("ALTER ROLE loader NOREPLICATION");
    expect((await as("loader")).of("replication")).toMatchObject({ verdict: "fail" });
    expect((await as("loader")).of("replication").mend).toContain(
      'ALTER ROLE "loader" REPLICATION; on RDS: GRANT rds_replication TO "loader"',
    );
    await server.sql("ALTER ROLE loader REPLICATION");

    const bare = await as("loader");
    expect(bare.code).toBe(3);
    expect(bare.of("SELECT")).toMatchObject({ verdict: "fail", found: "loader may not read public.orders" });
    expect(bare.of("SELECT").mend).toContain('GRANT SELECT ON "public"."orders" TO "loader"');
    const publications = bare.of("publications");
    expect(publications.found).toBe(
      "loader may not create pgstage and pgstage_insert_only; only a table's owner may publish it, and loader does not own public.orders",
    );
    expect(publications.mend).toContain(
      `GRANT CREATE ON DATABASE "${database}" TO "loader"; GRANT "app" TO "loader"; or let a DBA run this`,
    );
    await sql(`GRANT CREATE ON DATABASE "${database}" TO loader`);
    await sql("GRANT app TO loader");
    expect((await as("loader")).problems).toEqual([]);
    await sql("REVOKE app FROM loader");

    await sql("REVOKE USAGE ON SCHEMA public FROM public");
    expect((await as("loader")).of("schemas")).toMatchObject({
      verdict: "fail",
      mend: 'GRANT USAGE ON SCHEMA "public" TO "loader"',
    });
  });

  it("finds row-level security that would make a copy partial", async () => {
    await sql("GRANT SELECT ON orders TO loader");
    await sql("ALTER TABLE orders ENABLE ROW LEVEL SECURITY");
    const { of } = await as("loader", DBA);
    expect(of("row security")).toMatchObject({ verdict: "fail" });
    expect(of("row security").found).toContain("row-level security hides rows of public.orders from loader");
    expect(of("row security").mend).toContain('ALTER ROLE "loader" BYPASSRLS');
    expect((await as("postgres")).of("row security").verdict).toBe("ok");
  });

  it("gives the DBA statements that make everything right", async () => {
    await sql("CREATE TABLE log_lines (line text)");
    await sql("CREATE TABLE parts (id int PRIMARY KEY) PARTITION BY RANGE (id)");
    await sql("CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (10)");
    await sql("GRANT SELECT ON ALL TABLES IN SCHEMA public TO loader");
    const missing = (await as("loader", DBA)).of("publications");
    expect(missing).toMatchObject({
      verdict: "fail",
      found: "publication pgstage does not exist, and source.manage is false",
    });
    const statements = missing.mend.split("\n").slice(1);
    expect(statements).toHaveLength(2);
    for (const statement of statements) await sql(statement);
    const made = await as("loader", DBA);
    expect(made.problems).toEqual(["warn replica identity"]);
    expect(made.of("source.manage").found).toContain("by itself pgstage does not: publish new tables");

    await sql("CREATE TABLE late (id int PRIMARY KEY)");
    await sql("GRANT SELECT ON late TO loader");
    const late = (await as("loader", DBA)).of("publications");
    expect(late).toMatchObject({ verdict: "warn", found: "public.late: in no publication, so not captured" });
    await sql(late.mend.split("\n")[1] ?? "");
    expect((await as("loader", DBA)).problems).toEqual(["warn replica identity"]);
  });

  it.each([
    [
      "CREATE PUBLICATION pgstage FOR TABLE orders WITH (publish = 'insert')",
      "pgstage does not publish update, delete, truncate",
    ],
    [
      "CREATE PUBLICATION pgstage FOR TABLE orders WHERE (id > 5)",
      "pgstage has a row filter or a column list for public.orders: changes would be missing",
    ],
    [
      "CREATE PUBLICATION pgstage FOR TABLE orders (id)",
      "pgstage has a row filter or a column list for public.orders: changes would be missing",
    ],
    [
      "CREATE TABLE bag (v text); CREATE PUBLICATION pgstage FOR TABLE orders, bag",
      "the application cannot UPDATE or DELETE rows of public.bag: pgstage publishes them, and nothing identifies a row",
    ],
    [
      "CREATE TABLE p (id int PRIMARY KEY) PARTITION BY RANGE (id); CREATE TABLE p1 PARTITION OF p DEFAULT; CREATE PUBLICATION pgstage FOR TABLE orders, p",
      "pgstage publishes partitions under their own names, and public.p is partitioned",
    ],
    [
      "CREATE TABLE g (id int PRIMARY KEY, v int GENERATED ALWAYS AS (id) STORED); CREATE PUBLICATION pgstage FOR TABLE orders, g",
      "pgstage leaves out stored generated columns, and public.g has some",
    ],
  ])("is not content with %s", async (statements, found) => {
    for (const statement of statements.split("; ")) await sql(statement);
    const { all } = await as("postgres", DBA);
    const mending = all.find((one) => one.name === "publications" && one.verdict === "fail");
    expect(mending?.found).toBe(found);
    const mends = mending?.mend.split(/; |\n/) ?? [];
    for (const statement of mends) await sql(statement);
    const after = await as("postgres", DBA);
    expect(after.all.filter((one) => one.verdict === "fail")).toEqual([]);
  });

  it("leaves alone a publication FOR ALL TABLES of its own name, and does not mind others'", async () => {
    await sql("CREATE PUBLICATION theirs FOR ALL TABLES");
    expect((await as("postgres")).problems).toEqual([]);
    await sql("CREATE PUBLICATION pgstage FOR ALL TABLES");
    expect((await as("postgres")).of("publications")).toMatchObject({ verdict: "fail" });
    expect((await as("postgres")).of("publications").found).toContain(
      "pgstage is FOR ALL TABLES or for whole schemas",
    );
    const managed = await as("postgres", DBA);
    expect(managed.all.filter((one) => one.verdict === "fail")).toEqual([]);
    expect(managed.of("source.manage").found).toContain(
      "also those without a key, whose UPDATE and DELETE then fail",
    );
  });

  it("names what is not captured or not identified, and names that collide", async () => {
    await sql("CREATE TABLE bag (_op text, _lsn text)");
    await sql("CREATE UNLOGGED TABLE fast (id int PRIMARY KEY)");
    const { of } = await as("postgres", { PGSTAGE_SOURCE_SCHEMAS: "public,sales" });
    expect(of("replica identity").found).toContain("nothing identifies a row of public.bag");
    expect(of("replica identity").mend).toContain('ALTER TABLE "public"."bag" ADD PRIMARY KEY (…)');
    expect(of("not captured").found).toContain("public.fast: unlogged");
    expect(of("names")).toMatchObject({
      verdict: "fail",
      found: "public.bag._op, public.bag._lsn have the name of a metadata column",
    });
    expect(of("names").mend).toContain("set format.metadataPrefix");
    expect(of("schemas")).toMatchObject({ verdict: "warn", found: "sales: not there (yet)" });
    expect((await as("postgres", { PGSTAGE_FORMAT_METADATA_PREFIX: "_pgstage_" })).of("names").verdict).toBe(
      "ok",
    );
    const none = await as("postgres", { PGSTAGE_SOURCE_INCLUDE: "public.nothing" });
    expect(none.of("tables")).toMatchObject({ verdict: "warn", found: "no table to capture" });
    await sql("CREATE SCHEMA _pgstage");
    await sql("CREATE TABLE _pgstage.t (id int PRIMARY KEY)");
    const own = await as("postgres", { PGSTAGE_SOURCE_SCHEMAS: "_pgstage" });
    expect(own.of("names").found).toContain("_pgstage is pgstage's own folder");
  });

  it("names sessions and prepared transactions that hold up a slot", async () => {
    const env = settingsFor(server.url(database, "loader"), stage);
    const settings = loadSettings({ file: undefined, env, isTerminal: false });
    const client = await server.connect({ database });
    await client.query("BEGIN");
    await client.query("INSERT INTO orders VALUES (1)");
    await sql("BEGIN; INSERT INTO orders VALUES (2); PREPARE TRANSACTION 'two phase'");
    const look = async (): Promise<Check | undefined> =>
      (await preflight({ settings, store: stage.store, purpose: "run", longTransactionSeconds: 0 })).find(
        ({ name }) => name === "running transactions",
      );
    const seen = await look();
    expect(seen?.verdict).toBe("warn");
    expect(seen?.found).toMatch(/pid \d+ \(.*idle in transaction\), for /);
    expect(seen?.found).toContain(`prepared transaction 'two phase' of postgres in ${database}`);
    expect(seen?.mend).toMatch(/SELECT pg_terminate_backend\(\d+\)/);
    await server.sql("REVOKE pg_read_all_stats FROM loader");
    expect((await look())?.mend).toContain("end them");
    await client.query("ROLLBACK");
    await client.end();
    await sql("ROLLBACK PREPARED 'two phase'");
    expect((await look())?.mend).toBe(
      'GRANT pg_read_all_stats TO "loader" shows since when others\' transactions run',
    );
    await server.sql("GRANT pg_read_all_stats TO loader");
  });

  it("says where a connection fails, and does not look at the rest", async () => {
    const nobody = await check("postgres://u:geheim@127.0.0.1:1/db");
    expect(nobody.of("reachable")).toMatchObject({
      verdict: "fail",
      found: "nothing listens at 127.0.0.1:1",
    });
    expect(nobody.of("login").verdict).toBe("skip");
    expect(nobody.of("SELECT")).toMatchObject({ verdict: "skip", found: "not connected" });
    expect(JSON.stringify(nobody.all)).not.toContain("geheim");
    const wrong = await check(server.url("nowhere"));
    expect(wrong.of("reachable").verdict).toBe("ok");
    expect(wrong.of("login")).toMatchObject({ verdict: "fail", mend: "correct the database in source.url" });
    const tls = await check(server.url(database), { PGSTAGE_SOURCE_TLS: "verify-full" });
    expect(tls.of("TLS")).toMatchObject({ verdict: "fail", found: `127.0.0.1:${server.port} has no TLS` });
    expect(tls.of("login").verdict).toBe("skip");
    const proxy = await check("postgres://u@shop.proxy-abc123.eu-west-1.rds.amazonaws.com/db");
    expect(proxy.of("endpoint").found).toContain("is an RDS Proxy, which does not pass replication on");
    expect(proxy.of("reachable").verdict).toBe("skip");
  });

  it("finds a slot without a log, and a stage that cannot be used", async () => {
    await sql("SELECT pg_create_logical_replication_slot('pgstage', 'pgoutput')");
    expect((await as("postgres")).of("slot")).toMatchObject({ verdict: "fail" });
    expect((await as("postgres")).of("slot").found).toContain(
      "slot pgstage exists, and the stage has no log",
    );
    await sql("SELECT pg_drop_replication_slot('pgstage')");
    const file = join(stage.directory ?? "", "file");
    await writeFile(file, "");
    const { of, code } = await as("postgres", { PGSTAGE_STAGE_URL: `file://${file}/stage` });
    expect(code).toBe(3);
    expect(of("stage list").verdict).toBe("fail");
    expect(of("slot").verdict).toBe("skip");
    const bucket = await openBucket();
    const gone = await as("postgres", { ...bucket.env, PGSTAGE_STAGE_URL: "s3://no-such-bucket/landing" });
    expect(gone.all.find(({ verdict }) => verdict === "fail")?.found).toContain("no-such-bucket");
    await bucket[Symbol.asyncDispose]();
  });

  it("lets run start when what fails may pass, or concerns one table of a pipeline that works", async () => {
    const source = server.url(database);
    const first = await Daemon.start({ source, stage: stage.env });
    await first.untilState("streaming");
    const second = await Daemon.start({ source, stage: stage.env });
    await second.untilState("standby");
    await first.drain();
    await second.untilState("streaming");
    await second.drain();
    // Every slot but our own is taken, and a table cannot be read.
    for (let i = 0; i < 49; i++) await sql(`SELECT pg_create_physical_replication_slot('s${i}')`);
    await sql(
      "GRANT app TO loader; ALTER PUBLICATION pgstage OWNER TO loader; ALTER PUBLICATION pgstage_insert_only OWNER TO loader",
    );
    const { of } = await check(source);
    expect(of("replication slots")).toMatchObject({
      verdict: "warn",
      found: "0 of 50 free: one for a moment whenever a table is copied is needed",
    });
    const third = await Daemon.start({ source, stage: stage.env });
    await third.untilState("streaming");
    expect(third.lines.find((line) => line["check"] === "replication slots")).toMatchObject({
      level: "warn",
    });
    await third.drain();
    await sql("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots");
  });

  it("prints for people: one line each, broken to the terminal's width", async () => {
    const { out, code } = await pgstage(["check"], settingsFor(server.url(database, "loader"), stage));
    expect(code).toBe(3);
    expect(out).toMatch(/^ok {4}endpoint/);
    expect(out).toContain("fail  SELECT ");
    expect(out).toMatch(/\n {33}→ GRANT SELECT ON "public"\."orders" TO "loader"/);
    expect(out).toMatch(/2 checks failed.* What stands behind → mends it\.\n$/);
  });
});
