import { expect, test } from "vitest";
import { CopySession } from "../../src/postgres/copy-session.ts";
import { startPostgres } from "../support/postgres.ts";
import { sourceAccess } from "../support/rebuild.ts";

test("sessions that begin at the same moment have consistent points of their own, and leave no slot", async () => {
  const server = await startPostgres();
  const source = sourceAccess(server.url("postgres"));
  const serverVersion = 18;
  const open = (): Promise<CopySession> =>
    CopySession.open({ source, schemas: ["public"], serverVersion, workers: 1, waitMs: 5_000 });
  const sessions = await Promise.all([open(), open(), open(), open()]);
  expect(new Set(sessions.flatMap(({ pids }) => pids)).size).toBe(4);
  expect(await server.sql("SELECT slot_name FROM pg_replication_slots")).toEqual([]);
  await Promise.all(sessions.map(async (session) => session.close()));
  await server.destroy();
});
