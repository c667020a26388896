import { cpus, loadavg } from "node:os";
import { parseArgs } from "node:util";
import type { Bench } from "./bench.ts";
import { benchCopy } from "./copy.ts";
import { table, type Figure } from "./report.ts";
import { startServer } from "./source.ts";
import { Stages } from "./stage.ts";
import { benchStream } from "./stream.ts";

const { values } = parseArgs({
  options: {
    json: { type: "boolean", default: false },
    quick: { type: "boolean", default: false },
    only: { type: "string", default: "" },
    rounds: { type: "string" },
    scale: { type: "string", default: "1" },
  },
});
const GROUPS = { stream: benchStream, copy: benchCopy };
const only = values.only.split(",").filter(Boolean);
const pg = await startServer();
const stages = await Stages.open();
const bench: Bench = {
  pg,
  stages,
  quick: values.quick,
  rounds: Number(values.rounds ?? (values.quick ? 3 : 5)),
  scale: Number(values.scale),
  wants: (name) => only.length === 0 || only.some((one) => name.startsWith(one)),
  say: (text) => console.error(text),
};
const figures: Figure[] = [];
try {
  for (const [name, run] of Object.entries(GROUPS)) {
    if (only.length === 0 || only.some((one) => one.startsWith(name))) figures.push(...(await run(bench)));
  }
} finally {
  await stages.close();
  await pg.destroy();
}
console.log(
  values.json
    ? JSON.stringify({ node: process.version, cpus: cpus().length, load: loadavg(), figures }, null, 1)
    : table(figures, new Map()),
);
