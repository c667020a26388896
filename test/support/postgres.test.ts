import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { dirname } from "node:path";
import { createInterface } from "node:readline";
import { afterEach, expect, test } from "vitest";
import { POSTGRES_VERSIONS, startPostgres, type EmbeddedPostgres } from "./postgres.ts";

const running: EmbeddedPostgres[] = [];

afterEach(async () => {
  await Promise.all(running.splice(0).map((server) => server.destroy()));
});

async function start(...options: Parameters<typeof startPostgres>): Promise<EmbeddedPostgres> {
  const server = await startPostgres(...options);
  running.push(server);
  return server;
}

for (const version of POSTGRES_VERSIONS) {
  test(`Postgres ${version} starts with logical decoding and contrib extensions`, async () => {
    const server = await start({ version });
    const database = await server.createDatabase();
    const place = { database };
    await server.sql(
      "CREATE EXTENSION hstore; CREATE EXTENSION citext; CREATE EXTENSION ltree",
      undefined,
      place,
    );
    const [row] = await server.sql(
      "SELECT current_setting('server_version_num')::int / 10000 AS major",
      [],
      place,
    );
    expect(row).toEqual({ major: version });
    const [slot] = await server.sql(
      "SELECT slot_name FROM pg_create_logical_replication_slot('a', 'pgoutput')",
      [],
      place,
    );
    expect(slot).toEqual({ slot_name: "a" });
  });
}

test("stops in every mode, starts again on its port with its data, and leaves nothing", async () => {
  const server = await start({ settings: { work_mem: "5MB" } });
  await server.sql("CREATE TABLE kept (n int)");
  for (const mode of ["fast", "immediate", "smart"] as const) {
    await server.stop(mode);
    await expect(server.sql("SELECT 1")).rejects.toThrow("ECONNREFUSED");
    await server.start();
    await server.sql("INSERT INTO kept VALUES (1)");
  }
  expect(await server.sql("SELECT count(*)::int AS rows FROM kept")).toEqual([{ rows: 3 }]);
  expect(await server.sql("SHOW work_mem")).toEqual([{ work_mem: "5MB" }]);
  expect(server.log()).toContain("received fast shutdown request");
  await server.destroy();
  expect(existsSync(dirname(server.dataDir))).toBe(false);
});

test("asks for the password where it is told to", async () => {
  const server = await start({ auth: "scram-sha-256", password: "it's secret/" });
  expect(await server.sql("SELECT 1 AS one")).toEqual([{ one: 1 }]);
  await server.sql("CREATE ROLE guest LOGIN PASSWORD 'other'");
  await expect(server.sql("SELECT 1", [], { user: "guest" })).rejects.toThrow("password must be a string");
});

test("a server does not outlive the process that started it, nor do its files", async () => {
  const script = `
    import { startPostgres } from "./src/embedded/postgres.ts";
    const server = await startPostgres();
    console.log(JSON.stringify({ pid: server.pid, dataDir: server.dataDir }));
    setInterval(() => {}, 1000);
  `;
  const parent = spawn(process.execPath, ["--import", "tsx", "--input-type=module", "-e", script], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const [line] = (await once(createInterface(parent.stdout), "line")) as [string];
  const { pid, dataDir } = JSON.parse(line) as { pid: number; dataDir: string };
  expect(isAlive(pid)).toBe(true);
  parent.kill("SIGKILL");
  await expect.poll(() => isAlive(pid), { timeout: 20_000 }).toBe(false);
  await expect.poll(() => existsSync(dirname(dataDir)), { timeout: 20_000 }).toBe(false);
});

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}
