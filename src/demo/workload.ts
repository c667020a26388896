import { setTimeout as delay } from "node:timers/promises";
import type { Client } from "pg";
import { EVENTS, STEPS, type Step, WORKLOAD_SETUP } from "./workload-sql.ts";

/** Between two transactions of one session. */
const PAUSE_MS = 10;
const SESSIONS = 2;

export interface WorkloadCounts {
  transactions: number;
  /** Rows inserted, updated and deleted by statements; whole-table statements count as nothing. */
  rows: number;
}

/**
 * A live application on the demo's tables: two sessions with small transactions all the time, and now and then an
 * event that a person should hear of.
 */
export class Workload {
  readonly counts: WorkloadCounts = { transactions: 0, rows: 0 };
  readonly #connect: () => Promise<Client>;
  readonly #announce: (text: string) => void;
  readonly #over = new AbortController();
  #running: Promise<unknown> = Promise.resolve();
  #failure: unknown = null;

  constructor(connect: () => Promise<Client>, announce: (text: string) => void) {
    this.#connect = connect;
    this.#announce = announce;
  }

  /** `everyMs`: between two events, after `firstMs`. */
  async start(events: { firstMs: number; everyMs: number }): Promise<void> {
    const setup = await this.#connect();
    await setup.query(WORKLOAD_SETUP);
    await setup.end();
    const sessions = Array.from({ length: SESSIONS }, () => this.#session((client) => this.#work(client)));
    this.#running = Promise.all([...sessions, this.#session((client) => this.#surprise(client, events))]);
    this.#running.catch((error: unknown) => {
      this.#failure ??= error;
    });
  }

  /** Resolves when the last transaction is over. Rejects if a statement of it failed. */
  async stop(): Promise<void> {
    this.#over.abort();
    await this.#running.catch(() => {});
    if (this.#failure) throw this.#failure;
  }

  get #isOver(): boolean {
    return this.#over.signal.aborted;
  }

  async #session(run: (client: Client) => Promise<void>): Promise<void> {
    const client = await this.#connect();
    try {
      await run(client);
    } catch (error) {
      this.#failure ??= error;
      this.#over.abort();
    } finally {
      await client.end().catch(() => {});
    }
  }

  async #work(client: Client): Promise<void> {
    while (!this.#isOver) {
      await this.#transaction(client, pick());
      await this.#pause(PAUSE_MS);
    }
  }

  async #surprise(client: Client, { firstMs, everyMs }: { firstMs: number; everyMs: number }): Promise<void> {
    await this.#pause(firstMs);
    for (let round = 0; !this.#isOver; round++) {
      for (const event of EVENTS) {
        if (round > 0 && event.once) continue;
        if (this.#isOver) return;
        this.#announce(event.says);
        await this.#transaction(client, { weight: 0, sql: event.sql(round) });
        await this.#pause(everyMs);
      }
    }
  }

  async #transaction(client: Client, step: Step): Promise<void> {
    await client.query("BEGIN");
    for (const sql of step.sql) {
      const { rowCount } = await retried(client, sql);
      if (!step.rollsBack) this.counts.rows += rowCount ?? 0;
    }
    await client.query(step.rollsBack ? "ROLLBACK" : "COMMIT");
    this.counts.transactions++;
  }

  async #pause(ms: number): Promise<void> {
    await delay(ms, undefined, { signal: this.#over.signal }).catch(() => {});
  }
}

/** Sessions wait for each other's rows, and one may be the victim of a deadlock: it goes on without its change. */
async function retried(client: Client, sql: string): Promise<{ rowCount: number | null }> {
  await client.query("SAVEPOINT before");
  try {
    return await client.query(sql);
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : "";
    if (code !== "40P01" && code !== "23505") throw error;
    await client.query("ROLLBACK TO SAVEPOINT before");
    return { rowCount: 0 };
  }
}

const TOTAL_WEIGHT = STEPS.reduce((sum, { weight }) => sum + weight, 0);

function pick(): Step {
  let at = Math.random() * TOTAL_WEIGHT;
  for (const step of STEPS) {
    at -= step.weight;
    if (at < 0) return step;
  }
  return STEPS[0] as Step;
}
