import { Buffer } from "node:buffer";
import type { Socket } from "node:net";
import type { Client, ClientConfig } from "pg";
import { LogicalReplicationService } from "pg-logical-replication";
import { messageOf, OperatorError, TransientError } from "../core/errors.ts";
import { formatLsn, type Lsn } from "../core/lsn.ts";
import { tapCopyData } from "./copy-data.ts";
import { sqlState } from "./quote.ts";

/** How often the server hears from us and is asked to answer; far below any wal_sender_timeout in use. */
const STATUS_EVERY_MS = 3_000;
/** First bytes of what a walsender sends, and where what follows stands (documentation, "Streaming Replication Protocol"). */
const XLOG_DATA = 0x77; // w
const XLOG_PAYLOAD_AT = 25;
const KEEPALIVE = 0x6b; // k
const WAL_END_AT = 1;
const REPLY_WANTED_AT = 17;
/** Silence after which somebody has to look whether the connection is still there. */
const SILENT_AFTER_MS = 20_000;
/** How long a connection gets to say goodbye; a half-open one never does. */
const FAREWELL_MS = 1_000;

export interface StreamOptions {
  readonly client: ClientConfig;
  readonly slot: string;
  readonly publications: readonly string[];
  /** The slot's confirmed position: what is repeated to the server until more is acknowledged. */
  readonly confirmed: Lsn;
  /** What committed before is not sent, if that is beyond `confirmed`; null: everything from there on is. */
  readonly startAt: Lsn | null;
  /** Asked after a long silence: is our walsender still there? */
  readonly isAlive: (pid: number) => Promise<boolean>;
}

export interface StreamHandlers {
  /** One XLogData payload: a view into a buffer that is reused as soon as this returns. */
  readonly onPayload: (payload: Buffer) => void;
  /** The server has sent everything before `walEnd`; `urgent`: it waits for an answer. */
  readonly onKeepalive: (walEnd: Lsn, urgent: boolean) => void;
}

type Plugin = Parameters<LogicalReplicationService["subscribe"]>[0];

/** What pg's Client has and its types do not say. */
interface Inside {
  readonly connection: { readonly stream: Socket };
  readonly processID: number;
}

/**
 * A replication connection that streams from a slot. The only user of pg-logical-replication, of which it takes the
 * connection, the command and the status message: what the walsender sends is read here, as bytes, and nothing is
 * acknowledged but what `acknowledge` was told.
 *
 * - The library's own acknowledging is off (`auto`, and the timer, which would send the last *received* LSN).
 * - Its `acknowledge(lsn)` sends `lsn + 1`, so it is given one byte less.
 * - An exception in its callbacks would be thrown into the socket: it is caught here and ends the stream.
 * - One instance a connection: a second subscribe on the same one skips what was not acknowledged.
 */
export class ReplicationStream {
  /** Rejects when the stream ends by itself; resolves after `stop`. */
  readonly done: Promise<void>;
  readonly #options: StreamOptions;
  readonly #service: LogicalReplicationService;
  #inside: Inside | null = null;
  #handlers: StreamHandlers | null = null;
  /** Payloads that came before anybody was ready for them: at most what one chunk of the socket holds. */
  #early: Buffer[] = [];
  #acknowledged: Lsn;
  #heardAtMs = performance.now();
  #paused = true;
  #failure: unknown = null;
  #stopped = false;
  #timer: NodeJS.Timeout | null = null;
  #checking = false;

  /**
   * Resolves once the slot is ours; rejects with the server's error if it is not to be had. The stream stands still,
   * and the slot is held, until `begin`.
   */
  static async open(options: StreamOptions): Promise<ReplicationStream> {
    const stream = new ReplicationStream(options);
    await Promise.race([stream.#started, stream.done]);
    return stream;
  }

  readonly #started: Promise<void>;

  private constructor(options: StreamOptions) {
    this.#options = options;
    this.#acknowledged = options.confirmed;
    this.#service = new LogicalReplicationService(options.client, {
      acknowledge: { auto: false, timeoutSeconds: 0 },
      flowControl: { enabled: false },
    });
    this.#service.on("error", (error: Error) => this.#fail(explainStreamError(error)));
    this.#started = new Promise((resolve) => this.#service.once("start", () => resolve()));
    this.#service.once("start", () => {
      this.#inside?.connection.stream.pause();
      this.#timer = setInterval(() => this.#status(), STATUS_EVERY_MS);
    });
    this.done = this.#run();
    this.done.catch(() => {});
  }

  /** Process id of the walsender. */
  get pid(): number {
    return this.#inside?.processID ?? 0;
  }

  /** From here on payloads are handed on. */
  begin(handlers: StreamHandlers): void {
    this.#handlers = handlers;
    const early = this.#early;
    this.#early = [];
    for (const payload of early) this.#payload(payload);
    this.resume();
  }

  pause(): void {
    this.#paused = true;
    this.#inside?.connection.stream.pause();
  }

  resume(): void {
    this.#paused = false;
    this.#heardAtMs = performance.now();
    this.#inside?.connection.stream.resume();
  }

  /** Tells the server that everything before `lsn` may go. Never moves backwards; sent at once and repeated. */
  acknowledge(lsn: Lsn): void {
    if (lsn > this.#acknowledged) this.#acknowledged = lsn;
    this.#report(false);
  }

  /** Closes the connection; the server frees the slot as it notices. */
  async stop(): Promise<void> {
    this.#stopped = true;
    if (this.#timer) clearInterval(this.#timer);
    const socket = this.#inside?.connection.stream;
    const farewell = this.#service.destroy().catch(() => {});
    await Promise.race([farewell, new Promise((resolve) => setTimeout(resolve, FAREWELL_MS).unref())]);
    socket?.destroy();
  }

  async #run(): Promise<void> {
    try {
      await this.#service.subscribe(this.#plugin(), this.#options.slot, "0/0");
    } catch (error) {
      this.#fail(explainStreamError(error));
    } finally {
      if (this.#timer) clearInterval(this.#timer);
    }
    if (this.#failure !== null) throw this.#failure;
    if (!this.#stopped) throw new TransientError("the server closed the replication connection");
  }

  #plugin(): Plugin {
    const { slot, publications, startAt } = this.#options;
    const names = publications.map((name) => `"${name.replaceAll('"', '""')}"`).join(",");
    const options = `proto_version '1', publication_names '${names.replaceAll("'", "''")}'`;
    return {
      name: "pgoutput",
      options: {},
      start: async (client: Client) => {
        this.#inside = client as unknown as Inside;
        tapCopyData(this.#inside.connection.stream, (bytes, from, to) => this.#message(bytes, from, to));
        return client.query(`START_REPLICATION SLOT "${slot}" LOGICAL ${walPosition(startAt)} (${options})`);
      },
    } as unknown as Plugin;
  }

  #message(bytes: Buffer, from: number, to: number): void {
    if (this.#failure !== null || this.#stopped) return;
    this.#heardAtMs = performance.now();
    const kind = bytes[from];
    if (kind === XLOG_DATA) this.#payload(bytes.subarray(from + XLOG_PAYLOAD_AT, to));
    else if (kind === KEEPALIVE)
      this.#keepalive(bytes.readBigUInt64BE(from + WAL_END_AT) as Lsn, bytes[from + REPLY_WANTED_AT] === 1);
    else this.#fail(new Error(`the walsender sent a message of an unknown kind, ${kind}`));
  }

  #payload(payload: Buffer): void {
    if (!this.#handlers) {
      this.#early.push(Buffer.from(payload));
      return;
    }
    try {
      this.#handlers.onPayload(payload);
    } catch (error) {
      this.#fail(error);
    }
  }

  #keepalive(walEnd: Lsn, wanted: boolean): void {
    try {
      this.#handlers?.onKeepalive(walEnd, wanted);
    } catch (error) {
      this.#fail(error);
    }
    if (wanted) this.#report(false);
  }

  #status(): void {
    this.#report(true);
    if (this.#paused || this.#checking) return;
    if (performance.now() - this.#heardAtMs > SILENT_AFTER_MS) void this.#check();
  }

  /** A server that decodes a long stretch of WAL is silent, too: only its own word ends the connection. */
  async #check(): Promise<void> {
    this.#checking = true;
    const alive = await this.#options.isAlive(this.pid).catch(() => false);
    this.#checking = false;
    if (alive) this.#heardAtMs = performance.now();
    else this.#fail(new TransientError("the replication connection is silent and its walsender is gone"));
  }

  #report(ping: boolean): void {
    if (this.#stopped || this.#failure !== null) return;
    void this.#service.acknowledge(formatLsn((this.#acknowledged - 1n) as Lsn), ping);
  }

  #fail(error: unknown): void {
    if (this.#failure !== null || this.#stopped) return;
    this.#failure = error;
    const socket = this.#inside?.connection.stream;
    void this.#service.stop().catch(() => {});
    socket?.destroy();
  }
}

/** As START_REPLICATION takes it; `0/0` is the slot's confirmed position. */
function walPosition(lsn: Lsn | null): string {
  return lsn === null ? "0/0" : formatLsn(lsn);
}

/** The server meets the same value again after every start. */
function explainStreamError(error: unknown): unknown {
  // undefined_object: up to 17 a change is decoded with the publications that there were at its time.
  if (sqlState(error) === "42704") {
    return new OperatorError(
      `a publication was not there when a change was made, so the change cannot be sent: ${messageOf(error)}`,
      "run `pgstage resync --all`, also if the publication is there again: the next start makes a new slot and copies every table afresh",
      { cause: error },
    );
  }
  // character_not_in_repertoire, untranslatable_character
  if (!["22021", "22P05"].includes(sqlState(error))) return error;
  return new OperatorError(
    `a change has text that cannot be sent as UTF-8: ${messageOf(error)}`,
    "correct the value, or name its table in source.exclude; then `pgstage resync --all`, without a daemon, begins behind it",
    { cause: error },
  );
}
