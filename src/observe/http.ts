import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { setTimeout as delay } from "node:timers/promises";
import { messageOf, OperatorError } from "../core/errors.ts";
import type { Status } from "../core/status.ts";
import { pageAssets, type Asset } from "./assets.ts";
import type { Metrics } from "./metrics.ts";
import { statusJson } from "./status-json.ts";
import { interestingFirst } from "./status.ts";

export interface HttpOptions {
  readonly host: string;
  /** 0 is off. */
  readonly port: number;
  readonly status: () => Status;
  readonly metrics: Pick<Metrics, "text" | "contentType">;
}

export interface HttpServer {
  readonly port: number;
  /** Resolves when a page that is open has had the time to ask once more, or `signal` says; at once if none is. */
  lastWord(signal: AbortSignal): Promise<void>;
  close(): Promise<void>;
}

/**
 * Serves `/healthz`, `/readyz`, `/metrics`, `/status` and the page at `/`: read-only, nothing secret.
 *
 * `/status?tables=200&filter=text` has at most that many tables, the interesting ones first, of those whose name
 * contains the text; without `tables` it has all of them.
 *
 * Rejects with an OperatorError if the address cannot be listened on. Resolves with null if the port is 0.
 */
export async function startHttp(options: HttpOptions): Promise<HttpServer | null> {
  return options.port === 0 ? null : listen(options);
}

/** As startHttp, but with port 0 on any free port. */
export async function listen(options: HttpOptions): Promise<HttpServer> {
  const health = watchEventLoop();
  let askedMs = Number.NEGATIVE_INFINITY;
  const routes = makeRoutes(options, health.delayedMs);
  const server = createServer((request, response) => {
    if (request.url?.startsWith("/status") === true) askedMs = performance.now();
    void answer(routes, request, response);
  });
  server.maxConnections = MAX_CONNECTIONS;
  try {
    await listening(server, options);
  } catch (error) {
    health.stop();
    throw error;
  }
  // The daemon lives as long as its work, not as long as somebody looks at it.
  server.unref();
  return {
    port: (server.address() as AddressInfo).port,
    lastWord: async (signal) => {
      if (performance.now() - askedMs > ONLOOKER_MS) return;
      await delay(LAST_WORD_MS, undefined, { signal }).catch(() => {});
    },
    close: async () => {
      health.stop();
      await new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      });
    },
  };
}

const MAX_CONNECTIONS = 256;
/** An open page asks every two seconds: who has not asked for so long does not look any more. */
const ONLOOKER_MS = 5_000;
const LAST_WORD_MS = 3_000;

async function listening(server: Server, { host, port }: HttpOptions): Promise<void> {
  try {
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(port, host, resolve);
    });
  } catch (error) {
    throw new OperatorError(
      `The HTTP server cannot listen on ${host}:${port}: ${listenProblem(error)}.`,
      "Set http.host and http.port (PGSTAGE_HTTP_HOST, PGSTAGE_HTTP_PORT) to a free address; http.port 0 switches it off.",
      { cause: error },
    );
  }
}

const LISTEN_PROBLEMS: Readonly<Record<string, string>> = {
  EADDRINUSE: "the port is in use",
  EACCES: "this user may not use that port",
  EADDRNOTAVAIL: "this machine has no such address",
};

function listenProblem(error: unknown): string {
  return LISTEN_PROBLEMS[(error as NodeJS.ErrnoException).code ?? ""] ?? messageOf(error);
}

interface Answer {
  readonly code: number;
  readonly type: string;
  readonly body: string | Buffer;
  /** Only for what changes with the version alone. */
  readonly etag?: string;
}

type Route = (query: URLSearchParams) => Answer | Promise<Answer>;

function makeRoutes(options: HttpOptions, delayedMs: () => number): ReadonlyMap<string, Route> {
  const { status, metrics } = options;
  const routes = new Map<string, Route>([
    ["/healthz", () => healthz(delayedMs())],
    ["/readyz", () => readyz(status())],
    ["/metrics", async () => ({ code: 200, type: metrics.contentType, body: await metrics.text() })],
    ["/status", (query) => ({ code: 200, type: JSON_TYPE, body: statusBody(status(), query) })],
  ]);
  for (const [path, load] of pageAssets()) routes.set(path, () => assetAnswer(load()));
  return routes;
}

const TEXT_TYPE = "text/plain; charset=utf-8";
const JSON_TYPE = "application/json; charset=utf-8";

/** A loop that is this late all the time cannot keep the replication connection alive. */
const UNHEALTHY_DELAY_MS = 5_000;
/** Each sample wakes an idle daemon. */
const LOOP_SAMPLE_EVERY_MS = 200;

function healthz(delayedMs: number): Answer {
  if (delayedMs < UNHEALTHY_DELAY_MS) return { code: 200, type: TEXT_TYPE, body: "ok\n" };
  return {
    code: 503,
    type: TEXT_TYPE,
    body: `the process is ${Math.round(delayedMs)} ms late with its work\n`,
  };
}

/** A stream that nobody feeds is not one, even before its connection is given up. */
function readyz({ state, summary, notices }: Status): Answer {
  const isFed = !notices.some(({ id }) => id === "source-unreachable");
  const ready = isFed && (state === "streaming" || state === "copying");
  return { code: ready ? 200 : 503, type: TEXT_TYPE, body: `${state}\n${summary}\n` };
}

function statusBody(status: Status, query: URLSearchParams): string {
  return `${JSON.stringify(statusJson(withTables(status, query)))}\n`;
}

function withTables(status: Status, query: URLSearchParams): Status {
  const limit = query.get("tables");
  const filter = (query.get("filter") ?? "").toLowerCase();
  if (limit === null && filter === "") return status;
  const matching = status.tables.filter(({ table }) => table.toLowerCase().includes(filter));
  const count = limit !== null && /^\d{1,6}$/.test(limit) ? Number(limit) : matching.length;
  return { ...status, tables: interestingFirst(matching).slice(0, count) };
}

function assetAnswer(asset: Asset): Answer {
  return { code: 200, type: asset.type, body: asset.body, etag: asset.etag };
}

async function answer(
  routes: ReadonlyMap<string, Route>,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  try {
    send(request, response, await route(routes, request));
  } catch (error) {
    send(request, response, { code: 500, type: TEXT_TYPE, body: `${messageOf(error)}\n` });
  }
}

async function route(routes: ReadonlyMap<string, Route>, request: IncomingMessage): Promise<Answer> {
  const [path = "/", query = ""] = (request.url ?? "/").split("?", 2);
  const found = routes.get(path);
  if (found === undefined) {
    return {
      code: 404,
      type: TEXT_TYPE,
      body: "not found; there are /, /healthz, /readyz, /status and /metrics\n",
    };
  }
  if (!isRead(request)) return { code: 405, type: TEXT_TYPE, body: "read-only: GET and HEAD\n" };
  return found(new URLSearchParams(query));
}

function isRead(request: IncomingMessage): boolean {
  return request.method === "GET" || request.method === "HEAD";
}

const SECURITY_HEADERS = {
  "content-security-policy":
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  "x-content-type-options": "nosniff",
  "referrer-policy": "no-referrer",
  "cross-origin-resource-policy": "same-origin",
};

function send(request: IncomingMessage, response: ServerResponse, { code, type, body, etag }: Answer): void {
  const fresh = etag !== undefined && request.headers["if-none-match"] === etag;
  response.writeHead(fresh ? 304 : code, {
    ...SECURITY_HEADERS,
    "content-type": type,
    ...(etag === undefined ? { "cache-control": "no-store" } : { "cache-control": "no-cache", etag }),
    ...(fresh ? {} : { "content-length": Buffer.byteLength(body) }),
    ...(code === 405 ? { allow: "GET, HEAD" } : {}),
  });
  response.end(fresh || request.method === "HEAD" ? undefined : body);
}

/** How late the event loop was on average over the last ten seconds. */
function watchEventLoop(): { delayedMs: () => number; stop: () => void } {
  const histogram = monitorEventLoopDelay({ resolution: LOOP_SAMPLE_EVERY_MS });
  histogram.enable();
  let delayedMs = 0;
  const timer = setInterval(() => {
    // NaN without a sample.
    delayedMs = histogram.mean > 0 ? histogram.mean / 1e6 : 0;
    histogram.reset();
  }, 10_000).unref();
  return {
    delayedMs: () => delayedMs,
    stop: () => {
      clearInterval(timer);
      histogram.disable();
    },
  };
}
