import { expect, test } from "vitest";
import { sceneFor, type Scene } from "./scene.ts";

const newScene = sceneFor({ settings: { max_wal_size: "2GB" } });

const SEVERAL_MINUTES = 240_000;

/** As text twice as long, which is more than Postgres can print; as stored it is small. */
const BEYOND = "convert_to(repeat('x', 540000000), 'UTF8')";

const TABLES = `CREATE TABLE wide (id int PRIMARY KEY, v bytea);
  CREATE TABLE other (id int PRIMARY KEY);
  INSERT INTO wide VALUES (1, 'a'); INSERT INTO other VALUES (1)`;

test(
  "a change that Postgres cannot send stops the daemon with exit 3 and the table's name; what is before it is staged",
  { timeout: SEVERAL_MINUTES },
  async () => {
    await using scene = await newScene("file");
    await scene.sql(TABLES);
    // An hour's batch is open: what comes before and after lies in it together.
    const daemon = await scene.daemon({ PGSTAGE_FLUSH_INTERVAL: "1h" });
    await scene.settled(daemon, { isFlushing: false });
    for (let i = 2; i <= 20; i++)
      await scene.sql(`INSERT INTO wide VALUES (${i}, 'b'); UPDATE other SET id = ${i}`);
    await scene.sql(
      `BEGIN; INSERT INTO other VALUES (100); INSERT INTO wide VALUES (100, ${BEYOND}); COMMIT`,
    );
    expect(await daemon.exited, daemon.story()).toEqual({ code: 3, signal: null });
    expect(daemon.lastError).toMatch(/cannot send a row of public\.wide in the transaction at/);
    expect(daemon.lastError).toMatch(/resync --all/);
    // Without the transaction that could not be sent, source and stage are equal.
    await scene.sql("DELETE FROM wide WHERE id = 100; DELETE FROM other WHERE id = 100");
    await scene.prove();
    await wayOut(scene);
  },
);

test(
  "a row that Postgres cannot copy stops the daemon with exit 3 and the table's name",
  { timeout: SEVERAL_MINUTES },
  async () => {
    await using scene = await newScene("file");
    await scene.sql(TABLES);
    await scene.sql(`INSERT INTO wide VALUES (100, ${BEYOND})`);
    const daemon = await scene.daemon();
    expect(await daemon.exited, daemon.story()).toEqual({ code: 3, signal: null });
    expect(daemon.lastError).toMatch(/cannot send a row of public\.wide:/);
    expect(daemon.lastError).toMatch(/source\.exclude = public\.wide/);
    await scene.sql("DELETE FROM wide WHERE id = 100");
    // The stream has not come by that row: it was there before the slot.
    await scene.drainAndProve(await scene.daemon());
  },
);

/** Stopped again by the same, until a person does what the error says. */
async function wayOut(scene: Scene): Promise<void> {
  const again = await scene.daemon();
  expect(await again.exited, again.story()).toEqual({ code: 3, signal: null });
  expect(again.lastError).toMatch(/cannot send a row of public\.wide in the transaction at/);
  await scene.command("resync", "--all");
  await scene.drainAndProve(await scene.daemon());
}
