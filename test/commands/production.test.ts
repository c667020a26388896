import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createAuthority } from "../support/certificates.ts";
import { Daemon, killDaemons } from "../support/daemon.ts";
import { startPostgres, type EmbeddedPostgres } from "../support/postgres.ts";
import { compareStageWithSource, differences } from "../support/rebuild.ts";
import { openDirectory, type TestStage } from "../support/stage.ts";
import { runCheck } from "./checks.ts";

/**
 * The README's production section, against a server set up like RDS: TLS for everybody, a master user that is no
 * superuser, tables that belong to the application.
 */
let server: EmbeddedPostgres;
let folder: string;
let ca: string;

beforeAll(async () => {
  const authority = createAuthority("test authority");
  const identity = authority.issue(["localhost", "127.0.0.1"]);
  folder = await mkdtemp(join(tmpdir(), "pgstage-production-"));
  ca = join(folder, "ca.pem");
  await writeFile(ca, authority.certificate);
  server = await startPostgres({
    settings: { ssl: "on", max_slot_wal_keep_size: "51200" },
    files: { "server.crt": identity.certificate, "server.key": identity.key },
    // Only the test itself may come without TLS.
    hba: "host all postgres 127.0.0.1/32 trust\nhostssl all all 127.0.0.1/32 scram-sha-256\nhost all master,app 127.0.0.1/32 trust\n",
  });
  for (const statement of [
    "CREATE ROLE rds_superuser",
    "CREATE ROLE rds_replication",
    "CREATE ROLE master LOGIN CREATEROLE CREATEDB IN ROLE rds_superuser",
    "GRANT rds_replication, pg_read_all_stats TO master WITH ADMIN OPTION",
    "CREATE ROLE app LOGIN",
    "GRANT app TO master WITH ADMIN OPTION",
    "CREATE DATABASE shop OWNER master",
    "CREATE DATABASE strict OWNER master",
  ]) {
    await server.sql(statement);
  }
});
afterAll(async () => {
  await server.destroy();
  await rm(folder, { recursive: true });
});
afterEach(killDaemons);

async function as(user: string, database: string, statements: readonly string[]): Promise<void> {
  for (const statement of statements) await server.sql(statement, [], { database, user });
}

/** Waits for the daemon: what is committed right before SIGTERM may be left to the next start. */
async function expectEqual(stage: TestStage, database: string): Promise<void> {
  const verdict = await compareStageWithSource(stage.store, server.url(database), { timeoutMs: 60_000 });
  expect(differences(verdict)).toEqual([]);
}

const APPLICATION = [
  "CREATE TABLE orders (id int PRIMARY KEY, v text)",
  "INSERT INTO orders SELECT i, 'v' || i FROM generate_series(1, 500) i",
];
const OWNERS_GRANTS = [
  "GRANT USAGE ON SCHEMA public TO pgstage",
  "GRANT SELECT ON ALL TABLES IN SCHEMA public TO pgstage",
  "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO pgstage",
];

it("works as the README says, step by step", async () => {
  await as("postgres", "shop", ["GRANT ALL ON SCHEMA public TO app"]);
  await as("app", "shop", APPLICATION);
  const stage = await openDirectory();
  const source = server.url("shop", "pgstage").replace("pgstage@127.0.0.1", "pgstage:s3cret@localhost");
  const settings = { PGSTAGE_SOURCE_TLS: "verify-full", PGSTAGE_SOURCE_CA: ca };
  await as("master", "shop", [
    "CREATE ROLE pgstage LOGIN PASSWORD 's3cret'",
    "GRANT rds_replication TO pgstage",
    "GRANT CONNECT ON DATABASE shop TO pgstage",
    "GRANT pg_read_all_stats TO pgstage",
  ]);
  // What rds_replication gives on RDS is an attribute elsewhere.
  expect((await runCheck(source, stage, settings)).of("replication").mend).toContain(
    'on RDS: GRANT rds_replication TO "pgstage"',
  );
  await server.sql("ALTER ROLE pgstage REPLICATION");
  await as("app", "shop", OWNERS_GRANTS);
  await as("master", "shop", ["GRANT CREATE ON DATABASE shop TO pgstage", "GRANT app TO pgstage"]);
  const checked = await runCheck(source, stage, settings);
  expect(checked.problems).toEqual([]);
  expect(checked.of("TLS").found).toMatch(/^verified, certificate and name \(TLSv1\.\d\)$/);
  expect(JSON.stringify(checked.all)).not.toContain("s3cret");

  const daemon = await Daemon.start({ source, stage: stage.env, settings });
  await daemon.untilState("streaming");
  await as("app", "shop", [
    "CREATE TABLE invoices (id int PRIMARY KEY)",
    "INSERT INTO invoices VALUES (1)",
    "UPDATE orders SET v = 'x' WHERE id < 50",
  ]);
  await daemon.line((line) => line.msg === "table copied" && line["table"] === "public.invoices");
  await as("app", "shop", ["DELETE FROM orders WHERE id > 400", "INSERT INTO invoices VALUES (2)"]);
  await expectEqual(stage, "shop");
  await daemon.drain();
  expect(daemon.said()).not.toContain("s3cret");
  await stage[Symbol.asyncDispose]();
});

it("works with publications that a DBA keeps, for a role that may only read and replicate", async () => {
  await as("postgres", "strict", ["GRANT ALL ON SCHEMA public TO app"]);
  await as("app", "strict", [
    ...APPLICATION,
    "CREATE TABLE log_lines (line text)",
    "INSERT INTO log_lines VALUES ('one')",
  ]);
  await server.sql("REVOKE app FROM pgstage");
  await server.sql("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots");
  await as("app", "strict", OWNERS_GRANTS);
  const stage = await openDirectory();
  const source = server.url("strict", "pgstage").replace("pgstage@127.0.0.1", "pgstage:s3cret@localhost");
  const settings = {
    PGSTAGE_SOURCE_TLS: "verify-full",
    PGSTAGE_SOURCE_CA: ca,
    PGSTAGE_SOURCE_MANAGE: "false",
  };
  const statements = (await runCheck(source, stage, settings)).of("publications").mend.split("\n").slice(1);
  await as("master", "strict", ["GRANT CREATE ON DATABASE strict TO app"]);
  await as("app", "strict", statements);
  expect((await runCheck(source, stage, settings)).problems).toEqual(["warn replica identity"]);
  const daemon = await Daemon.start({ source, stage: stage.env, settings });
  await daemon.untilState("streaming");
  await as("app", "strict", [
    "UPDATE orders SET v = 'x' WHERE id < 50",
    "INSERT INTO log_lines VALUES ('two')",
  ]);
  await expectEqual(stage, "strict");
  await daemon.drain();
  await stage[Symbol.asyncDispose]();
});
