import { Buffer } from "node:buffer";
import type { Socket } from "node:net";

/** Tags of messages (PostgreSQL documentation, "Message Formats"). */
const COPY_DATA = 0x64; // d
/**
 * What may come before or between CopyData: CopyOutResponse, CopyBothResponse, NoticeResponse, ParameterStatus,
 * NotificationResponse.
 */
const BETWEEN: ReadonlySet<number> = new Set([0x48, 0x57, 0x4e, 0x53, 0x41]);
/** Tag, and length of everything but the tag. */
const HEADER_BYTES = 5;

/** The payload of one CopyData message: `bytes` from `from` to `to` (exclusive), which die when this returns. */
export type OnCopyData = (bytes: Buffer, from: number, to: number) => void;

type OnBytes = (bytes: Buffer) => void;

/**
 * From here on CopyData on the socket of a pg connection goes to `onData` alone, and everything else to pg; with the
 * first message after which no CopyData comes pg has the socket back. To be called when no answer is under way.
 *
 * pg would make objects and an event of every message, and copy whatever does not end with a chunk: a third of the time.
 */
export function tapCopyData(stream: Socket, onData: OnCopyData): void {
  const pgListeners = stream.listeners("data") as OnBytes[];
  const toPg: OnBytes = (bytes) => {
    for (const listener of pgListeners) listener(bytes);
  };
  const reader = new CopyDataReader({
    data: onData,
    other: toPg,
    end: (bytes) => {
      stream.off("data", read);
      for (const listener of pgListeners) stream.on("data", listener);
      toPg(bytes);
    },
  });
  const read: OnBytes = (chunk) => reader.read(chunk);
  stream.on("data", read);
  for (const listener of pgListeners) stream.off("data", listener);
}

export interface CopyDataHandlers {
  readonly data: OnCopyData;
  /** A whole message of another kind. */
  readonly other: OnBytes;
  /** The first message after which no CopyData comes, and all bytes that follow it. */
  readonly end: OnBytes;
}

/** Splits what a server sends into messages, and takes CopyData out. Ends with CopyDone, an error, or anything else unexpected. */
export class CopyDataReader {
  readonly #handlers: CopyDataHandlers;
  /** The beginning of a message that is not whole: its pieces, and the bytes that they have. */
  #pieces: Buffer[] = [];
  #heldBytes = 0;

  constructor(handlers: CopyDataHandlers) {
    this.#handlers = handlers;
  }

  /** Bytes as they come from the socket, of which the reader may keep views. Not to be called after the end. */
  read(chunk: Buffer): void {
    let at = this.#heldBytes > 0 ? this.#complete(chunk) : 0;
    while (at < chunk.length) {
      const tag = chunk[at] as number;
      if (isEnd(tag)) {
        this.#handlers.end(chunk.subarray(at));
        return;
      }
      const to = chunk.length - at < HEADER_BYTES ? Infinity : at + 1 + chunk.readUInt32BE(at + 1);
      if (to > chunk.length) {
        this.#hold(chunk.subarray(at));
        return;
      }
      if (tag === COPY_DATA) this.#handlers.data(chunk, at + HEADER_BYTES, to);
      else this.#handlers.other(chunk.subarray(at, to));
      at = to;
    }
  }

  #hold(piece: Buffer): void {
    this.#pieces.push(piece);
    this.#heldBytes += piece.length;
  }

  /** Goes on with the message that is not whole; returns where the next one begins. */
  #complete(chunk: Buffer): number {
    let at = 0;
    if (this.#heldBytes < HEADER_BYTES) {
      at = Math.min(HEADER_BYTES - this.#heldBytes, chunk.length);
      this.#pieces = [Buffer.concat([...this.#pieces, chunk.subarray(0, at)])];
      this.#heldBytes += at;
      if (this.#heldBytes < HEADER_BYTES) return at;
    }
    // The first piece has a whole header: a held one that had none was put together with the rest of it.
    const wantedBytes = 1 + (this.#pieces[0] as Buffer).readUInt32BE(1);
    const to = Math.min(at + wantedBytes - this.#heldBytes, chunk.length);
    this.#hold(chunk.subarray(at, to));
    if (this.#heldBytes === wantedBytes) this.#handOn();
    return to;
  }

  #handOn(): void {
    const message = Buffer.concat(this.#pieces, this.#heldBytes);
    this.#pieces = [];
    this.#heldBytes = 0;
    if (message[0] === COPY_DATA) this.#handlers.data(message, HEADER_BYTES, message.length);
    else this.#handlers.other(message);
  }
}

function isEnd(tag: number): boolean {
  return tag !== COPY_DATA && !BETWEEN.has(tag);
}
