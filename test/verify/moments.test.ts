import { expect, test } from "vitest";
import { connectSource } from "../../src/postgres/connect.ts";
import type { Connect } from "../../src/verify/fence.ts";
import { compareStageWithSource, differences, sourceAccess } from "../support/rebuild.ts";
import { FAR, Fixture } from "./fixture.ts";
import { known, type Row, type TestTable } from "./stage-builder.ts";

/** When a table can be compared, and what a stage that is not there yet looks like. */
const at = new Fixture();

const COPY: Row[] = [
  ["t", "0/1", 0, [null]],
  ["r", "0/1", 0, ["1"]],
];

async function copied(): Promise<TestTable> {
  const target = await at.table("id int PRIMARY KEY");
  await at.sql("INSERT INTO t VALUES (1)");
  return target;
}

function verify(
  choice: Parameters<typeof compareStageWithSource>[2] = {},
): ReturnType<typeof compareStageWithSource> {
  return compareStageWithSource(at.directory, at.url, choice);
}

/** Makes the pipeline's slot and streams from it, as a running daemon does; ends with the returned function. */
async function pretendDaemon(): Promise<() => Promise<void>> {
  await at.sql("SELECT pg_create_logical_replication_slot('pgstage', 'pgoutput')");
  await at.sql("CREATE PUBLICATION pgstage");
  const client = await connectSource(sourceAccess(at.url), "replication");
  client
    .query(`START_REPLICATION SLOT "pgstage" LOGICAL 0/0 (proto_version '1', publication_names 'pgstage')`)
    .catch(() => {});
  await expect
    .poll(() => at.sql("SELECT active FROM pg_replication_slots WHERE NOT temporary"))
    .toEqual([{ active: true }]);
  return async () => {
    await at.sql("SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE active");
    await client.end().catch(() => {});
    await expect.poll(() => at.sql("SELECT active FROM pg_replication_slots")).toEqual([{ active: false }]);
    await at.sql("SELECT pg_drop_replication_slot('pgstage')");
  };
}

test("a quiet database is equal although the stage's log is not up to now", async () => {
  const target = await copied();
  await at.stage.batch({
    files: [await at.stage.file(target, COPY)],
    events: [known(target, "0/1")],
    endLsn: "0/10",
  });
  expect(differences(await verify())).toEqual([]);
});

test("a table that differs while the stage is behind is not called different", async () => {
  const target = await copied();
  await at.stage.batch({
    files: [await at.stage.file(target, COPY)],
    events: [known(target, "0/1")],
    endLsn: "0/10",
  });
  await at.sql("INSERT INTO t VALUES (2)");
  const verdict = await verify();
  expect(verdict.ok).toBe(false);
  expect(verdict.tables).toMatchObject([{ outcome: "behind", missing: 1 }]);
  expect(verdict.tables[0]?.note).toMatch(
    /complete only up to 00000000\/00000010: the daemon is not running/,
  );
});

test("waits for a running daemon to get there, and then compares at the same moment", async () => {
  const target = await copied();
  await at.stage.batch({
    files: [await at.stage.file(target, COPY)],
    events: [known(target, "0/1")],
    endLsn: "0/10",
  });
  const end = await pretendDaemon();
  await at.sql("INSERT INTO t VALUES (2)");
  const verifying = verify({ timeoutMs: 60_000 });
  const slots =
    "SELECT count(*)::int AS workers FROM pg_stat_activity WHERE backend_xmin IS NOT NULL AND state = 'idle in transaction'";
  await expect.poll(() => at.sql(slots)).toEqual([{ workers: 3 }]);
  // After the moment: visible in the stage, and not to be compared.
  const lsn = (
    await at.sql<{ lsn: string }>("INSERT INTO t VALUES (3) RETURNING pg_current_wal_lsn()::text AS lsn")
  )[0]?.lsn;
  const files = [
    await at.stage.file(target, [["c", "0/20", 1, ["2"]]]),
    await at.stage.file(target, [["c", lsn ?? "", 1, ["3"]]]),
  ];
  await at.stage.batch({ files, endLsn: FAR });
  const verdict = await verifying;
  await end();
  expect(differences(verdict)).toEqual([]);
  expect(verdict.tables).toMatchObject([{ rows: 2, equal: 2, stagedRows: 4 }]);
});

test("waits for a copy to end", async () => {
  const target = await copied();
  const lsn = "00000000/00000001";
  const copying = { phase: "copying", firstPoint: lsn, storages: [], done: [], rows: 0, bytes: 0 } as const;
  await at.stage.batch({ events: [known(target, "0/1", copying)], endLsn: FAR });
  expect((await verify()).tables).toMatchObject([{ outcome: "copying" }]);
  const end = await pretendDaemon();
  const verifying = verify({ timeoutMs: 60_000 });
  const file = await at.stage.file(target, COPY);
  await at.stage.batch({
    files: [file],
    events: [{ event: "copied", oid: target.oid, firstPoint: lsn, lastPoint: lsn }],
    endLsn: FAR,
  });
  expect(differences(await verifying)).toEqual([]);
  await end();
});

test("a table that the stage does not know", async () => {
  const target = await copied();
  await at.sql("CREATE TABLE unknown (id int)");
  await at.stage.batch({
    files: [await at.stage.file(target, COPY)],
    events: [known(target, "0/1")],
    endLsn: FAR,
  });
  expect((await verify()).tables).toMatchObject([
    { table: "public.t", outcome: "equal" },
    { table: "public.unknown", outcome: "pending", note: "not on the stage yet" },
  ]);
  expect(differences(await verify({ captured: ({ name }) => name !== "unknown" }))).toEqual([]);
});

test("another server's stage is refused", async () => {
  const target = await copied();
  await at.stage.batch({
    files: [await at.stage.file(target, COPY)],
    events: [known(target, "0/1")],
    endLsn: FAR,
  });
  await expect(compareStageWithSource(at.directory, at.server.url())).rejects.toThrow(
    /the stage holds database db\d+ /,
  );
  await expect(compareStageWithSource(`${at.directory}-none`, at.url)).rejects.toThrow();
});

test("gives the lock on a table back while others are compared, and leaves nothing", async () => {
  const target = await copied();
  const other = await at.table("id int PRIMARY KEY", ["id"], "other");
  const files = [await at.stage.file(target, COPY), await at.stage.file(other, [["t", "0/1", 0, [null]]])];
  await at.stage.batch({ files, events: [known(target, "0/1"), known(other, "0/1")], endLsn: FAR });
  const locks: Promise<object[]>[] = [];
  const onTable = ({ table }: { table: string }): void => {
    locks.push(at.sql(`SELECT mode FROM pg_locks WHERE relation = '${table}'::regclass`));
  };
  expect(differences(await verify({ onTable }))).toEqual([]);
  expect(await Promise.all(locks)).toEqual([[], []]);
  expect(await at.sql("SELECT slot_name FROM pg_replication_slots")).toEqual([]);
  expect(await at.sql("SELECT pid FROM pg_stat_activity WHERE application_name = 'pgstage'")).toEqual([]);
});

test("a table that is truncated after the moment is compared at a later one", async () => {
  const target = await copied();
  await at.sql("CREATE TABLE first (id int PRIMARY KEY)");
  const first = await at.describe("first");
  const files = [await at.stage.file(target, COPY), await at.stage.file(first, [["t", "0/1", 0, [null]]])];
  await at.stage.batch({ files, events: [known(target, "0/1"), known(first, "0/1")], endLsn: FAR });
  const end = await pretendDaemon();
  let fences = 0;
  const access = sourceAccess(at.url);
  const connect: Connect = async (kind) => {
    const client = await connectSource(access, kind);
    if (kind === "copy" && ++fences === 3) {
      // The last connection is about to import the snapshot.
      await at.sql("TRUNCATE t");
      await at.stage.batch({
        files: [await at.stage.file(target, [["t", "0/20", 1, [null]]])],
        endLsn: "FFFF/1",
      });
    }
    return client;
  };
  const verdict = await verify({ connect, timeoutMs: 60_000 });
  await end();
  expect(verdict.tables.map(({ table, outcome }) => [table, outcome])).toEqual([
    ["public.first", "equal"],
    ["public.t", "equal"],
  ]);
  expect(fences).toBeGreaterThan(3);
});
