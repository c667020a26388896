import { canRewrite, type Terminal } from "../observe/terminal.ts";

const ERASE_BELOW = "\u001b[J";
const BAR_WIDTH = 24;

/**
 * Output for a person: lines that stay, and on a terminal some lines below them that are drawn again and again. Where
 * lines cannot be drawn again there are only those that stay.
 */
export class Screen {
  readonly isLive: boolean;
  readonly #to: Terminal;
  #drawn = 0;
  #footer: readonly string[] = [];

  constructor(to: Terminal, env: Readonly<Record<string, string | undefined>>) {
    this.#to = to;
    this.isLive = canRewrite(to, env);
  }

  line(text = ""): void {
    this.#to.write(`${this.#up()}${text}\n${this.#down()}`);
  }

  /** Replaces the lines at the bottom. */
  live(lines: readonly string[]): void {
    if (!this.isLive) return;
    const up = this.#up();
    const width = (this.#to.columns ?? 100) - 1;
    this.#footer = lines.map((line) => line.slice(0, width));
    this.#to.write(`${up}${this.#down()}`);
  }

  #up(): string {
    return this.#drawn > 0 ? `\u001b[${this.#drawn}A\r${ERASE_BELOW}` : "";
  }

  #down(): string {
    this.#drawn = this.#footer.length;
    return this.#footer.map((line) => `${line}\n`).join("");
  }
}

/** `████████░░░░░░░░ 50 %` */
export function bar(share: number): string {
  const full = Math.round(Math.min(1, Math.max(0, share)) * BAR_WIDTH);
  return `${"█".repeat(full)}${"░".repeat(BAR_WIDTH - full)}`;
}
