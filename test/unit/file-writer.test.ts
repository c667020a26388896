import { Buffer } from "node:buffer";
import { randomBytes } from "node:crypto";
import { gunzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { TransientError, UploadLostError } from "../../src/core/errors.ts";
import type { Compression } from "../../src/core/layout.ts";
import { MemoryAccount } from "../../src/core/memory.ts";
import { FileWriter, heldBytes, SMALL_FILE_BYTES, type Patiently } from "../../src/delivery/file-writer.ts";
import type { Upload } from "../../src/stores/store.ts";
import { FaultyCalls, FaultyStore, turns, type Fault } from "../support/faulty-store.ts";
import { checksumOf, MemoryStage, MemoryStore } from "../support/memory-store.ts";

const HEADER = Buffer.from("_op,text\n");
const KEY = "public/t/2026/01/01/00/file.csv";
/** What a part has where the store asks for less. */
const PART = 5 * 1024 * 1024;

/** Once more after every error that passes. */
const patiently: Patiently = async (_what, attempt) => {
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      if (!(error instanceof TransientError)) throw error;
      await turns(1);
    }
  }
};

interface Options {
  readonly compression?: Compression;
  readonly faults?: readonly Fault[];
  readonly minPartBytes?: number;
}

function open({ compression = "none", faults = [], minPartBytes = 1 }: Options = {}) {
  const stage = new MemoryStage();
  const memory = new MemoryAccount(1_000_000_000);
  const calls = new FaultyCalls(faults, { over: () => {}, expire: () => stage.expireUploads() });
  const store = new FaultyStore(new MemoryStore(stage, minPartBytes), calls);
  const writer = new FileWriter({ store, memory, compression, patiently }, HEADER);
  return { stage, memory, store, writer };
}

function write(writer: FileWriter, bytes: Buffer): void {
  writer.reserve(bytes.length);
  bytes.copy(writer.buffer, writer.end);
  writer.end += bytes.length;
  writer.rows++;
}

/** Writes a body of so many bytes in rows of at most `row`, finishes, publishes, and looks at the result. */
async function roundTrip(
  bytes: number,
  options: Options & { row?: number; begin?: boolean } = {},
): Promise<void> {
  const { stage, memory, store, writer } = open(options);
  const body = randomBytes(bytes);
  const row = options.row ?? 300_000;
  for (let at = 0; at < bytes; at += row) {
    write(writer, body.subarray(at, at + row));
    if (options.begin && at === 0) writer.beginUpload(KEY);
    await turns(1);
  }
  const file = await writer.finish(KEY);
  const wanted = Buffer.concat([HEADER, body]);
  expect(file.csvBytes).toBe(wanted.length);
  expect(file.rows).toBe(Math.ceil(bytes / row));
  const { content } = file;
  if ("upload" in content) await patiently("", () => store.publish(KEY, content.upload));
  else if ("small" in content) stage.show(KEY, content.small);
  const stored = stage.objects.get(KEY) as Buffer;
  expect(stored.length).toBe(file.bytes);
  expect(checksumOf(stored)).toBe(file.checksum);
  const csv = options.compression === "gzip" ? gunzipSync(stored) : stored;
  expect(csv.equals(wanted)).toBe(true);
  memory.release(heldBytes(file));
  expect(memory.heldBytes).toBe(0);
}

describe("files of any size arrive whole, with nothing held afterwards", () => {
  const around = [SMALL_FILE_BYTES, PART, 2 * PART];
  const sizes = [
    0,
    1,
    4096,
    ...around.flatMap((size) => [-HEADER.length - 1, -HEADER.length, 1].map((by) => size + by)),
  ];
  test.each(sizes)("%i bytes", async (bytes) => {
    await roundTrip(bytes);
    await roundTrip(bytes, { begin: true });
  });

  test("where the store wants larger parts, and compressed", async () => {
    for (const bytes of [PART, 3 * PART + 7]) {
      await roundTrip(bytes, { minPartBytes: 2 * PART });
      await roundTrip(bytes, { minPartBytes: 2 * PART, compression: "gzip", begin: true });
    }
  });

  test("in rows longer than a chunk", async () => {
    await roundTrip(3 * PART, { row: PART + 1, begin: true });
  });

  test("when calls fail, are slow, or lose their answer", async () => {
    const faults: Fault[] = [
      "reject",
      "none",
      "lost-answer",
      "very-slow",
      "reject",
      "slow",
      "lost-answer",
      "lost-answer",
    ];
    await roundTrip(2 * PART + 9, { faults, begin: true });
    await roundTrip(2 * PART + 9, { faults: ["lost-answer", ...faults], compression: "gzip" });
  });
});

describe("waiting", () => {
  /** A store that keeps every part until the test lets it go. */
  class Slow extends MemoryStore {
    readonly waiting: (() => void)[] = [];

    override async begin(key: string): Promise<Upload> {
      const upload = await super.begin(key);
      return {
        finish: () => upload.finish(),
        abort: () => upload.abort(),
        write: async (...part) => {
          await new Promise<void>((resolve) => this.waiting.push(resolve));
          return upload.write(...part);
        },
      };
    }
  }

  function openSlow(): { store: Slow; writer: FileWriter; memory: MemoryAccount } {
    const store = new Slow(new MemoryStage());
    const memory = new MemoryAccount(1);
    return {
      store,
      memory,
      writer: new FileWriter({ store, memory, compression: "none", patiently }, HEADER),
    };
  }

  /** Whether a promise is settled after a few turns. */
  async function isSettled(promise: Promise<unknown>): Promise<boolean> {
    let settled = false;
    promise.then(
      () => (settled = true),
      () => (settled = true),
    );
    await turns(5);
    return settled;
  }

  test("for room ends as parts leave", async () => {
    const { store, writer } = openSlow();
    writer.beginUpload(KEY);
    while (!writer.isFull) write(writer, randomBytes(200_000));
    const room = writer.room();
    expect(await isSettled(room)).toBe(false);
    for (let tries = 0; tries < 20 && !(await isSettled(room)); tries++) store.waiting.shift()?.();
    await room;
    expect(writer.isFull).toBe(false);
  });

  test("for parts, and for room, ends when the file is given up", async () => {
    const { store, writer, memory } = openSlow();
    writer.beginUpload(KEY);
    while (!writer.isFull) write(writer, randomBytes(200_000));
    const [room, gone] = [writer.room(), writer.partsGone()];
    await turns(2);
    writer.discard();
    await expect(room).rejects.toThrow("discarded");
    await expect(gone).rejects.toThrow("discarded");
    for (const go of store.waiting.splice(0)) go();
    await expect.poll(() => memory.heldBytes).toBe(0);
  });

  test("ends with the reason when the upload is lost", async () => {
    const { writer } = open({ faults: ["none", "upload-lost"] });
    writer.beginUpload(KEY);
    write(writer, randomBytes(2 * PART));
    write(writer, randomBytes(2 * PART));
    await expect(writer.partsGone()).rejects.toThrow(UploadLostError);
    await expect(writer.room()).rejects.toThrow(UploadLostError);
    await expect(writer.finish(KEY)).rejects.toThrow(UploadLostError);
  });
});
