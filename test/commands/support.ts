import { runCli } from "../../src/cli.ts";
import type { TestStage } from "../support/stage.ts";

export interface Outcome {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

class Screen {
  text = "";
  readonly #onWrite: (text: string) => void;

  constructor(onWrite: (text: string) => void = () => {}) {
    this.#onWrite = onWrite;
  }

  write(text: string): void {
    this.text += text;
    this.#onWrite(text);
  }
}

export interface Running {
  readonly signal?: AbortSignal;
  /** Gets what is written to stdout, as it is written. */
  readonly onWrite?: (text: string) => void;
}

/** Runs a command as the shell would, in this process. */
export async function pgstage(
  argv: readonly string[],
  env: Readonly<Record<string, string>>,
  { signal = new AbortController().signal, onWrite }: Running = {},
): Promise<Outcome> {
  const [stdout, stderr] = [new Screen(onWrite), new Screen()];
  const code = await runCli(argv, { env, stdout, stderr, signal });
  return { code, out: stdout.text, err: stderr.text };
}

/** The settings of a pipeline without HTTP. */
export function settingsFor(source: string, stage: Pick<TestStage, "env">): Record<string, string> {
  return { PGSTAGE_SOURCE_URL: source, PGSTAGE_HTTP_PORT: "0", ...stage.env };
}
