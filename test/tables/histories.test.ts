import type { Client } from "pg";
import { describe, expect, test } from "vitest";
import { POSTGRES_VERSIONS, startPostgres, type EmbeddedPostgres } from "../support/postgres.ts";
import { differences } from "../support/rebuild.ts";
import { Dice, World } from "../support/histories.ts";
import { TYPES_SQL } from "../support/values.ts";
import { Pipeline } from "./pipeline.ts";

/** HISTORIES_SEED replays a run; HISTORIES is how many each version gets. */
const SEED = Number(process.env["HISTORIES_SEED"] ?? Date.now() % 1_000_000_007);
const HISTORIES = Number(process.env["HISTORIES"] ?? 4);
const STATEMENTS = 60;
const TABLES = 6;
const ROUND_MS = 180_000;

/** Failures that a random statement may meet: values out of range, types that cannot be compared, names that clash. */
const PASSING = /^(22|23|42|0A|55|25|2BP01)/;

/** One random history in a database of its own. */
class Round {
  readonly statements: string[] = [];
  failed = 0;
  readonly #client: Client;
  readonly #pipeline: Pipeline;
  readonly #dice: Dice;

  constructor(client: Client, pipeline: Pipeline, dice: Dice) {
    this.#client = client;
    this.#pipeline = pipeline;
    this.#dice = dice;
  }

  async run(statements: readonly string[]): Promise<void> {
    for (const statement of statements) {
      this.statements.push(statement);
      await this.#try(statement);
    }
  }

  async #try(statement: string): Promise<void> {
    try {
      await this.#client.query(statement);
    } catch (error) {
      const { code = "" } = error as { code?: string };
      if (!PASSING.test(code)) throw new Error(`${statement}: ${(error as Error).message}`, { cause: error });
      this.failed++;
      await this.#client.query("ROLLBACK");
    }
  }

  /** Between two statements: now and then the daemon gets time, or is drained and started again. */
  async between(): Promise<void> {
    if (this.#dice.chance(8)) await this.#pipeline.discovered();
    if (!this.#dice.chance(4)) return;
    await this.#pipeline.drain();
    await this.#pipeline.start();
  }
}

async function play(server: EmbeddedPostgres, seed: number, version: number): Promise<string[]> {
  const database = await server.createDatabase();
  const dice = new Dice(seed ^ 0x5eed);
  const world = new World(seed, version);
  const client = await server.connect({ database });
  await client.query(`${TYPES_SQL}; SET client_min_messages = error`);
  const settings = {
    DISCOVERY_INTERVAL: dice.pick(["100ms", "300ms", "700ms"]),
    FLUSH_INTERVAL: dice.pick(["100ms", "400ms"]),
    SNAPSHOT_RANGE_BYTES: dice.pick(["64KiB", "1MiB"]),
    FORMAT_COMPRESSION: dice.pick(["gzip", "none"]),
  };
  const pipeline = await Pipeline.start({ server, database, settings });
  const round = new Round(client, pipeline, dice);
  try {
    await round.run(world.begin(TABLES));
    for (let k = 0; k < STATEMENTS; k++) {
      await round.run(world.next());
      await round.between();
    }
    const found = differences(await pipeline.settled());
    // A history of failures would prove nothing.
    expect(round.failed).toBeLessThan(round.statements.length / 2);
    if (found.length === 0) return [];
    const history = round.statements.map((text) => text.slice(0, 400));
    return [`HISTORIES_SEED=${seed} on ${version}`, ...found, ...history, pipeline.tail(60)];
  } finally {
    await pipeline.destroy();
    await client.end();
    await server.sql(
      `SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = '${database}' AND NOT temporary`,
    );
    await server.sql(`DROP DATABASE "${database}" WITH (FORCE)`);
  }
}

// Side by side, because a history mostly waits for the daemon's next look.
describe.concurrent.each(POSTGRES_VERSIONS)("Postgres %i", (version) => {
  const title = `random schemas and histories: every table is the source's (HISTORIES_SEED=${SEED})`;
  test(title, { timeout: HISTORIES * ROUND_MS }, async () => {
    const server = await startPostgres({ version });
    try {
      for (let seed = SEED; seed < SEED + HISTORIES; seed++) {
        expect((await play(server, seed, version)).join("\n")).toBe("");
      }
    } finally {
      await server.destroy();
    }
  });
});
