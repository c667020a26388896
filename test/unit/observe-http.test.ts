import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { afterEach, describe, expect, it } from "vitest";
import { OperatorError } from "../../src/core/errors.ts";
import { listen, startHttp, type HttpServer } from "../../src/observe/http.ts";
import { createMetrics } from "../../src/observe/metrics.ts";
import type { StatusJson } from "../../src/observe/status-json.ts";
import { SCENES, type SceneName } from "../browser/scenes.ts";

const servers: HttpServer[] = [];
afterEach(async () => {
  await Promise.all(servers.splice(0).map((server) => server.close()));
});

async function serve(scene: SceneName): Promise<string> {
  const { observations } = SCENES[scene]();
  const status = () => observations.status();
  const server = await listen({ host: "127.0.0.1", port: 0, status, metrics: createMetrics(status) });
  servers.push(server);
  return `http://127.0.0.1:${server.port}`;
}

async function settledWithin(work: Promise<void> | undefined, ms: number): Promise<boolean> {
  return Promise.race([work?.then(() => true), delay(ms, false)]).then((isSettled) => isSettled === true);
}

async function statusOf(url: string): Promise<StatusJson> {
  return (await (await fetch(url)).json()) as StatusJson;
}

describe("HTTP", () => {
  it("waits at the end for a page that is open, and for nobody else", async () => {
    const address = await serve("blocked");
    const [server] = servers;
    await fetch(`${address}/readyz`);
    await expect(settledWithin(server?.lastWord(new AbortController().signal), 500)).resolves.toBe(true);
    await statusOf(`${address}/status?tables=50`);
    const told = new AbortController();
    const word = server?.lastWord(told.signal);
    expect(await settledWithin(word, 500)).toBe(false);
    told.abort();
    expect(await settledWithin(word, 500)).toBe(true);
  });

  it("answers /healthz while the process works", async () => {
    const response = await fetch(`${await serve("blocked")}/healthz`);
    expect([response.status, await response.text()]).toEqual([200, "ok\n"]);
  });

  it.each([
    ["streaming", 200],
    ["copying", 200],
    ["starting", 503],
    ["standby", 503],
    ["blocked", 503],
  ] as const)("says on /readyz in state %s: %i, and why", async (scene, code) => {
    const response = await fetch(`${await serve(scene)}/readyz`);
    expect(response.status).toBe(code);
    const [state, summary] = (await response.text()).split("\n");
    expect(state).toBe(scene);
    expect(summary).toBe(SCENES[scene]().observations.status().summary);
  });

  it("gives /metrics in Prometheus's format", async () => {
    const response = await fetch(`${await serve("streaming")}/metrics`);
    expect(response.headers.get("content-type")).toContain("text/plain; version=0.0.4");
    expect(await response.text()).toContain('\npgstage_state{state="streaming"} 1\n');
  });

  it("gives /status whole, or the interesting tables, filtered", async () => {
    const url = await serve("many");
    expect((await statusOf(`${url}/status`)).tables).toHaveLength(10_000);
    const some = await statusOf(`${url}/status?tables=20`);
    expect(some.tables).toHaveLength(20);
    expect(some.tables.slice(0, 7).map(({ phase }) => phase)).toEqual(
      Array.from({ length: 7 }, () => "copying"),
    );
    expect(some.table_counts.total).toBe(10_000);
    const filtered = await statusOf(`${url}/status?tables=20&filter=T_0042`);
    expect(filtered.tables.map(({ table }) => table).toSorted()[0]).toBe("tenant.t_00420");
    expect((await statusOf(`${url}/status?tables=nonsense`)).tables).toHaveLength(10_000);
  });

  it("is read-only and says what there is", async () => {
    const url = await serve("streaming");
    for (const method of ["POST", "PUT", "DELETE", "PATCH"]) {
      const response = await fetch(`${url}/status`, { method });
      expect([response.status, response.headers.get("allow")]).toEqual([405, "GET, HEAD"]);
    }
    const head = await fetch(`${url}/status`, { method: "HEAD" });
    expect([head.status, await head.text()]).toEqual([200, ""]);
    for (const path of [
      "/nothing",
      "/assets/../http.js",
      "/assets/page/%2e%2e/http.js",
      "/../package.json",
    ]) {
      expect((await fetch(`${url}${path}`)).status).toBe(404);
    }
  });

  it("has headers that let nothing foreign in, and lets nobody keep data", async () => {
    const url = await serve("streaming");
    for (const path of ["/", "/status", "/metrics", "/healthz", "/nothing", "/assets/style.css"]) {
      const { headers } = await fetch(`${url}${path}`);
      expect(headers.get("content-security-policy")).toContain(
        "default-src 'none'; script-src 'self'; style-src 'self'",
      );
      expect(headers.get("x-content-type-options")).toBe("nosniff");
      expect(headers.get("cache-control")).toBe(
        path === "/" || path.startsWith("/assets") ? "no-cache" : "no-store",
      );
    }
  });

  it("sends an asset again only if it is another", async () => {
    const url = `${await serve("streaming")}/assets/uplot.js`;
    const etag = (await fetch(url)).headers.get("etag") ?? "";
    const again = await fetch(url, { headers: { "if-none-match": etag } });
    expect([again.status, await again.text()]).toEqual([304, ""]);
    expect((await fetch(url, { headers: { "if-none-match": '"other"' } })).status).toBe(200);
  });

  it("answers 500 without a stack trace if a status cannot be made", async () => {
    const status = () => {
      throw new Error("no status");
    };
    const server = await listen({ host: "127.0.0.1", port: 0, status, metrics: createMetrics(status) });
    servers.push(server);
    const response = await fetch(`http://127.0.0.1:${server.port}/status`);
    expect([response.status, await response.text()]).toEqual([500, "no status\n"]);
  });

  it("closes at once, idle connections and all", async () => {
    const url = await serve("streaming");
    await fetch(`${url}/status`);
    await servers.pop()?.close();
    await expect(fetch(url)).rejects.toThrow();
  });

  it("is off with port 0", async () => {
    const { observations } = SCENES.starting();
    const status = () => observations.status();
    expect(
      await startHttp({ host: "127.0.0.1", port: 0, status, metrics: createMetrics(status) }),
    ).toBeNull();
  });

  it("names the setting when the port is taken", async () => {
    const other = createServer();
    await new Promise<void>((resolve) => other.listen(0, "127.0.0.1", resolve));
    const { port } = other.address() as AddressInfo;
    const { observations } = SCENES.starting();
    const status = () => observations.status();
    const failure = await startHttp({
      host: "127.0.0.1",
      port,
      status,
      metrics: createMetrics(status),
    }).catch((e: unknown) => e);
    other.close();
    expect(failure).toBeInstanceOf(OperatorError);
    expect((failure as OperatorError).message).toBe(
      `The HTTP server cannot listen on 127.0.0.1:${port}: the port is in use.`,
    );
    expect((failure as OperatorError).mend).toContain("http.port");
  });
});
