import type { Figure } from "./report.ts";

/** What a figure must keep: a ratio to its reference at least, or a value at most. */
interface Floor {
  /** Begins the figure's `group: what`. */
  readonly figure: string;
  readonly ratio?: number;
  readonly atMost?: number;
  /** `quick` runs are short, and CI's machines share their cores: less is asked of a ratio there. */
  readonly quickRatio?: number;
}

const FLOORS: readonly Floor[] = [
  { figure: "stream: against the naive build", ratio: 2.5, quickRatio: 2 },
  { figure: "stream: against pg_recvlogical", ratio: 0.9, quickRatio: 0.6 },
  { figure: "stream: ", ratio: 0.9, quickRatio: 0.6 },
  { figure: "copy: gzip, 1 worker,", ratio: 0.8 },
  // The S3 server of the tests works on the same cores.
  { figure: "copy: gzip, 2 workers, s3", ratio: 1.5, quickRatio: 0.4 },
  { figure: "copy: gzip", ratio: 1.5, quickRatio: 0.6 },
  { figure: "copy: none", ratio: 0.9, quickRatio: 0.3 },
  { figure: "latency: commit to visible, file, p99", atMost: 1.5 },
  { figure: "latency: commit to visible, s3, p99", atMost: 1.5 },
  { figure: "peak memory: ", atMost: 256 },
  { figure: "1000 tables: peak memory", atMost: 256 },
  { figure: "200 tables: peak memory", atMost: 256 },
  { figure: "1000 tables: start to streaming", atMost: 5 },
  { figure: "200 tables: start to streaming", atMost: 5 },
  { figure: "1000 tables: idle, CPU", atMost: 1 },
  { figure: "allocations: transactions of 1000 rows", atMost: 250 },
  { figure: "allocations: transactions of 3 rows", atMost: 1000 },
];

export interface Verdict {
  readonly text: string;
  readonly kept: boolean;
}

/** Whether a figure keeps its floor; null if it has none. */
export function judge(figure: Figure, quick: boolean): Verdict | null {
  const name = `${figure.group}: ${figure.what}`;
  const floor = FLOORS.find((one) => name.startsWith(one.figure));
  if (!floor) return null;
  if (floor.atMost !== undefined) return { text: `≤ ${floor.atMost}`, kept: figure.value <= floor.atMost };
  const least = (quick ? floor.quickRatio : floor.ratio) ?? 0;
  return { text: `≥ ${least}`, kept: (figure.ratio ?? 0) >= least };
}
