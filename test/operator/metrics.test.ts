import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { sceneFor } from "../crash/scene.ts";

const CONFIG = join(import.meta.dirname, "../../config");

/** Names of our metrics that a shipped file asks for. */
function asked(file: string): string[] {
  return [...new Set(readFileSync(join(CONFIG, file), "utf8").match(/\bpgstage_\w+/g))];
}

const newScene = sceneFor();

test("a running daemon's /metrics has what the dashboard and the alerts ask for", async () => {
  await using scene = await newScene("s3");
  await scene.sql("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 10)");
  const daemon = await scene.daemon();
  await scene.settled(daemon);
  const answer = await fetch(`${daemon.address}/metrics`);
  expect(answer.headers.get("content-type")).toMatch(/^text\/plain; version=0\.0\.4/);
  const text = await answer.text();
  // Counters of what has not happened yet are declared, and have no series.
  const declared = [...text.matchAll(/^# TYPE (\w+) (\w+)$/gm)].flatMap(([, name = "", type]) =>
    type === "histogram" ? [`${name}_bucket`, `${name}_sum`, `${name}_count`] : [name],
  );
  for (const file of ["grafana-dashboard.json", "prometheus-rules.yaml"]) {
    const names = asked(file);
    expect(names.length).toBeGreaterThan(5);
    expect(names.filter((name) => !declared.includes(name))).toEqual([]);
  }
  expect(text).toMatch(/^pgstage_published_rows_total\{kind="copy"\} \d+$/m);
});
