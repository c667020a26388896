import type { EmbeddedPostgres } from "../support/postgres.ts";
import type { Stages } from "./stage.ts";

/** What all benchmarks share. */
export interface Bench {
  readonly pg: EmbeddedPostgres;
  readonly stages: Stages;
  /** Small sizes, for CI. */
  readonly quick: boolean;
  /** Rounds of each comparison. */
  readonly rounds: number;
  /** Number of tables of the benchmark of many; by default 1,000. */
  readonly tables: number | null;
  /** Factor for the sizes. */
  readonly scale: number;
  /** Whether a benchmark of this name was asked for. */
  readonly wants: (name: string) => boolean;
  readonly say: (text: string) => void;
}
