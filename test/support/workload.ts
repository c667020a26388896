import { setTimeout as delay } from "node:timers/promises";
import pg from "pg";
import type { Random } from "./random.ts";
import { CREATE_TABLES, FILL_TABLES, TABLES, type WorkloadTable } from "./workload-tables.ts";

export interface WorkloadOptions {
  /** `postgres://…` of an empty database. */
  readonly url: string;
  readonly random: Random;
  /** Connections that change rows, besides the one that changes tables. */
  readonly sessions?: number;
  /** Pause between two changes of tables; 0: tables are not changed. */
  readonly ddlEveryMs?: number;
  /** Longest pause of a session between two transactions. */
  readonly pauseMs?: number;
}

/** SQLSTATE classes and codes that a busy application meets: conflicts, deadlocks, objects changed under it. */
const EXPECTED = /^(40|42|23|55P03|57014|22|0A|2BP)/;
/** … and a server that is restarted. */
const SERVER_GONE = /^(57P|08|53300)/;
const RECONNECT_MS = 100;

/** Makes the tables of the workload in an empty database, and fills them. */
export async function createTables(url: string): Promise<void> {
  await withClient(url, async (client) => {
    await client.query(CREATE_TABLES);
    await client.query(FILL_TABLES);
  });
}

async function withClient(url: string, use: (client: pg.Client) => Promise<void>): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  client.on("error", () => {});
  await client.connect();
  try {
    await use(client);
  } finally {
    await client.end();
  }
}

/** What an application might do, all of it, at once and at random, until it is stopped. */
export class Workload {
  commits = 0;
  rollbacks = 0;
  ddl = 0;
  readonly #options: WorkloadOptions;
  readonly #stopping = new AbortController();
  readonly #sessions: Promise<void>[];
  readonly #failures: unknown[] = [];

  constructor(options: WorkloadOptions) {
    this.#options = options;
    const { random, sessions = 4, ddlEveryMs = 400 } = options;
    const work = Array.from({ length: sessions }, () =>
      this.#session(random.fork(), (client, own) => this.#transaction(client, own)),
    );
    const changes = new TableChanges();
    if (ddlEveryMs > 0) {
      work.push(
        this.#session(random.fork(), async (client, own) => {
          await this.#alter(client, changes.next(own));
          await this.#pause(ddlEveryMs);
        }),
      );
    }
    this.#sessions = work;
  }

  /** Resolves when nothing of it is open any more; rejects if a statement failed that should not have. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await Promise.all(this.#sessions);
    if (this.#failures.length > 0) throw this.#failures[0];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping.abort();
    await Promise.all(this.#sessions);
  }

  async #session(random: Random, turn: (client: pg.Client, random: Random) => Promise<void>): Promise<void> {
    while (!this.#stopping.signal.aborted && this.#failures.length === 0) {
      try {
        await withClient(this.#options.url, async (client) => {
          await client.query("SET lock_timeout = '1s'; SET deadlock_timeout = '100ms'");
          while (!this.#stopping.signal.aborted) await turn(client, random);
        });
      } catch (error) {
        if (!isServerGone(error)) this.#failures.push(error);
        await this.#pause(RECONNECT_MS);
      }
    }
  }

  async #pause(ms: number): Promise<void> {
    await delay(ms, undefined, { signal: this.#stopping.signal }).catch(() => {});
  }

  async #transaction(client: pg.Client, random: Random): Promise<void> {
    try {
      await client.query("BEGIN");
      const statements = random.chance(0.05) ? 100 : 1 + random.below(6);
      for (let i = 0; i < statements; i++) await this.#statement(client, random);
      const ending = random.chance(0.12) ? "ROLLBACK" : "COMMIT";
      await client.query(ending);
      if (ending === "COMMIT") this.commits++;
      else this.rollbacks++;
    } catch (error) {
      if (!isExpected(error)) throw error;
      await client.query("ROLLBACK");
      this.rollbacks++;
    }
    await this.#pause(random.below(this.#options.pauseMs ?? 20));
  }

  async #statement(client: pg.Client, random: Random): Promise<void> {
    const text = changeOf(random.pick(TABLES), random);
    if (!random.chance(0.3)) {
      await client.query(text);
      return;
    }
    await client.query("SAVEPOINT here");
    try {
      await client.query(text);
      await client.query(random.chance(0.4) ? "ROLLBACK TO here" : "RELEASE here");
    } catch (error) {
      if (!isExpected(error) || isDeadlock(error)) throw error;
      await client.query("ROLLBACK TO here");
    }
  }

  async #alter(client: pg.Client, text: string): Promise<void> {
    try {
      await client.query(text);
      this.ddl++;
    } catch (error) {
      if (!isExpected(error)) throw error;
      await client.query("ROLLBACK");
    }
  }
}

function changeOf(table: WorkloadTable, random: Random): string {
  const dice = random.next();
  if (dice < 0.003) return `TRUNCATE ${table.name}`;
  if (dice < 0.35) return table.insert(random);
  if (dice < 0.7) return (table.update ?? table.insert)(random);
  if (dice < 0.85) return (table.rekey ?? table.insert)(random);
  return (table.remove ?? table.insert)(random);
}

/** One change of tables after the other, each from what the ones before have made. */
class TableChanges {
  readonly #extras = new Map<string, string[]>();
  readonly #added: string[] = [];
  #count = 0;

  next(random: Random): string {
    const number = ++this.#count;
    const dice = random.next();
    if (dice < 0.15) return this.#newTable(`added_${number}`);
    if (dice < 0.22 && this.#added.length > 0) return `DROP TABLE IF EXISTS ${this.#added.shift()}`;
    if (dice < 0.27 && this.#added.length > 0) return this.#renameTable(number);
    if (dice < 0.35) return partitionChange(random);
    if (dice < 0.4) return `VACUUM FULL ${random.pick(TABLES).name}`;
    return this.#column(random, number);
  }

  #newTable(name: string): string {
    this.#added.push(name);
    return `CREATE TABLE ${name} (id int PRIMARY KEY, v text); INSERT INTO ${name} SELECT i, md5(i::text) FROM generate_series(1, 300) AS i`;
  }

  #renameTable(number: number): string {
    const [from = ""] = this.#added;
    this.#added[0] = `renamed_${number}`;
    return `ALTER TABLE IF EXISTS ${from} RENAME TO renamed_${number}`;
  }

  #column(random: Random, number: number): string {
    const { name } = random.pick(TABLES.filter((table) => table.mayAlter));
    const extras = this.#extras.get(name) ?? [];
    this.#extras.set(name, extras);
    const dice = random.next();
    const column = random.pick(extras);
    if (extras.length === 0 || (dice < 0.35 && extras.length < 6)) {
      extras.push(`x${number}`);
      const type = random.pick([
        "int",
        "text",
        "int DEFAULT 7",
        "text DEFAULT 'new, \"rows\"'",
        "int NOT NULL DEFAULT 1",
      ]);
      return `ALTER TABLE ${name} ADD COLUMN x${number} ${type}`;
    }
    if (dice < 0.5) {
      extras.splice(extras.indexOf(column), 1);
      return `ALTER TABLE ${name} DROP COLUMN IF EXISTS ${column}`;
    }
    if (dice < 0.6) {
      extras[extras.indexOf(column)] = `x${number}`;
      return `ALTER TABLE ${name} RENAME COLUMN ${column} TO x${number}`;
    }
    if (dice < 0.75)
      return `ALTER TABLE ${name} ALTER ${column} DROP DEFAULT, ALTER ${column} TYPE ${random.pick(["text USING left(%::text, 20)", "bigint USING length(%::text)", "numeric(12,2) USING length(%::text)"]).replace("%", column)}`;
    return `UPDATE ${name} SET ${column} = '${random.below(1000)}'`;
  }
}

function partitionChange(random: Random): string {
  const name = random.pick(["parted_north", "parted_south"]);
  const values = name === "parted_north" ? "north" : "south";
  return random.pick([
    `TRUNCATE ${name}`,
    `BEGIN; ALTER TABLE parted DETACH PARTITION ${name}; UPDATE ${name} SET v = 'while detached' WHERE id % 7 = 0; ALTER TABLE parted ATTACH PARTITION ${name} FOR VALUES IN ('${values}'); COMMIT`,
    `BEGIN; ALTER TABLE parted DETACH PARTITION ${name}; DELETE FROM parted_rest WHERE region = '${values}'; ALTER TABLE parted ATTACH PARTITION ${name} FOR VALUES IN ('${values}'); COMMIT`,
  ]);
}

function codeOf(error: unknown): string {
  return (error as { code?: string }).code ?? "";
}

function isExpected(error: unknown): boolean {
  return EXPECTED.test(codeOf(error));
}

function isDeadlock(error: unknown): boolean {
  return codeOf(error) === "40P01";
}

function isServerGone(error: unknown): boolean {
  return (
    SERVER_GONE.test(codeOf(error)) ||
    /Connection terminated|ECONNREFUSED|ECONNRESET|not queryable|starting up/i.test(String(error))
  );
}
