import { afterAll, afterEach, beforeAll } from "vitest";
import { killDaemons } from "../support/daemon.ts";
import { startPostgres, type EmbeddedPostgres, type PostgresOptions } from "../support/postgres.ts";
import { Scene } from "../support/scene.ts";
import { openStage, type StageKind, type TestStage } from "../support/stage.ts";

export { Scene } from "../support/scene.ts";

/** One server for a test file; a database and a stage for each test. */
export function sceneFor(options: PostgresOptions = {}): (stage: StageKind | TestStage) => Promise<Scene> {
  let server: EmbeddedPostgres | null = null;
  beforeAll(async () => {
    server = await startPostgres(options);
  });
  afterEach(killDaemons);
  afterAll(() => server?.destroy());
  return async (stage) => {
    if (!server) throw new Error("the server is not up yet");
    // Slots keep WAL and count against the server: each test's goes with its database.
    await dropSlots(server);
    return new Scene(
      server,
      await server.createDatabase(),
      typeof stage === "string" ? await openStage(stage) : stage,
    );
  };
}

async function dropSlots(server: EmbeddedPostgres): Promise<void> {
  await server.sql("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE NOT active");
}
