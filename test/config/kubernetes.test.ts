import { ServiceMonitor } from "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/ServiceMonitor";
import { PrometheusRule } from "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/PrometheusRule";
import fc from "fast-check";
import { Deployment } from "kubernetes-models/apps/v1/Deployment";
import { NetworkPolicy } from "kubernetes-models/networking.k8s.io/v1/NetworkPolicy";
import { PodDisruptionBudget } from "kubernetes-models/policy/v1/PodDisruptionBudget";
import { Service } from "kubernetes-models/v1/Service";
import { ServiceAccount } from "kubernetes-models/v1/ServiceAccount";
import { describe, expect, it } from "vitest";
import { tableFilter } from "../../src/core/globs.ts";
import { loadSettings } from "../../src/settings/load.ts";
import type { Settings } from "../../src/settings/settings.ts";
import { namesIn, yaml } from "./files.ts";

interface Kustomization {
  readonly kind: string;
  readonly namespace?: string;
  readonly nameSuffix?: string;
  readonly resources: string[];
  readonly configMapGenerator?: { name: string; behavior?: string; literals: string[] }[];
}

const kustomization = (folder: string): Kustomization => {
  const [found] = yaml<Kustomization>(`kubernetes/${folder}/kustomization.yaml`);
  if (!found) throw new Error(`${folder} has no kustomization`);
  return found;
};

/** The settings of the daemon that a kustomization configures. */
function settingsOf(folder: string): Settings {
  const literals = kustomization(folder).configMapGenerator?.[0]?.literals ?? [];
  return loadSettings({
    env: Object.fromEntries(
      literals.map((line) => [line.slice(0, line.indexOf("=")), line.slice(line.indexOf("=") + 1)]),
    ),
  });
}

const KINDS: Readonly<Record<string, new (data: never) => { validate(): void }>> = {
  Deployment,
  NetworkPolicy,
  PodDisruptionBudget,
  PrometheusRule,
  Service,
  ServiceAccount,
  ServiceMonitor,
};

function check(object: { kind: string }): void {
  const Kind = KINDS[object.kind];
  if (!Kind) throw new Error(`no schema for ${object.kind}`);
  new Kind(object as never).validate();
}

const MANIFESTS = [
  ...namesIn("kubernetes/base").map((name) => `base/${name}`),
  "monitoring/servicemonitor.yaml",
].filter((path) => !path.endsWith("kustomization.yaml"));

function manifest<T>(path: string): T {
  const [found] = yaml<T>(`kubernetes/${path}`);
  if (!found) throw new Error(`${path} is empty`);
  return found;
}

describe("config/kubernetes", () => {
  it.each(MANIFESTS)("%s fits its schema", (path) => {
    const objects = yaml<{ kind: string }>(`kubernetes/${path}`);
    expect(objects).toHaveLength(1);
    for (const object of objects) check(object);
  });

  it("would be told of a wrong name or type", () => {
    const service = manifest<{ kind: string; spec: object }>("base/service.yaml");
    expect(() =>
      check({ ...service, spec: { ...service.spec, ports: [{ port: "http" }] } } as never),
    ).toThrow();
  });

  it.each(["base", "monitoring", "fleet"])("%s names all its resources, and only those", (folder) => {
    const files = namesIn(`kubernetes/${folder}`).filter((name) => name !== "kustomization.yaml");
    const own = kustomization(folder).resources.filter((name) => !name.startsWith(".."));
    expect(own.toSorted()).toEqual(files);
  });

  const deployment = manifest<Deployment>("base/deployment.yaml");
  const pod = deployment.spec?.template.spec;
  const container = pod?.containers[0];

  it("runs a standby, and a next one stands by before a daemon is told to drain", () => {
    expect(deployment.spec?.replicas).toBe(2);
    expect(deployment.spec?.strategy?.rollingUpdate).toEqual({ maxSurge: 1, maxUnavailable: 0 });
    const { spec } = manifest<PodDisruptionBudget>("base/poddisruptionbudget.yaml");
    expect(spec).toMatchObject({ maxUnavailable: 1, unhealthyPodEvictionPolicy: "AlwaysAllow" });
  });

  it("gives no rights that the daemon does not need", () => {
    expect(pod?.securityContext?.runAsNonRoot).toBe(true);
    expect(container?.securityContext).toMatchObject({
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ["ALL"] },
    });
    expect(pod?.volumes).toBeUndefined();
  });

  it("leaves time to drain and memory beyond memory.max", () => {
    const settings = settingsOf("base");
    expect((pod?.terminationGracePeriodSeconds ?? 0) * 1000).toBeGreaterThan(settings.shutdown.timeoutMs);
    const limit = String(container?.resources?.limits?.["memory"]);
    expect(limit).toMatch(/^\d+Mi$/);
    expect(Number.parseInt(limit, 10) * 2 ** 20).toBeGreaterThanOrEqual(2 * settings.memory.maxBytes);
  });

  it("asks the paths that the daemon serves, at its port", () => {
    expect(container?.livenessProbe?.httpGet).toMatchObject({ path: "/healthz", port: "http" });
    expect(container?.startupProbe?.httpGet).toMatchObject({ path: "/healthz", port: "http" });
    // A rollout would wait for ever for a standby to be ready as /readyz means it.
    expect(container?.readinessProbe?.httpGet).toMatchObject({ path: "/healthz", port: "http" });
    expect(container?.ports).toEqual([{ name: "http", containerPort: settingsOf("base").http.port }]);
  });

  it("selects what it means", () => {
    const labels = deployment.spec?.template.metadata?.labels;
    const service = manifest<Service>("base/service.yaml");
    const selectors = [
      deployment.spec?.selector.matchLabels,
      service.spec?.selector,
      manifest<PodDisruptionBudget>("base/poddisruptionbudget.yaml").spec?.selector?.matchLabels,
      manifest<NetworkPolicy>("base/networkpolicy.yaml").spec?.podSelector?.matchLabels,
    ];
    for (const selector of selectors) expect(selector).toEqual(labels);
    const monitor = manifest<ServiceMonitor>("monitoring/servicemonitor.yaml");
    expect(service.metadata?.labels).toMatchObject(monitor.spec?.selector.matchLabels ?? { none: "" });
    expect(service.spec?.ports?.map(({ name }) => name)).toEqual(
      monitor.spec?.endpoints.map(({ port }) => port),
    );
  });

  it("has the image of this version", () => {
    expect(container?.image).toMatch(/:0\.1\.0$/);
  });
});

describe("config/kubernetes/fleet", () => {
  const names = kustomization("fleet").resources.filter((name) => !name.startsWith(".."));
  const fleet = names.map((name) => ({ name, settings: settingsOf(`fleet/${name}`) }));

  it("is pipelines on the same base, told apart by name and label", () => {
    for (const name of names) {
      const found = kustomization(`fleet/${name}`);
      expect(found.nameSuffix).toBe(`-${name}`);
      expect(found.resources).toEqual(["../../base"]);
      expect(found.configMapGenerator?.[0]).toMatchObject({ name: "pgstage", behavior: "replace" });
      expect(JSON.stringify(found)).toContain(`"app.kubernetes.io/instance":"${name}"`);
    }
  });

  it("has a stage for each pipeline, and none below another's", () => {
    const stages = fleet.map(({ settings }) => `${settings.stage.url}/`);
    for (const stage of stages) expect(stages.filter((other) => other.startsWith(stage))).toEqual([stage]);
  });

  it("has a slot and a publication for each pipeline of a database", () => {
    const slots = fleet.map(({ settings: { source } }) => `${source.host}/${source.database} ${source.slot}`);
    expect(new Set(slots).size).toBe(fleet.length);
    const publications = fleet.map(
      ({ settings: { source } }) => `${source.host}/${source.database} ${source.publication}`,
    );
    expect(new Set(publications).size).toBe(fleet.length);
  });

  it("splits a database so that every table, also one made tomorrow, has exactly one pipeline", () => {
    const shop = fleet.filter(({ settings }) => settings.source.database === "shop");
    expect(shop.length).toBeGreaterThan(1);
    const filters = shop.map(({ settings }) => tableFilter(settings.source));
    const owners = (table: string): number => filters.filter((captures) => captures("public", table)).length;
    for (const table of ["orders", "event_clicks", "event_", "page_views", "page_views_2026", "an event_"]) {
      expect(owners(table), table).toBe(1);
    }
    const prefix = fc.constantFrom("", "event_", "event", "page_views", "page_");
    fc.assert(
      fc.property(prefix, fc.string({ unit: "grapheme" }), (start, rest) => owners(start + rest) === 1),
      { numRuns: 2000 },
    );
    // None of them is idle.
    expect(
      filters.every((captures) => captures("public", "orders") || captures("public", "page_views")),
    ).toBe(true);
  });
});

describe("config/prometheus-rules.yaml", () => {
  it("is what the operator's PrometheusRule takes", () => {
    const [rules] = yaml<object>("prometheus-rules.yaml");
    const spec = rules && "spec" in rules ? rules.spec : rules;
    new PrometheusRule({ metadata: { name: "pgstage" }, spec: spec as never }).validate();
  });
});
