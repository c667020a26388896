import type { Terminal } from "./terminal.ts";

const ERASE_LINE = "\r\u001B[2K";

/** A line at the bottom of a terminal that changes in its place, while other lines scroll above it. */
export class StatusLine {
  readonly #to: Terminal;
  #shown = "";

  constructor(to: Terminal) {
    this.#to = to;
  }

  /** Replaces the line. It is cut at the terminal's width, because a wrapped line could not be erased. */
  show(text: string): void {
    this.#shown = text.slice(0, Math.max(0, (this.#to.columns ?? 80) - 1));
    this.#to.write(`${ERASE_LINE}${this.#shown}`);
  }

  /** Writes whole lines (with their ends) above it. */
  print(text: string): void {
    this.#to.write(this.#shown === "" ? text : `${ERASE_LINE}${text}${this.#shown}`);
  }

  /** Takes the line away. */
  clear(): void {
    if (this.#shown !== "") this.#to.write(ERASE_LINE);
    this.#shown = "";
  }

  /** Leaves the line as it is and goes to the next one. */
  end(): void {
    if (this.#shown !== "") this.#to.write("\n");
    this.#shown = "";
  }
}
