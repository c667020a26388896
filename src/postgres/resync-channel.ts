import { randomUUID } from "node:crypto";
import type { Client } from "pg";
import { ident, literal } from "./quote.ts";

/**
 * How `resync` speaks to the daemon: LISTEN and NOTIFY in the source itself, which needs no table, port or WAL, works
 * on every version, and tells whether somebody listened. (Logical messages would not reach pgoutput before 14.)
 */

/** NOTIFY takes less than 8,000 bytes. */
const MAX_PAYLOAD_BYTES = 7_500;
const ANSWER_MS = 30_000;
/** Nobody hears a request while the daemon connects, so it is made again. */
const ASK_AGAIN_MS = 2_000;
/** Answers that are kept for a request that comes again. */
const ANSWERS_KEPT = 100;

export interface ResyncRequest {
  readonly id: string;
  /** Channel names are cut short, so two slots may share one. */
  readonly slot: string;
  readonly tables: readonly string[] | "all";
}

export interface ResyncAnswer {
  readonly id: string;
  /** Names that are not captured. */
  readonly unknown: readonly string[];
  /** Why nothing was done, if so. */
  readonly error?: string;
}

function requestChannel(slot: string): string {
  return `pgstage_resync_${slot}`.slice(0, 63);
}

function answerChannel(slot: string): string {
  return `pgstage_answer_${slot}`.slice(0, 63);
}

/** Calls `handle` for each request and sends its answer. Resolves when the connection ends. */
export async function serveResync(
  client: Client,
  slot: string,
  handle: (request: ResyncRequest) => Promise<ResyncAnswer>,
): Promise<void> {
  const ended = new Promise<void>((resolve) => client.once("end", () => resolve()));
  const handled = new Map<string, Promise<ResyncAnswer>>();
  const handleOnce = (request: ResyncRequest): Promise<ResyncAnswer> => {
    const known = handled.get(request.id);
    if (known) return known;
    const answer = handle(request);
    handled.set(request.id, answer);
    for (const [oldest] of handled) if (handled.size > ANSWERS_KEPT) handled.delete(oldest);
    return answer;
  };
  client.on("notification", ({ channel, payload }) => {
    if (channel !== requestChannel(slot)) return;
    const request = parse<ResyncRequest>(payload);
    if (request?.slot !== slot) return;
    void handleOnce(request)
      .then((answer) => notify(client, answerChannel(slot), answer))
      .catch(() => {});
  });
  await client.query(`LISTEN ${ident(requestChannel(slot))}`);
  await ended;
}

/** Asks the daemon; null if nobody answers. */
export async function askResync(
  client: Client,
  slot: string,
  tables: ResyncRequest["tables"],
): Promise<ResyncAnswer | null> {
  const request: ResyncRequest = { id: randomUUID(), slot, tables };
  await client.query(`LISTEN ${ident(answerChannel(slot))}`);
  const answered = new Promise<ResyncAnswer | null>((resolve) => {
    client.on("notification", ({ payload }) => {
      const answer = parse<ResyncAnswer>(payload);
      if (answer?.id === request.id) resolve(answer);
    });
    setTimeout(() => resolve(null), ANSWER_MS).unref();
  });
  await notify(client, requestChannel(slot), request);
  const again = setInterval(
    () => void notify(client, requestChannel(slot), request).catch(() => {}),
    ASK_AGAIN_MS,
  );
  try {
    return await answered;
  } finally {
    clearInterval(again);
  }
}

async function notify(client: Client, channel: string, message: object): Promise<void> {
  const payload = JSON.stringify(message);
  if (Buffer.byteLength(payload) > MAX_PAYLOAD_BYTES)
    throw new RangeError("too many names for one request: name fewer tables, or use --all");
  await client.query(`SELECT pg_catalog.pg_notify(${literal(channel)}, ${literal(payload)})`);
}

function parse<T>(payload: string | undefined): T | null {
  try {
    return JSON.parse(payload ?? "") as T;
  } catch {
    return null;
  }
}
