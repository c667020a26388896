import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from "vitest";
import { Daemon, killDaemons } from "../support/daemon.ts";
import { startPostgres, type EmbeddedPostgres } from "../support/postgres.ts";
import { openDirectory, type TestStage } from "../support/stage.ts";
import { pgstage, settingsFor, type Outcome } from "./support.ts";

let server: EmbeddedPostgres;
let stage: TestStage;
let database: string;

beforeAll(async () => {
  server = await startPostgres();
});
afterAll(() => server.destroy());
beforeEach(async () => {
  database = await server.createDatabase();
  stage = await openDirectory();
});
afterEach(async () => {
  await killDaemons();
  await server.sql("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE NOT active");
  await stage[Symbol.asyncDispose]();
});

function teardown(args: readonly string[] = [], more: Record<string, string> = {}): Promise<Outcome> {
  return pgstage(["teardown", ...args], { ...settingsFor(server.url(database), stage), ...more });
}

async function left(): Promise<{ slots: number; publications: number }> {
  const [row] = await server.sql<{ slots: number; publications: number }>(
    `SELECT (SELECT count(*) FROM pg_replication_slots)::int AS slots,
            (SELECT count(*) FROM pg_publication)::int AS publications`,
    [],
    { database },
  );
  if (!row) throw new Error("no row");
  return row;
}

it("refuses while a daemon runs, then says what it would drop, drops it, and finds nothing more", async () => {
  await server.sql("CREATE TABLE t (id int PRIMARY KEY)", [], { database });
  const daemon = await Daemon.start({ source: server.url(database), stage: stage.env });
  await daemon.untilState("streaming");
  const busy = await teardown(["--yes"]);
  expect(busy.code).toBe(3);
  expect(busy.err).toMatch(
    /slot pgstage is in use by pid \d+: a daemon runs\n {2}To mend it: stop the daemon first/,
  );
  await daemon.drain();

  const asked = await teardown();
  expect(asked.code).toBe(3);
  expect(asked.out).toContain(
    `Would drop at 127.0.0.1:${server.port}/${database}:\n  slot pgstage (reserved)\n  publication pgstage\n  publication pgstage_insert_only\n`,
  );
  expect(asked.out).toContain("pgstage teardown --yes");
  expect(await left()).toEqual({ slots: 1, publications: 2 });

  const done = await teardown(["--yes"]);
  expect(done).toMatchObject({ code: 0, err: "" });
  expect(done.out).toContain(`What is staged at ${stage.url} stays.`);
  expect(await left()).toEqual({ slots: 0, publications: 0 });

  const again = await teardown(["--yes"]);
  expect(again).toEqual({
    code: 0,
    out: `Nothing of pgstage's is left to drop at 127.0.0.1:${server.port}/${database}.\n`,
    err: "",
  });
});

it("leaves another database's slot, a physical one and another plugin's alone", async () => {
  await server.sql("SELECT pg_create_physical_replication_slot('pgstage')", [], { database });
  expect((await teardown(["--yes"])).err).toContain("pgstage is a physical slot, not ours");
  await server.sql("SELECT pg_drop_replication_slot('pgstage')");

  const other = await server.createDatabase();
  await server.sql("SELECT pg_create_logical_replication_slot('pgstage', 'pgoutput')", [], {
    database: other,
  });
  const refused = await teardown(["--yes"]);
  expect(refused.code).toBe(3);
  expect(refused.err).toContain(`pgstage is a pgoutput slot of database ${other}, not ours`);
  expect((await left()).slots).toBe(1);
});

it("drops no publication that belongs to somebody else, or that a DBA manages", async () => {
  await server.sql("CREATE PUBLICATION pgstage", [], { database });
  await server.sql("CREATE ROLE loader LOGIN REPLICATION");
  const source = { PGSTAGE_SOURCE_URL: server.url(database, "loader") };
  const foreign = await teardown(["--yes"], source);
  expect(foreign.code).toBe(0);
  expect(foreign.err).toBe(
    'Publication pgstage belongs to postgres, who has to drop it: DROP PUBLICATION "pgstage"\n',
  );
  const managed = await teardown(["--yes"], { PGSTAGE_SOURCE_MANAGE: "false" });
  expect(managed.err).toContain("Publication pgstage stays: source.manage is false");
  expect((await left()).publications).toBe(1);
});
