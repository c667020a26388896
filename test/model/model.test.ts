import fc from "fast-check";
import { expect, it } from "vitest";
import { play } from "./run.ts";
import { scenario } from "./scenario.ts";

/** PROPERTY_BUDGET_MS: how long to look. PROPERTY_SEED and PROPERTY_PATH: what a failure printed, to see it again. */
const budgetMs = Number(process.env["PROPERTY_BUDGET_MS"] ?? 10_000);
const seed = process.env["PROPERTY_SEED"];
const path = process.env["PROPERTY_PATH"];

it(
  "publishes exactly what was committed, whatever fails, answers late, dies or is replaced",
  async () => {
    const seen = { histories: 0, calls: 0, restarts: 0, rows: 0, files: 0 };
    const property = fc.asyncProperty(scenario, async (one) => {
      const played = await play(one);
      seen.histories++;
      seen.calls += played.calls;
      seen.restarts += played.restarts;
      seen.rows += played.world.expected.length;
      seen.files += played.stage.dataKeys().length;
    });
    const details = await fc.check(property, {
      numRuns: 1_000_000,
      ...(seed ? { seed: Number(seed) } : {}),
      ...(path ? { path } : { interruptAfterTimeLimit: budgetMs }),
    });
    console.info("model", JSON.stringify({ seed: details.seed, ...seen }));
    if (details.failed) {
      const { seed: failed, counterexamplePath, counterexample, errorInstance } = details;
      const again = `PROPERTY_SEED=${failed} PROPERTY_PATH=${counterexamplePath ?? ""}`;
      const what = errorInstance instanceof Error ? errorInstance.stack : String(errorInstance);
      expect.fail(`${again}\n${what}\n${fc.stringify(counterexample)}`);
    }
    expect(seen.histories).toBeGreaterThan(0);
  },
  budgetMs + 120_000,
);
