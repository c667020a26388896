import { expect, test } from "vitest";
import { parseLsn } from "../../src/core/lsn.ts";
import { documentsOf, newestDocument, until } from "./documents.ts";
import { sceneFor } from "./scene.ts";

const PAIRS = 8;

/** A transaction of this size ends a batch; the next one waits in the next batch. */
const SETTINGS = {
  PGSTAGE_FLUSH_MAX_BYTES: "64KiB",
  PGSTAGE_FLUSH_INTERVAL: "1h",
  PGSTAGE_FORMAT_COMPRESSION: "none",
};
const LARGE = "(SELECT string_agg(md5(random()::text || i), '') FROM generate_series(1, 3000) AS i)";

const newScene = sceneFor();

test("of two commits side by side in the WAL, the second is not lost if we die between them", async () => {
  await using scene = await newScene("file");
  const { store } = scene.stage;
  await scene.sql(
    "CREATE TABLE first (id int PRIMARY KEY, v text); CREATE TABLE second (id int PRIMARY KEY)",
  );
  const a = await scene.server.connect({ database: scene.database });
  const b = await scene.server.connect({ database: scene.database });
  const ends: string[] = [];
  for (let pair = 1; pair <= PAIRS; pair++) {
    const daemon = await scene.daemon(SETTINGS);
    await daemon.untilState("streaming");
    await a.query("BEGIN");
    await b.query("BEGIN");
    await a.query(`INSERT INTO first VALUES (${pair}, ${LARGE})`);
    await b.query(`INSERT INTO second VALUES (${pair})`);
    // Nothing is written between the two records: each session is done but for its commit.
    await a.query("COMMIT");
    await b.query("COMMIT");
    await daemon.until(({ lag, totals }) => totals.batches > 0 && lag.open_rows === 1, "between the two");
    const { endLsn, files } = await until(
      () => newestDocument(store),
      (document) => document.files.some(({ table }) => table === "public.first"),
    );
    // The second row of the pair before was still open, too.
    expect(files.filter(({ table }) => table === "public.second").length).toBe(pair === 1 ? 0 : 1);
    const end = parseLsn(endLsn ?? "");
    await until(
      async () => parseLsn((await scene.slot())?.confirmed ?? "0/0"),
      (confirmed) => confirmed >= end,
    ).then((confirmed) => expect(confirmed).toBe(end));
    ends.push(String(endLsn));
    await daemon.kill();
  }
  await a.end();
  await b.end();
  await scene.drainAndProve(await scene.daemon());
  const seconds = (await documentsOf(store)).flatMap(({ files }) =>
    files.filter((file) => file.table === "public.second"),
  );
  const commits = new Set(seconds.map((file) => file.firstLsn));
  expect(ends.filter((end) => commits.has(end)).length, "pairs that were adjacent").toBeGreaterThan(
    PAIRS / 2,
  );
});
