import { afterAll, beforeAll } from "vitest";
import { startPostgres, type EmbeddedPostgres } from "../support/postgres.ts";
import type { PostgresVersion } from "../../src/embedded/postgres.ts";
import { Pipeline } from "./pipeline.ts";

export interface FixtureOptions {
  readonly version?: PostgresVersion;
  readonly settings?: Readonly<Record<string, string>>;
  readonly server?: Readonly<Record<string, string>>;
  /** Run in the database before the daemon starts. */
  readonly setup?: string;
}

/** A server with a database and a running daemon, for all tests of a file or a group. */
export class Fixture {
  #server: EmbeddedPostgres | null = null;
  #pipeline: Pipeline | null = null;

  constructor(options: FixtureOptions = {}) {
    beforeAll(async () => {
      this.#server = await startPostgres({
        ...(options.version === undefined ? {} : { version: options.version }),
        settings: { max_prepared_transactions: "10", ...options.server },
      });
      const database = await this.#server.createDatabase("app");
      for (const statement of statementsOf(options.setup ?? ""))
        await this.#server.sql(statement, [], { database });
      this.#pipeline = await Pipeline.start({
        server: this.#server,
        database,
        settings: options.settings ?? {},
      });
      await this.#pipeline.until("the first copies", () => this.pipeline.linesOf("catalog read").length > 0);
    });
    afterAll(async () => {
      await this.#pipeline?.destroy();
      await this.#server?.destroy();
    });
  }

  get server(): EmbeddedPostgres {
    if (!this.#server) throw new Error("the server is not up");
    return this.#server;
  }

  get pipeline(): Pipeline {
    if (!this.#pipeline) throw new Error("the daemon is not up");
    return this.#pipeline;
  }
}

/** Statements of a script, each by itself, so that none shares a transaction with another. */
export function statementsOf(script: string): string[] {
  return script
    .split(";")
    .map((statement) => statement.trim())
    .filter(Boolean);
}
