import type { Buffer } from "node:buffer";
import type { Socket } from "node:net";
import type { Client } from "pg";
import { tapCopyData } from "./copy-data.ts";

/** A row with its line feed, a view that dies when this returns; a promise asks to wait before more is read. */
export type OnRow = (row: Buffer) => Promise<void> | null;

/** What pg tells a query object; its types do not say so. */
interface WireConnection {
  readonly stream: Socket;
  query(text: string): void;
}

/**
 * `COPY … TO STDOUT`, row by row: the server sends one CopyData message a row (protocol documentation, "COPY
 * Operations"), so rows need no parsing. `onRow` gets a view that dies when it returns; a promise from it pauses the
 * socket, after the rows of the chunk that has arrived already.
 */
class CopyOut {
  readonly done: Promise<number>;
  readonly #text: string;
  readonly #onRow: OnRow;
  #connection: WireConnection | null = null;
  #resolve: (rows: number) => void = () => {};
  #reject: (error: unknown) => void = () => {};
  #rows = 0;
  #waits = 0;
  #over = false;

  constructor(text: string, onRow: OnRow) {
    this.#text = text;
    this.#onRow = onRow;
    this.done = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
  }

  submit(connection: WireConnection): void {
    this.#connection = connection;
    tapCopyData(connection.stream, (bytes, from, to) => this.#row(bytes.subarray(from, to)));
    connection.query(this.#text);
  }

  #row(row: Buffer): void {
    if (this.#over) return;
    let wait: Promise<void> | null;
    try {
      wait = this.#onRow(row);
    } catch (error) {
      this.#giveUp(error);
      return;
    }
    if (wait) this.#waitFor(wait);
  }

  #waitFor(wait: Promise<void>): void {
    if (this.#waits++ === 0) this.#connection?.stream.pause();
    wait.then(
      () => {
        if (--this.#waits === 0) this.#connection?.stream.resume();
      },
      (error: unknown) => this.#giveUp(error),
    );
  }

  /** A copy cannot be ended from this side but by closing its connection. */
  #giveUp(error: unknown): void {
    this.#over = true;
    this.#reject(error);
    this.#connection?.stream.destroy();
  }

  handleCommandComplete(message: { readonly text: string }): void {
    this.#rows = Number(message.text.split(" ")[1]);
  }

  handleError(error: unknown): void {
    this.#over = true;
    this.#reject(error);
  }

  handleReadyForQuery(): void {
    this.#resolve(this.#rows);
  }

  handleRowDescription(): void {}
  handleEmptyQuery(): void {}
  handlePortalSuspended(): void {}
}

/** Resolves with the number of rows that the server says it sent. */
export async function copyOut(client: Client, text: string, onRow: OnRow): Promise<number> {
  const copy = new CopyOut(text, onRow);
  void client.query(copy as unknown as Parameters<Client["query"]>[0]);
  return copy.done;
}
