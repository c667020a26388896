import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import type { Bench } from "./bench.ts";
import { median, type Figure } from "./report.ts";

const run = promisify(execFile);
const CHILD = join(import.meta.dirname, "allocations-child.ts");
const FLAGS = ["--expose-gc", "--min-semi-space-size=512", "--max-semi-space-size=512", "--import", "tsx"];

/** What the collector will have to do: bytes of heap a change. */
export async function benchAllocations(bench: Bench): Promise<Figure[]> {
  const figures: Figure[] = [];
  for (const size of [1000, 3]) {
    const values: number[] = [];
    for (let round = 0; round < bench.rounds; round++) {
      const { stdout } = await run(process.execPath, [...FLAGS, CHILD, String(size)]);
      values.push(Number(stdout));
    }
    const what = `transactions of ${size} rows`;
    figures.push({ group: "allocations", what, value: median(values), unit: "B/change" });
  }
  return figures;
}
