import type { Client } from "pg";
import { TransientError } from "../core/errors.ts";
import { connectSource, type SourceAccess } from "./connect.ts";
import { explainSqlError } from "./sql-connection.ts";

/**
 * A connection for questions that a server answers at once if it is there. A network that is gone swallows them
 * without a word, so each has a limit, after which the connection is given up and the next question makes another.
 */
export class Probe {
  readonly #source: SourceAccess;
  readonly #serverVersion: number;
  readonly #limitMs: number;
  #client: Promise<Client> | null = null;
  #closed = false;

  constructor(source: SourceAccess, options: { serverVersion: number; limitMs: number }) {
    this.#source = source;
    this.#serverVersion = options.serverVersion;
    this.#limitMs = options.limitMs;
  }

  /** One question at a time. Rejects with a TransientError if there is no answer in time, connecting included. */
  async ask<T>(question: (client: Client) => Promise<T>): Promise<T> {
    if (this.#closed) throw new TransientError("the connection to the source is closed");
    let timer: NodeJS.Timeout | undefined;
    const tooLate = new Promise<never>((_, reject) => {
      const silence = new TransientError(`silent for ${this.#limitMs / 1000} s`);
      timer = setTimeout(() => reject(silence), this.#limitMs);
    });
    try {
      this.#client ??= connectSource(this.#source, "sql", {
        serverVersion: this.#serverVersion,
        atStart: false,
      });
      return await Promise.race([this.#client.then(question), tooLate]);
    } catch (error) {
      this.#drop();
      throw explainSqlError(error);
    } finally {
      clearTimeout(timer);
    }
  }

  close(): void {
    this.#closed = true;
    this.#drop();
  }

  #drop(): void {
    const client = this.#client;
    this.#client = null;
    void client?.then((open) => open.end()).catch(() => {});
  }
}
