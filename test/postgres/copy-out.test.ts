import { afterAll, beforeAll, expect, test } from "vitest";
import { copyOut } from "../../src/postgres/copy-out.ts";
import { startPostgres, type EmbeddedPostgres } from "../support/postgres.ts";

let pg: EmbeddedPostgres;

beforeAll(async () => {
  pg = await startPostgres();
});

afterAll(async () => {
  await pg.destroy();
});

async function rowsOf(
  client: Awaited<ReturnType<EmbeddedPostgres["connect"]>>,
  text: string,
): Promise<string[]> {
  const rows: string[] = [];
  const sent = await copyOut(client, text, (row) => {
    rows.push(row.toString());
    return null;
  });
  expect(rows).toHaveLength(sent);
  return rows;
}

const NUMBERS = (to: number): string =>
  `COPY (SELECT i FROM generate_series(1, ${to}) i) TO STDOUT (FORMAT csv)`;

test("copies that wait for each other on one connection, and queries among them, do not mix", async () => {
  const client = await pg.connect();
  const [first, query, second, third] = await Promise.all([
    rowsOf(client, NUMBERS(20_000)),
    client.query("SELECT 7 AS seven"),
    rowsOf(client, NUMBERS(3)),
    rowsOf(client, NUMBERS(0)),
  ]);
  expect(first).toHaveLength(20_000);
  expect(first.at(-1)).toBe("20000\n");
  expect(query.rows).toEqual([{ seven: 7 }]);
  expect([second, third]).toEqual([["1\n", "2\n", "3\n"], []]);
  await client.end();
});

test("an error before or amid the rows is the server's, and leaves a connection that works", async () => {
  const client = await pg.connect();
  await client.query("BEGIN; SAVEPOINT range");
  for (const text of [
    "COPY (SELECT 10 / (5000 - i) FROM generate_series(1, 9000) i) TO STDOUT (FORMAT csv)",
    "COPY (SELECT 1 / (i - 1) FROM generate_series(1, 2) i) TO STDOUT (FORMAT csv)",
  ]) {
    await expect(rowsOf(client, text)).rejects.toMatchObject({ code: "22012" });
    await client.query("ROLLBACK TO SAVEPOINT range");
  }
  expect(await rowsOf(client, NUMBERS(2))).toEqual(["1\n", "2\n"]);
  expect((await client.query("SELECT 7 AS seven")).rows).toEqual([{ seven: 7 }]);
  await client.end();
});

test("a promise pauses the socket, and a failure of whoever takes the rows ends the copy", async () => {
  const client = await pg.connect();
  let waits = 0;
  const rows = await copyOut(client, NUMBERS(100_000), () => {
    if (++waits % 10_000 !== 0) return null;
    return new Promise((resolve) => setTimeout(resolve, 1));
  });
  expect([rows, waits]).toEqual([100_000, 100_000]);
  let seen = 0;
  const failing = copyOut(client, NUMBERS(100_000), () => {
    if (++seen === 500) throw new Error("no room");
    return null;
  });
  await expect(failing).rejects.toThrow("no room");
  expect(seen).toBe(500);
});

test("a connection that is lost amid the rows is an error", async () => {
  const client = await pg.connect();
  const [backend] = (await client.query<{ pid: number }>("SELECT pg_backend_pid() AS pid")).rows;
  const killing: Promise<unknown>[] = [];
  const lost = copyOut(
    client,
    "COPY (SELECT i, pg_sleep(0.001) FROM generate_series(1, 100000) i) TO STDOUT",
    () => {
      if (killing.length === 0) killing.push(pg.sql("SELECT pg_terminate_backend($1)", [backend?.pid]));
      return null;
    },
  );
  await expect(lost).rejects.toThrow(/terminat/i);
  await Promise.all(killing);
});
