import type { Client } from "pg";
import { BusyError, messageOf, OperatorError, TransientError } from "../core/errors.ts";
import { connectSource, type SourceAccess } from "./connect.ts";
import { sqlState } from "./quote.ts";

/** SQLSTATE classes and codes with which a server ends a connection or cannot serve one now. */
const LOST = /^(08|53|57P|58)/;
/** What the operating system says of a connection. */
const NETWORK = /^(ECONN|EPIPE|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|ENETDOWN|ENOTFOUND|EAI_AGAIN)/;

/** Whether the connection is gone, so that the same may work over a new one. pg itself gives no code to a lost one. */
export function isConnectionLoss(error: unknown): boolean {
  if (error instanceof TransientError) return true;
  const state = sqlState(error);
  if (state !== "" && !NETWORK.test(state)) return LOST.test(state) || isDroppedMeanwhile(error);
  const { code, message } = error as { code?: string; message?: string };
  if (typeof code === "string") return NETWORK.test(code);
  return /^Connection terminated|^Query read timeout|^Client (has encountered|was closed|is closed)|socket|timeout expired/i.test(
    message ?? "",
  );
}

/**
 * Somebody's lock or a statement's time limit was in the way, or somebody cancelled it: also looking at the catalog
 * takes locks for a moment, and to scripts a walsender's command is one that runs long.
 */
export function isLocked(error: unknown): boolean {
  return /^(55P03|57014|40P01)$/.test(sqlState(error));
}

/** A BusyError if it may work at another time; everything else as it is. */
export function asBusy(error: unknown): unknown {
  return isLocked(error) ? new BusyError(messageOf(error), { cause: error }) : error;
}

/** A relation or type went while a catalog query looked at it: internal errors of the server, right at the next try. */
function isDroppedMeanwhile(error: unknown): boolean {
  const { message = "" } = error as { message?: string };
  return sqlState(error) === "XX000" && /^(could not open relation|cache lookup failed)/.test(message);
}

/** A lost connection as a TransientError; everything else as it is. */
export function explainSqlError(error: unknown): unknown {
  if (error instanceof TransientError || error instanceof OperatorError) return error;
  if (isDroppedMeanwhile(error)) {
    return new TransientError(`something was dropped while we looked at it: ${(error as Error).message}`, {
      cause: error,
    });
  }
  return isConnectionLoss(error)
    ? new TransientError(`the connection to the source was lost: ${(error as Error).message}`, {
        cause: error,
      })
    : error;
}

/** One SQL connection, used by one caller at a time, made when it is needed and made again after it was lost. */
export class SqlConnection {
  readonly #source: SourceAccess;
  readonly #serverVersion: number;
  #client: Promise<Client> | null = null;
  #last: Promise<unknown> = Promise.resolve();
  #closed = false;

  constructor(source: SourceAccess, serverVersion: number) {
    this.#source = source;
    this.#serverVersion = serverVersion;
  }

  /** Runs `use` after those before it have ended. Rejects with a TransientError if the connection is lost. */
  use<T>(use: (client: Client) => Promise<T>): Promise<T> {
    const turn = this.#last.then(() => this.#run(use));
    this.#last = turn.catch(() => {});
    return turn;
  }

  async #run<T>(use: (client: Client) => Promise<T>): Promise<T> {
    if (this.#closed) throw new TransientError("the connection to the source is closed");
    this.#client ??= connectSource(this.#source, "sql", {
      serverVersion: this.#serverVersion,
      atStart: false,
    });
    const used = this.#client;
    try {
      return await use(await used);
    } catch (error) {
      // It may have been given up already, and another one made.
      if (this.#client === used && isConnectionLoss(error)) this.#drop();
      throw explainSqlError(error);
    }
  }

  #drop(): void {
    const client = this.#client;
    this.#client = null;
    void client?.then((open) => open.end()).catch(() => {});
  }

  close(): void {
    this.#closed = true;
    this.#drop();
  }
}
