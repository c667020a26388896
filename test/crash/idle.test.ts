import { expect, test } from "vitest";
import { parseLsn, type Lsn } from "../../src/core/lsn.ts";
import { newestDocument, until } from "./documents.ts";
import { sceneFor, type Scene } from "./scene.ts";

const newScene = sceneFor();

const MIB = 1024 * 1024;

async function walEnd(scene: Scene): Promise<Lsn> {
  const [row] = await scene.sql<{ lsn: string }>("SELECT pg_current_wal_flush_lsn()::text AS lsn");
  return parseLsn(row?.lsn ?? "0/0");
}

interface Positions {
  readonly confirmed: Lsn;
  readonly restart: Lsn;
  readonly recorded: Lsn;
}

/** The slot first: what it has must be in the log by then. */
async function positions(scene: Scene): Promise<Positions> {
  const slot = await scene.slot();
  const { endLsn } = await newestDocument(scene.stage.store);
  const all = {
    confirmed: parseLsn(slot?.confirmed ?? "0/0"),
    restart: parseLsn(slot?.restart ?? "0/0"),
    recorded: parseLsn(endLsn ?? "0/0"),
  };
  expect(all.confirmed, "recorded before acknowledged").toBeLessThanOrEqual(all.recorded);
  return all;
}

test("WAL of another database does not pile up behind a quiet pipeline", { timeout: 180_000 }, async () => {
  await using scene = await newScene("file");
  await scene.sql("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)");
  const neighbour = await scene.server.createDatabase();
  const daemon = await scene.daemon();
  await scene.settled(daemon);
  const documents = (await newestDocument(scene.stage.store)).sequence;
  await scene.server.sql("CREATE TABLE busy (v text)", [], { database: neighbour });
  const before = await walEnd(scene);
  for (let i = 0; i < 16; i++) {
    await scene.server.sql(
      "INSERT INTO busy SELECT repeat(md5(i::text), 30) FROM generate_series(1, 4000) AS i",
      [],
      { database: neighbour },
    );
  }
  const written = await walEnd(scene);
  expect(written - before).toBeGreaterThan(60 * MIB);
  const { confirmed } = await until(
    () => positions(scene),
    (now) => now.confirmed >= written && now.restart > before,
    90_000,
  );
  const idle = (await newestDocument(scene.stage.store)).sequence - documents;
  console.log(
    `${Math.round(Number(confirmed - before) / MIB)} MiB of a neighbour's WAL passed with ${idle} document(s)`,
  );
  expect(idle).toBeLessThan(15);
  await daemon.kill();
  const next = await scene.daemon();
  await next.line("started");
  await scene.sql("INSERT INTO t VALUES (2)");
  await scene.drainAndProve(next);
});
