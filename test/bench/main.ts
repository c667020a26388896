import { cpus, loadavg } from "node:os";
import { parseArgs } from "node:util";
import { benchAllocations } from "./allocations.ts";
import type { Bench } from "./bench.ts";
import { benchCopy } from "./copy.ts";
import { judge, type Verdict } from "./floors.ts";
import { benchLatency } from "./latency.ts";
import { benchLog } from "./log.ts";
import { benchMany } from "./many.ts";
import { benchMemory } from "./memory.ts";
import { table, type Figure } from "./report.ts";
import { startServer } from "./source.ts";
import { Stages } from "./stage.ts";
import { benchStream } from "./stream.ts";

/**
 * Measures pgstage against references in the same run:
 *
 *     npm run bench -- [--quick] [--json] [--only stream,copy] [--rounds 3] [--scale 1] [--tables 1000]
 *
 * Starts all servers itself. Exits with 1 if a figure is under its floor.
 */
const GROUPS: Readonly<Record<string, (bench: Bench) => Promise<Figure[]>>> = {
  stream: benchStream,
  copy: benchCopy,
  latency: benchLatency,
  memory: benchMemory,
  many: benchMany,
  log: benchLog,
  allocations: benchAllocations,
};
const ROUNDS = 3;

const { values } = parseArgs({
  options: {
    json: { type: "boolean", default: false },
    quick: { type: "boolean", default: false },
    only: { type: "string", default: "" },
    rounds: { type: "string" },
    scale: { type: "string", default: "1" },
    tables: { type: "string" },
  },
});
const only = values.only.split(",").filter(Boolean);
const loadBefore = loadavg()[0] ?? 0;
const pg = await startServer();
const stages = await Stages.open();
const bench: Bench = {
  pg,
  stages,
  quick: values.quick,
  rounds: Number(values.rounds ?? ROUNDS),
  scale: Number(values.scale),
  tables: values.tables === undefined ? null : Number(values.tables),
  wants: (name) => only.length === 0 || only.some((one) => name.startsWith(one)),
  say: (text) => console.error(text),
};
const figures: Figure[] = [];
try {
  for (const [name, run] of Object.entries(GROUPS)) {
    if (only.length > 0 && !only.some((one) => one.split(" ")[0] === name)) continue;
    figures.push(...(await run(bench)));
  }
} finally {
  await stages.close();
  await pg.destroy();
}
const verdicts = new Map<Figure, Verdict>(
  figures.flatMap((figure) => {
    const verdict = judge(figure, values.quick);
    return verdict === null ? [] : [[figure, verdict]];
  }),
);
const machine = `Node ${process.version}, ${cpus().length} × ${cpus()[0]?.model ?? "?"}, load ${loadBefore.toFixed(1)} before`;
if (values.json) {
  const all = figures.map((figure) => ({ ...figure, ...verdicts.get(figure) }));
  console.log(JSON.stringify({ machine, quick: values.quick, rounds: bench.rounds, figures: all }, null, 1));
} else {
  const texts = new Map(
    [...verdicts].map(([figure, { text, kept }]) => [figure, kept ? text : `${text} MISSED`]),
  );
  console.log(`${machine}\n\n${table(figures, texts)}`);
}
const missed = [...verdicts].filter(([, { kept }]) => !kept);
for (const [{ group, what }, { text }] of missed) console.error(`${group}, ${what}: not ${text}`);
process.exitCode = missed.length > 0 ? 1 : 0;
