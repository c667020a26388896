import { Buffer } from "node:buffer";
import type { LogDocument } from "../../src/core/document.ts";
import type { Compression } from "../../src/core/layout.ts";
import type { Lsn } from "../../src/core/lsn.ts";
import { MemoryAccount } from "../../src/core/memory.ts";
import { Delivery } from "../../src/delivery/delivery.ts";
import { Log } from "../../src/delivery/log.ts";
import { unborn } from "../../src/delivery/state.ts";
import type { ReadBack } from "../../src/stream/deferred.ts";
import { Pump, type PumpParts } from "../../src/stream/pump.ts";
import { readCsv } from "../model/csv.ts";
import { MemoryStage, MemoryStore } from "../support/memory-store.ts";
import * as wire from "../support/pgoutput-writer.ts";

const IDENTITY = { systemIdentifier: "1", timeline: 1, database: "d", slot: "s", publication: "p" };
const START = 1000n as Lsn;
export const MICROS = 1_795_000_000_000_000n;

/** A store whose log is written when the test says so. */
class Gate extends MemoryStore {
  waiting: (() => void)[] = [];
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

export interface Options {
  readonly memoryBytes?: number;
  readonly limits?: Partial<PumpParts["limits"]>;
  readonly readBack?: ReadBack;
  readonly mustFill?: boolean;
  readonly compression?: Compression;
}

/** A pump between messages that a test writes and a store in memory. */
export class Bench {
  readonly stage = new MemoryStage();
  readonly store = new Gate(this.stage);
  readonly memory: MemoryAccount;
  readonly pump: Pump;
  readonly acknowledged: bigint[] = [];
  paused = false;
  #lsn = START as bigint;

  constructor({
    memoryBytes = 1_000_000,
    limits = {},
    readBack = async () => [],
    mustFill = false,
    compression = "none",
  }: Options = {}) {
    this.memory = new MemoryAccount(memoryBytes);
    const { store } = this;
    const patiently: PumpParts["batch"]["patiently"] = (_what, attempt) => attempt();
    const events = { published: () => {}, lost: () => {} };
    const delivery = new Delivery({ store, log: new Log(store, unborn(IDENTITY), []), patiently, events });
    this.pump = new Pump({
      source: {
        pause: () => (this.paused = true),
        resume: () => (this.paused = false),
        acknowledge: (lsn) => this.acknowledged.push(lsn),
      },
      delivery,
      batch: { store, memory: this.memory, compression, patiently, fileMaxBytes: 10_000_000 },
      facts: { captures: () => true, primaryKey: () => ["id"], mustFill: () => mustFill, largeRow: () => {} },
      readBack,
      limits: {
        flushAfterMs: 60_000,
        maxBatchBytes: 1_000_000_000,
        maxHeldBytes: memoryBytes * 0.35,
        ...limits,
      },
      metadataPrefix: "_",
      startLsn: START,
      shapeSeen: () => {},
      recordShapes: async () => {},
    });
    for (const oid of [1, 2, 3]) this.send(this.relation(oid));
  }

  relation(oid: number): Buffer {
    const column = { typeOid: 25, typeModifier: -1 };
    const columns = [
      { ...column, name: "id", key: true },
      { ...column, name: "text", key: false },
    ];
    return wire.relation({ oid, schema: "public", table: `t${oid}`, identity: "d", columns });
  }

  /** As from a socket: the buffer is used again. */
  send(...payloads: readonly Buffer[]): void {
    for (const payload of payloads) {
      const chunk = Buffer.from(payload);
      this.pump.read(chunk);
      chunk.fill(0x58);
    }
  }

  begin(): Buffer {
    return wire.begin(this.#lsn, MICROS);
  }

  commit(bytes = 10n): Buffer {
    const lsn = this.#lsn;
    this.#lsn += bytes;
    return wire.commit(lsn, this.#lsn, MICROS);
  }

  insert(text: string, oid = 1): Buffer {
    return wire.insert(oid, ["1", text]);
  }

  get documents(): LogDocument[] {
    const keys = this.stage.keys("_pgstage/log/");
    return keys.map((key) => JSON.parse(String(this.stage.objects.get(key))) as LogDocument);
  }

  /** The values of all published rows, in order of their files. */
  get published(): (string | null)[] {
    return this.stage.dataKeys().flatMap((key) => {
      const [, ...rows] = readCsv(String(this.stage.objects.get(key)));
      return rows.map((row) => row[6] ?? null);
    });
  }
}
