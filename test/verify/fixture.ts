import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach } from "vitest";
import type { PipelineIdentity } from "../../src/core/document.ts";
import { startPostgres, type EmbeddedPostgres } from "../support/postgres.ts";
import { StageBuilder, type TestTable } from "./stage-builder.ts";

/** Past the end of any test's WAL: the stage is then complete. Copies and changes stand below it, at 0/1 and so on. */
export const FAR = "FFFF/0";

/** A server for the file, a database and an empty stage for each test. */
export class Fixture {
  directory = "";
  database = "";
  #server: EmbeddedPostgres | null = null;
  #stage: StageBuilder | null = null;

  constructor() {
    beforeAll(async () => {
      this.#server = await startPostgres();
    });
    afterAll(() => this.#server?.destroy());
    beforeEach(async () => {
      this.directory = await mkdtemp(join(tmpdir(), "pgstage-test-"));
      await this.useDatabase(await this.server.createDatabase());
    });
    afterEach(() => rm(this.directory, { recursive: true }));
  }

  get server(): EmbeddedPostgres {
    if (!this.#server) throw new Error("the server is not up yet");
    return this.#server;
  }

  get stage(): StageBuilder {
    if (!this.#stage) throw new Error("there is no stage yet");
    return this.#stage;
  }

  get url(): string {
    return this.server.url(this.database);
  }

  /** A database in place of the test's own, with an empty stage. */
  async useDatabase(name: string): Promise<void> {
    this.database = name;
    this.#stage = new StageBuilder(this.directory, await this.#identity());
  }

  async #identity(): Promise<PipelineIdentity> {
    const [row] = await this.sql<{ id: string }>(
      "SELECT system_identifier::text AS id FROM pg_control_system()",
    );
    const { database } = this;
    return {
      systemIdentifier: row?.id ?? "",
      timeline: 1,
      database,
      slot: "pgstage",
      publication: "pgstage",
    };
  }

  sql<R extends object>(text: string): Promise<R[]> {
    return this.server.sql<R>(text, undefined, { database: this.database });
  }

  /** Makes a table in the source and describes it. */
  async table(definition: string, key: string[] = ["id"], name = "t"): Promise<TestTable> {
    await this.sql(`CREATE TABLE ${name} (${definition})`);
    return this.describe(name, key);
  }

  async describe(name: string, key: string[] = ["id"]): Promise<TestTable> {
    const [row] = await this.sql<{ oid: number; columns: string[] }>(
      `SELECT '${name}'::regclass::oid::int AS oid, (SELECT array_agg(attname::text ORDER BY attnum)
         FROM pg_attribute WHERE attrelid = '${name}'::regclass AND attnum > 0) AS columns`,
    );
    return { oid: row?.oid ?? 0, name, columns: row?.columns ?? [], key };
  }
}
