import { randomBytes } from "node:crypto";
import { EventEmitter } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import type { AddressInfo } from "node:net";
import type { Access } from "./access.ts";
import { Bucket, type ObjectRecord } from "./bucket.ts";
import type { Answer, Context, IgnoredConditions, ObjectCreated } from "./context.ts";
import { S3Error } from "./errors.ts";
import { Faults, type Fault } from "./faults.ts";
import { HANDLERS } from "./operations.ts";
import { sendAnswer, sendError } from "./reply.ts";
import { RequestLog } from "./requests.ts";
import { routeOf, type Route } from "./route.ts";

/** An S3 server over HTTP. Emits `created` (ObjectCreated) and `bug` (an error of the server itself). */
export class S3HttpServer extends EventEmitter<{ created: [ObjectCreated]; bug: [unknown] }> {
  readonly faults = new Faults();
  readonly requests = new RequestLog();
  readonly buckets = new Map<string, Bucket>();
  ignoredConditions: IgnoredConditions = {};
  readonly #dir: string;
  readonly #access: Access;
  readonly #http: Server;

  constructor(dir: string, access: Access) {
    super();
    this.#dir = dir;
    this.#access = access;
    this.#http = createServer({ requestTimeout: 0 });
    this.#http.on("request", (request, response) => void this.#serve(request, response, false));
    this.#http.on("checkContinue", (request, response) => void this.#serve(request, response, true));
  }

  /** Resolves with the endpoint. */
  async listen(port: number): Promise<string> {
    await new Promise<void>((resolve, reject) => {
      this.#http.once("error", reject).listen(port, "127.0.0.1", resolve);
    });
    return `http://127.0.0.1:${(this.#http.address() as AddressInfo).port}`;
  }

  async close(): Promise<void> {
    this.#http.closeAllConnections();
    await new Promise<void>((resolve) => this.#http.close(() => resolve()));
  }

  createBucket(name: string): Bucket {
    const bucket = this.buckets.get(name) ?? new Bucket(this.#dir, name);
    this.buckets.set(name, bucket);
    return bucket;
  }

  async #serve(request: IncomingMessage, response: ServerResponse, expectsContinue: boolean): Promise<void> {
    const requestId = randomBytes(8).toString("hex").toUpperCase();
    response.setHeader("x-amz-request-id", requestId);
    try {
      const { method = "", url = "", headers } = request;
      const route = routeOf(method, url, headers["x-amz-copy-source"] !== undefined);
      const seen = this.requests.note(route.op, route.key);
      response.once("close", () => {
        seen.status = response.headersSent ? response.statusCode : 0;
      });
      const fault = this.faults.strike(route.op, route.key);
      if (fault === null) {
        await sendAnswer(
          request,
          response,
          await this.#answer(request, response, route, expectsContinue),
          null,
        );
      } else {
        const answer = () => this.#answer(request, response, route, expectsContinue);
        await suffer(fault, request, response, answer);
      }
    } catch (error) {
      this.#refuse(request, response, error, requestId);
    }
  }

  #refuse(request: IncomingMessage, response: ServerResponse, error: unknown, requestId: string): void {
    if (response.headersSent || response.destroyed) {
      response.destroy();
      return;
    }
    if (error instanceof S3Error) {
      sendError(request, response, error, requestId);
      return;
    }
    // A client that went away is none of the server's business.
    if ((error as NodeJS.ErrnoException).code !== "ECONNRESET") this.emit("bug", error);
    sendError(request, response, new S3Error(500, "InternalError", String(error)), requestId);
  }

  async #answer(
    request: IncomingMessage,
    response: ServerResponse,
    route: Route,
    expectsContinue: boolean,
  ): Promise<Answer> {
    const { method = "", headers } = request;
    this.#access.check(route.op, { method, headers, rawPath: route.rawPath, rawQuery: route.rawQuery });
    if (route.op === "CreateBucket") {
      this.createBucket(route.bucket);
      return { status: 200, headers: { location: `/${route.bucket}` } };
    }
    const bucket = this.buckets.get(route.bucket);
    if (bucket === undefined) throw new S3Error(404, "NoSuchBucket", "the specified bucket does not exist");
    if (expectsContinue) response.writeContinue();
    return HANDLERS[route.op](this.#contextOf(request, route, bucket));
  }

  #contextOf(request: IncomingMessage, route: Route, bucket: Bucket): Context {
    const created = (eventName: ObjectCreated["eventName"], object: ObjectRecord): void => {
      const { key, bytes, etag, modifiedMs } = object;
      const eventTime = new Date(modifiedMs).toISOString();
      this.emit("created", { eventName, bucket: bucket.name, key, size: bytes, eTag: etag, eventTime });
    };
    return {
      route,
      request,
      bucket,
      buckets: this.buckets,
      ignoredConditions: this.ignoredConditions,
      created,
    };
  }
}

/** Lets a fault happen to a request. */
async function suffer(
  fault: Fault,
  request: IncomingMessage,
  response: ServerResponse,
  answer: () => Promise<Answer>,
): Promise<void> {
  const committed = fault.afterCommit === true ? await answer() : null;
  if (fault.delayMs !== undefined) await sleep(fault.delayMs);
  await fault.hold;
  if (fault.reset === true) {
    request.socket.resetAndDestroy();
    return;
  }
  if (fault.status !== undefined) throw new S3Error(fault.status, fault.code ?? "InternalError", "injected");
  if (fault.silent === true) {
    request.resume();
    return;
  }
  await sendAnswer(request, response, committed ?? (await answer()), fault);
}
