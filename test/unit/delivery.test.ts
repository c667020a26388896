import { Buffer } from "node:buffer";
import { describe, expect, test } from "vitest";
import type { LogDocument, LogFile } from "../../src/core/document.ts";
import { OperatorError, ReplacedError } from "../../src/core/errors.ts";
import { parseLsn, type Lsn } from "../../src/core/lsn.ts";
import { Delivery, type DeliveredFile, type Submission } from "../../src/delivery/delivery.ts";
import { Log, readLog } from "../../src/delivery/log.ts";
import { Pack } from "../../src/delivery/pack.ts";
import { unborn, type TableEvent } from "../../src/delivery/state.ts";
import { takeOver } from "../../src/delivery/take-over.ts";
import { turns } from "../support/faulty-store.ts";
import { checksumOf, MemoryStage, MemoryStore } from "../support/memory-store.ts";

const IDENTITY = { systemIdentifier: "1", timeline: 1, database: "d", slot: "s", publication: "p" };

/** Every write of a log document waits until the test lets it go. */
class Gate extends MemoryStore {
  readonly waiting: (() => void)[] = [];
  isOpen = true;

  override async putIfAbsent(key: string, bytes: Buffer): Promise<"created" | "exists"> {
    if (!this.isOpen) await new Promise<void>((resolve) => this.waiting.push(resolve));
    return super.putIfAbsent(key, bytes);
  }

  open(): void {
    this.isOpen = true;
    for (const go of this.waiting.splice(0)) go();
  }
}

function bench(stage = new MemoryStage(), store: MemoryStore = new Gate(stage)) {
  const lost: LogFile[] = [];
  const published: number[] = [];
  const log = new Log(store, unborn(IDENTITY), []);
  const delivery = new Delivery({
    store,
    log,
    patiently: (_what, attempt) => attempt(),
    events: {
      published: ({ document }) => published.push(document.sequence),
      lost: (files) => lost.push(...files),
    },
  });
  return { stage, store, delivery, lost, published };
}

const documents = (stage: MemoryStage): LogDocument[] =>
  stage.keys("_pgstage/log/").map((key) => JSON.parse(String(stage.objects.get(key))) as LogDocument);

function file(
  key: string,
  content: DeliveredFile["file"]["content"],
  bytes = Buffer.from(key),
): DeliveredFile {
  const about = {
    schemaName: "public",
    tableName: "t",
    oid: 1,
    shape: "s",
    firstLsn: 1n as Lsn,
    lastLsn: 2n as Lsn,
  };
  const sizes = { rows: 1, bytes: bytes.length, csvBytes: bytes.length, checksum: checksumOf(bytes) };
  return { key, ...about, file: { ...sizes, content } };
}

const small = (key: string): DeliveredFile => file(key, { small: Buffer.from(key) });

function submission(part: Partial<Submission>): Submission {
  const nothing = { files: [], events: [], endLsn: null, firstLsn: null, committedAt: null };
  return { kind: "batch", ...nothing, ...part } as Submission;
}

describe("submissions", () => {
  test("that wait are recorded together, in order, and each resolves with what is published", async () => {
    const { stage, store, delivery, published } = bench();
    (store as Gate).isOpen = false;
    const first = delivery.submit(submission({ files: [small("a")], endLsn: 10n as Lsn }));
    await turns(2);
    const forget: TableEvent[] = [{ event: "forget", oid: 1 }];
    const others = [
      delivery.submit(submission({ files: [small("b")] })),
      delivery.submit(submission({ kind: "idle", endLsn: 20n as Lsn })),
      delivery.record(forget),
    ];
    await turns(2);
    (store as Gate).open();
    expect((await first).document.files.map((one) => one.key)).toEqual(["a"]);
    await Promise.all(others);
    const [, second] = documents(stage);
    expect(documents(stage)).toHaveLength(2);
    expect(second).toMatchObject({ kind: "batch", endLsn: "00000000/00000014", tables: forget });
    expect(second?.files.map((one) => one.key)).toEqual(["b"]);
    expect(stage.dataKeys()).toEqual(["a", "b"]);
    expect(published).toEqual([1, 2]);
    expect(stage.keys("_pgstage/packs/")).toEqual([]);
  });

  test("without a position leave the stream's where it is", async () => {
    const { delivery, stage } = bench();
    await delivery.submit(submission({ endLsn: 30n as Lsn }));
    await delivery.submit(submission({ files: [small("copy")] }));
    expect(documents(stage).map((document) => document.endLsn)).toEqual([
      "00000000/0000001E",
      "00000000/0000001E",
    ]);
    expect(delivery.state.endLsn).toBe("00000000/0000001E");
  });

  test("after a failure are refused with its reason, and nothing of them is visible", async () => {
    const { delivery, stage, store } = bench();
    await store.putIfAbsent("_pgstage/log/000000000/000000000001.json", Buffer.from("{}"));
    await expect(delivery.submit(submission({ files: [small("a")] }))).rejects.toThrow(ReplacedError);
    await expect(delivery.submit(submission({ files: [small("b")] }))).rejects.toThrow(ReplacedError);
    await expect(delivery.record([{ event: "forget", oid: 1 }])).rejects.toThrow(ReplacedError);
    expect(stage.dataKeys()).toEqual([]);
  });

  test("are recorded before anything of them is visible", async () => {
    const { delivery, stage, store } = bench();
    (store as Gate).isOpen = false;
    const submitted = delivery.submit(submission({ files: [small("a")] }));
    await turns(5);
    expect(stage.dataKeys()).toEqual([]);
    (store as Gate).open();
    await submitted;
    expect(stage.dataKeys()).toEqual(["a"]);
  });
});

test("files that are gone after they were recorded are told, and the others published", async () => {
  const { delivery, stage, store, lost } = bench();
  const upload = await store.begin("large");
  await upload.write(Buffer.from("large"), 1, 0);
  const receipt = await upload.finish();
  const pack = new Pack(store);
  const place = pack.add(Buffer.from("packed"));
  await pack.put();
  stage.uploads.clear();
  await store.delete([pack.key]);
  const files = [file("large", { upload: receipt }), file("packed", { packed: place }), small("a")];
  await delivery.submit(submission({ files }));
  expect(lost.map((one) => one.key).toSorted()).toEqual(["large", "packed"]);
  expect(stage.dataKeys()).toEqual(["a"]);
});

describe("taking over", () => {
  async function start(store: MemoryStore, from = 10n): Promise<{ delivery: Delivery; discarded: number }> {
    const reading = await readLog(store);
    const patiently = <T>(_what: string, attempt: () => Promise<T>): Promise<T> => attempt();
    const log = new Log(store, reading?.state ?? unborn(IDENTITY), []);
    const events = { published: () => {}, lost: () => {} };
    const delivery = new Delivery({ store, log, patiently, events });
    const told = { lost: () => {}, notDiscarded: () => {} };
    const taking = { store, patiently, delivery, reading, from: from as Lsn, ...told };
    return { delivery, discarded: await takeOver(taking) };
  }

  test("publishes what the last document names, from the stage alone", async () => {
    const stage = new MemoryStage();
    const store = new MemoryStore(stage);
    const { delivery } = await start(store);
    // It dies right after the record: nothing is published, the pack is there.
    const dying = new (class extends MemoryStore {
      override publishBytes(): Promise<void> {
        return new Promise(() => {});
      }
    })(stage);
    const last = new Delivery({
      store: dying,
      log: new Log(dying, delivery.state, []),
      patiently: (_what, attempt) => attempt(),
      events: { published: () => {}, lost: () => {} },
    });
    void last.submit(submission({ files: [small("a"), small("b")], endLsn: 20n as Lsn }));
    await turns(5);
    expect(stage.dataKeys()).toEqual([]);
    await start(store, parseLsn("0/14"));
    expect(stage.dataKeys()).toEqual(["a", "b"]);
    expect(stage.keys("_pgstage/packs/")).toEqual([]);
  });

  test("throws away what nobody recorded, and nothing of whoever replaces us meanwhile", async () => {
    const stage = new MemoryStage();
    const old = await new MemoryStore(stage).begin("left over");
    await old.write(Buffer.from("x"), 1, 0);
    await new MemoryStore(stage).put("_pgstage/packs/left-over", Buffer.from("x"));
    /** Suspended after its document is written. */
    class Suspended extends MemoryStore {
      resume: () => void = () => {};

      override async discardUploads(isNamed: (id: string) => boolean): Promise<number> {
        if (documents(stage).length > 0) await new Promise<void>((resolve) => (this.resume = resolve));
        return super.discardUploads(isNamed);
      }
    }
    const suspended = new Suspended(stage);
    const first = start(suspended);
    await turns(5);
    const store = new MemoryStore(stage);
    await start(store);
    const upload = await store.begin("ours");
    await upload.write(Buffer.from("ours"), 1, 0);
    await store.put("_pgstage/packs/ours", Buffer.from("ours"));
    suspended.resume();
    await first;
    expect([...stage.uploads.values()].map((one) => one.key)).toEqual(["ours"]);
    expect(stage.keys("_pgstage/packs/")).toEqual(["_pgstage/packs/ours"]);
  });

  test("goes on where leftovers may not be looked for", async () => {
    const stage = new MemoryStage();
    const store = new (class extends MemoryStore {
      override async discardUploads(): Promise<number> {
        throw new OperatorError("access denied", "allow it");
      }
    })(stage);
    expect((await start(store)).discarded).toBe(0);
    expect(documents(stage).map((document) => document.kind)).toEqual(["start"]);
  });
});
