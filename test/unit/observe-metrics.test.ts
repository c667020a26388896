import { readFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import YAML from "yaml";
import { OperatorError, TransientError } from "../../src/core/errors.ts";
import { METRICS } from "../../src/observe/metrics-table.ts";
import { createMetrics } from "../../src/observe/metrics.ts";
import { newScene, SCENES } from "../browser/scenes.ts";

interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** The text format, as Prometheus reads it. */
function parse(text: string): Sample[] {
  const samples: Sample[] = [];
  for (const line of text.split("\n").filter((one) => one !== "" && !one.startsWith("#"))) {
    const match = /^(\w+)(?:\{(.*)\})? (\S+)$/.exec(line);
    if (match === null) throw new Error(`not a sample: ${line}`);
    const labels = [...(match[2] ?? "").matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)].map((label) => [
      label[1],
      label[2],
    ]);
    samples.push({
      name: match[1] ?? "",
      labels: Object.fromEntries(labels) as Sample["labels"],
      value: Number(match[3]),
    });
  }
  return samples;
}

/** Metrics of a daemon to which everything has happened once. */
async function scrape(): Promise<Sample[]> {
  const { observations, nowMs } = SCENES.behind();
  const metrics = createMetrics(() => observations.status(), nowMs);
  metrics.batchPublished({
    sequence: 1,
    files: [
      {
        key: "public/t/2026/11/22/07/000000000152C0A8-snapshot-00001.csv.gz",
        table: "public.t",
        rows: 7,
        bytes: 70,
      },
      {
        key: "public/t/2026/11/22/07/00000000015F0010-0000000001640258-0001.csv.gz",
        table: "public.t",
        rows: 3,
        bytes: 30,
      },
    ],
    stagedLsn: null,
    tookMs: 200,
    committedMs: nowMs(),
    oldestCommitMs: nowMs() - 4_000,
  });
  metrics.rangeCopied({ rows: 7, csvBytes: 700, tookMs: 1_500 });
  metrics.reconnected();
  await metrics.timed("put", () => Promise.resolve());
  await expect(metrics.timed("put", () => Promise.reject(new TransientError("503")))).rejects.toThrow("503");
  await expect(
    metrics.timed("list", () => Promise.reject(new OperatorError("denied", "grant"))),
  ).rejects.toThrow("denied");
  return parse(await metrics.text());
}

let samples: Sample[];
beforeAll(async () => {
  samples = await scrape();
});

function value(name: string, labels: Readonly<Record<string, string>> = {}): number | undefined {
  return samples.find((sample) => {
    if (sample.name !== name) return false;
    return Object.entries(labels).every(([label, wanted]) => sample.labels[label] === wanted);
  })?.value;
}

describe("metrics", () => {
  it("are exactly those of the table, with its labels", () => {
    const found = new Map<string, Set<string>>();
    for (const { name, labels } of samples.filter((sample) => sample.name.startsWith("pgstage_"))) {
      const base = METRICS.some((metric) => metric.name === name)
        ? name
        : name.replace(/_(bucket|sum|count)$/, "");
      const known = found.get(base) ?? new Set();
      for (const label of Object.keys(labels)) if (label !== "le") known.add(label);
      found.set(base, known);
    }
    const table = METRICS.map(({ name, labels }): [string, string[]] => [name, [...labels]]);
    const lists = [...found].map(([name, labels]): [string, string[]] => [name, [...labels]]);
    expect(Object.fromEntries(lists)).toEqual(Object.fromEntries(table));
  });

  it("have their unit in their name", () => {
    for (const { name, type, unit } of METRICS) {
      if (type === "counter") expect(name).toMatch(/_total$/);
      if (unit === "seconds" || unit === "bytes") expect(name).toMatch(new RegExp(`${unit}(_total)?$`));
    }
  });

  it("count what happened", () => {
    expect(value("pgstage_published_rows_total", { kind: "copy" })).toBe(7);
    expect(value("pgstage_published_bytes_total", { kind: "change" })).toBe(30);
    expect(value("pgstage_published_batches_total")).toBe(1);
    expect(value("pgstage_copied_csv_bytes_total")).toBe(700);
    expect(value("pgstage_publish_delay_seconds_sum")).toBe(4);
    expect(value("pgstage_delivery_duration_seconds_sum")).toBe(0.2);
    expect(value("pgstage_store_request_duration_seconds_count", { operation: "put" })).toBe(2);
    expect(value("pgstage_store_failures_total", { operation: "put", kind: "transient" })).toBe(1);
    expect(value("pgstage_store_failures_total", { operation: "list", kind: "operator" })).toBe(1);
    expect(value("pgstage_source_reconnects_total")).toBe(1);
  });

  it("show the state", () => {
    expect(value("pgstage_state", { state: "streaming" })).toBe(1);
    expect(value("pgstage_state", { state: "blocked" })).toBe(0);
    expect(value("pgstage_lag_seconds")).toBe(1_190);
    expect(value("pgstage_store_up")).toBe(0);
    expect(value("pgstage_source_up")).toBe(1);
    expect(value("pgstage_tables", { phase: "copied" })).toBe(6);
  });

  it("leave out what is not known", async () => {
    const { observations } = SCENES.starting();
    const names = parse(await createMetrics(() => observations.status()).text()).map(({ name }) => name);
    expect(names).toContain("pgstage_open_rows");
    for (const unknown of [
      "lag_seconds",
      "wal_budget_bytes",
      "wal_exhausted_in_seconds",
      "source_wal_position_bytes",
    ]) {
      expect(names).not.toContain(`pgstage_${unknown}`);
    }
  });

  it("are as many for 10,000 tables as for 100", async () => {
    const { observations } = SCENES.many();
    const many = parse(await createMetrics(() => observations.status()).text());
    const perTable = many.filter(({ name }) => name === "pgstage_table_bytes");
    expect(perTable).toHaveLength(101);
    const total = perTable.reduce((sum, sample) => sum + sample.value, 0);
    expect(total).toBe(observations.status().tables.reduce((sum, table) => sum + table.bytes, 0));
  });

  it("keep odd table names inside their label", async () => {
    const { observations } = SCENES.hostile();
    const tables = parse(await createMetrics(() => observations.status()).text()).filter(
      (one) => one.name === "pgstage_table_rows",
    );
    expect(tables.map(({ labels }) => labels["table"])).toContain(
      'public.\\"><script>window.pwned=1</script>',
    );
  });

  it("ask for one status a scrape", async () => {
    const { observations } = newScene();
    let asked = 0;
    const metrics = createMetrics(() => {
      asked++;
      return observations.status();
    });
    await metrics.text();
    await metrics.text();
    expect(asked).toBe(2);
  });
});

describe("what is shipped for Grafana and Prometheus", () => {
  const config = (name: string): string =>
    readFileSync(join(import.meta.dirname, "../../config", name), "utf8");
  /** Prometheus itself adds these to what it scrapes. */
  const TARGET_LABELS = ["job", "instance"];

  interface Dashboard {
    readonly panels: readonly {
      readonly title: string;
      readonly targets?: readonly { readonly expr: string }[];
    }[];
    readonly templating: { readonly list: readonly { readonly query: string }[] };
  }
  interface Rules {
    readonly groups: readonly {
      readonly rules: readonly { readonly alert: string; readonly expr: string }[];
    }[];
  }

  function expressions(): [string, string][] {
    const dashboard = JSON.parse(config("grafana-dashboard.json")) as Dashboard;
    const rules = YAML.parse(config("prometheus-rules.yaml")) as Rules;
    return [
      ...dashboard.panels.flatMap(({ title, targets = [] }) =>
        targets.map(({ expr }): [string, string] => [title, expr]),
      ),
      ...rules.groups.flatMap((group) =>
        group.rules.map(({ alert, expr }): [string, string] => [alert, expr]),
      ),
    ];
  }

  it("has as many queries as we think", () => {
    expect(expressions().length).toBeGreaterThan(40);
    const dashboard = JSON.parse(config("grafana-dashboard.json")) as Dashboard;
    expect(dashboard.templating.list[1]?.query).toBe("label_values(pgstage_info, instance)");
  });

  it.each(expressions())("%s: %s", (_, expr) => {
    const text = expr.replace(/\$__rate_interval/g, "1m");
    const selectors = [...text.matchAll(/\b((?:pgstage|process|nodejs)_\w+)(?:\{([^}]*)\})?/g)];
    expect(selectors.length).toBeGreaterThan(0);
    const known = new Set(TARGET_LABELS);
    for (const [, name, matchers = ""] of selectors) {
      const series = samples.filter((sample) => sample.name === name);
      expect(series.length, `${name} is not in /metrics`).toBeGreaterThan(0);
      const labels = new Set(series.flatMap((sample) => Object.keys(sample.labels)));
      for (const label of labels) known.add(label);
      for (const [, label = "", operator, wanted = ""] of matchers.matchAll(/(\w+)(=~|!=|!~|=)"([^"]*)"/g)) {
        if (TARGET_LABELS.includes(label)) continue;
        expect([...labels], `${name} has no label ${label}`).toContain(label);
        const values = series.map((sample) => sample.labels[label]);
        for (const one of operator === "=~" ? wanted.split("|") : [wanted]) expect(values).toContain(one);
      }
    }
    for (const [, list = ""] of text.matchAll(/\b(?:by|on|without|ignoring) \(([^)]*)\)/g)) {
      for (const label of list.split(", "))
        expect([...known], `nothing here has the label ${label}`).toContain(label);
    }
  });

  it("shows only labels in legends that the series have", () => {
    const labels = new Set([...TARGET_LABELS, ...samples.flatMap((sample) => Object.keys(sample.labels))]);
    const texts = `${config("grafana-dashboard.json")}${config("prometheus-rules.yaml")}`;
    const used = [...texts.matchAll(/\{\{\s*(?:\$labels\.)?(\w+)\s*\}\}/g)].map(([, label = ""]) => label);
    expect(used.length).toBeGreaterThan(10);
    for (const label of used) expect([...labels]).toContain(label);
  });
});
