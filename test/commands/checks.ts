import type { Check } from "../../src/daemon/preflight.ts";
import type { TestStage } from "../support/stage.ts";
import { expect } from "vitest";
import { pgstage, settingsFor } from "./support.ts";

export interface Result {
  readonly code: number;
  readonly all: readonly Check[];
  /** The one check of that name; fails if there are several. */
  readonly of: (name: string) => Check;
  /** What is not ok. */
  readonly problems: readonly string[];
}

/** Runs `pgstage check --json`. */
export async function runCheck(
  source: string,
  stage: TestStage,
  more: Record<string, string> = {},
): Promise<Result> {
  const { code, out, err } = await pgstage(["check", "--json"], { ...settingsFor(source, stage), ...more });
  expect(err).toBe("");
  const all = JSON.parse(out) as Check[];
  return {
    code,
    all,
    of: (name) => {
      const found = all.filter((one) => one.name === name);
      expect(found, `${name} in ${out}`).toHaveLength(1);
      return found[0] as Check;
    },
    problems: all.filter(({ verdict }) => verdict !== "ok").map(({ name, verdict }) => `${verdict} ${name}`),
  };
}
