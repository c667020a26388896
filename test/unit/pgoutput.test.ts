import { Buffer } from "node:buffer";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Lsn } from "../../src/core/lsn.ts";
import { MemoryAccount } from "../../src/core/memory.ts";
import { Batch } from "../../src/stream/batch.ts";
import {
  readBegin,
  readCommitEnd,
  readRelation,
  readTruncated,
  scanTuple,
} from "../../src/stream/pgoutput.ts";
import { StreamReader } from "../../src/stream/reader.ts";
import { readCsv } from "../model/csv.ts";
import { MemoryStage, MemoryStore } from "../support/memory-store.ts";
import * as wire from "../support/pgoutput-writer.ts";

const name = fc
  .string({ unit: "grapheme", minLength: 1, maxLength: 20 })
  .filter((text) => !text.includes("\0"));
const u64 = fc.bigInt(0n, 2n ** 64n - 1n);
const micros = fc.bigInt(0n, 4_000_000_000_000_000n);
const oid = fc.integer({ min: 1, max: 2 ** 32 - 1 });
const value = fc.oneof(
  fc.string({ unit: "binary", maxLength: 30 }),
  fc.constantFrom("", ",", '"', "\n", "\r\n", '""', "\\."),
);

const relation: fc.Arbitrary<wire.WireRelation> = fc.record({
  oid,
  schema: name,
  table: name,
  identity: fc.constantFrom("d", "n", "f", "i"),
  columns: fc.array(
    fc.record({ name, typeOid: oid, typeModifier: fc.integer({ min: -1, max: 1000 }), key: fc.boolean() }),
    { maxLength: 8 },
  ),
});

describe("what the writer writes is what is read", () => {
  test("BEGIN and COMMIT", () => {
    fc.assert(
      fc.property(u64, u64, micros, fc.nat(2 ** 32 - 1), (commitLsn, endLsn, at, xid) => {
        expect(readBegin(wire.begin(commitLsn, at, xid))).toEqual({ commitLsn, committedAtMicros: at, xid });
        expect(readCommitEnd(wire.commit(commitLsn, endLsn, at))).toBe(endLsn);
      }),
    );
  });

  test("RELATION", () => {
    const words = { d: "default", n: "nothing", f: "full", i: "index" };
    fc.assert(
      fc.property(relation, ({ identity, ...rest }) => {
        const read = readRelation(wire.relation({ identity, ...rest }));
        expect(read).toEqual({ ...rest, replicaIdentity: words[identity] });
      }),
    );
  });

  test("a relation of pg_catalog comes without its schema's name", () => {
    const empty = wire.relation({ oid: 1, schema: "", table: "t", identity: "d", columns: [] });
    expect(readRelation(empty).schema).toBe("pg_catalog");
  });

  test("TRUNCATE", () => {
    fc.assert(
      fc.property(fc.array(oid, { maxLength: 20 }), fc.nat(3), (oids, options) => {
        expect(readTruncated(wire.truncate(oids, options))).toEqual(oids);
      }),
    );
  });
});

const TABLE: wire.WireRelation = {
  oid: 7,
  schema: "public",
  table: "t",
  identity: "d",
  columns: ["id", "a", "b"].map((column, i) => ({
    name: column,
    typeOid: 25,
    typeModifier: -1,
    key: i === 0,
  })),
};

/** A reader inside a transaction that has described the table, and the rows that it has written. */
function newReader(): { read: (payload: Buffer) => void; rows: () => Promise<(string | null)[][]> } {
  const stage = new MemoryStage();
  const batch = new Batch({
    store: new MemoryStore(stage),
    memory: new MemoryAccount(1_000_000),
    compression: "none",
    patiently: (_what, attempt) => attempt(),
    fileMaxBytes: 1_000_000,
  });
  const facts = { captures: () => true, primaryKey: () => [], mustFill: () => false, largeRow: () => {} };
  const told = { firstChange: () => {}, committed: () => {}, shapeSeen: () => {} };
  const reader = new StreamReader({ facts, metadataPrefix: "_", startLsn: 0n as Lsn, ...told }, batch);
  reader.read(wire.begin(100n, 0n));
  reader.read(wire.relation(TABLE));
  return {
    read: (payload) => reader.read(payload),
    rows: async () => {
      const files = await batch.finish();
      return files.flatMap(({ file }) => {
        if (!("small" in file.content)) throw new Error("not a small file");
        return readCsv(file.content.small.toString("utf8")).slice(1);
      });
    },
  };
}

/** An independent, strict reading of a change: `_op` and values of its rows; null if it is not well-formed. */
function strictly(payload: Buffer): (string | null)[][] | null {
  let at = 5;
  const tuple = (): (string | null | undefined)[] | null => {
    if (at + 2 > payload.length || payload.readUInt16BE(at) !== 3) return null;
    at += 2;
    const values: (string | null | undefined)[] = [];
    for (let i = 0; i < 3; i++) {
      const kind = String.fromCharCode(payload[at++] ?? 0);
      if (kind === "n") values.push(null);
      else if (kind === "u") values.push(undefined);
      else if (kind === "t") {
        if (at + 4 > payload.length) return null;
        const to = at + 4 + payload.readUInt32BE(at);
        if (to > payload.length) return null;
        values.push(payload.toString("utf8", at + 4, to));
        at = to;
      } else return null;
    }
    return values;
  };
  const tag = String.fromCharCode(payload[0] ?? 0);
  if (payload.length < 6 || payload.readUInt32BE(1) !== TABLE.oid) return null;
  const kinds: string[] = [];
  const tuples: (string | null | undefined)[][] = [];
  while (at < payload.length) {
    kinds.push(String.fromCharCode(payload[at++] ?? 0));
    const values = tuple();
    if (!values) return null;
    tuples.push(values);
  }
  const shape = tag + kinds.join("");
  if (!/^(IN|UN|U[KO]N|D[KO])$/.test(shape)) return null;
  const [first = [], second] = tuples;
  if (shape === "IN") return first.includes(undefined) ? null : [row("c", first)];
  if (tag === "D") return [row("d", first)];
  if (!second) return [row("u", first)];
  const merged = second.map((one, i) => (one === undefined ? (first[i] ?? undefined) : one));
  if (first[0] === merged[0]) return [row("u", merged)];
  return [row("d", first), row("u", merged)];
}

function row(op: string, values: readonly (string | null | undefined)[]): (string | null)[] {
  const names = values.flatMap((one, i) => (one === undefined ? [TABLE.columns[i]?.name] : []));
  const unchanged = names.length > 0 && op === "u" ? JSON.stringify(names) : null;
  return [op, unchanged, ...values.map((one) => one ?? null)];
}

const sent = fc.oneof({ weight: 6, arbitrary: value }, { weight: 1, arbitrary: fc.constant(null) });
const updated = fc.oneof({ weight: 3, arbitrary: sent }, { weight: 1, arbitrary: fc.constant(undefined) });
const three = <T>(one: fc.Arbitrary<T>): fc.Arbitrary<[T, T, T]> => fc.tuple(one, one, one);
const kind = fc.constantFrom<"K" | "O">("K", "O");
/** Not yet: with its key the row's values would be asked for. */
const complete = three(sent);

const change: fc.Arbitrary<Buffer> = fc.oneof(
  three(sent).map((values) => wire.insert(TABLE.oid, values)),
  three(updated).map((values) => wire.update(TABLE.oid, values)),
  fc
    .tuple(complete, kind, three(sent))
    .map(([values, k, old]) => wire.update(TABLE.oid, values, { kind: k, values: old })),
  fc.tuple(kind, three(sent)).map(([k, old]) => wire.remove(TABLE.oid, k, old)),
);

/** `_op`, `_unchanged` and the values. */
const withoutPlace = (rows: readonly (string | null)[][]): (string | null)[][] =>
  rows.map(([op, , , , unchanged, ...values]) => [op ?? null, unchanged ?? null, ...values]);

async function expectStrict(payload: Buffer): Promise<void> {
  const reader = newReader();
  const wanted = strictly(payload);
  const view = Buffer.from(payload);
  if (wanted === null) {
    expect(() => reader.read(view)).toThrow();
    return;
  }
  reader.read(view);
  view.fill(0x58);
  expect(withoutPlace(await reader.rows())).toEqual(wanted);
}

describe("changes", () => {
  test("are read as an independent, strict reader reads them", async () => {
    await fc.assert(fc.asyncProperty(change, expectStrict), { numRuns: 300 });
  });

  test("that are cut off anywhere are errors", async () => {
    await fc.assert(
      fc.asyncProperty(change, fc.nat(), async (payload, at) => {
        await expectStrict(payload.subarray(0, 1 + (at % (payload.length - 1))));
      }),
      { numRuns: 300 },
    );
  });

  test("with bytes behind their end are errors", () => {
    fc.assert(
      fc.property(change, (payload) => {
        expect(() => newReader().read(Buffer.concat([payload, Buffer.of(0)]))).toThrow("malformed");
      }),
    );
  });

  test("with a byte that was flipped are errors, or what the flipped byte says", async () => {
    await fc.assert(
      fc.asyncProperty(change, fc.nat(), fc.nat(255), async (payload, at, byte) => {
        const flipped = Buffer.from(payload);
        // A text that is not UTF-8 any more reads differently in the test, and an update of a key asks for values.
        const place = 1 + (at % (payload.length - 1));
        flipped[place] = byte & 0x7f;
        const text = flipped.toString("latin1");
        if (!isText(flipped) || text.includes("u", 6)) return;
        await expectStrict(flipped);
      }),
      { numRuns: 500 },
    );
  });
});

function isText(bytes: Buffer): boolean {
  const rows = strictly(bytes);
  return rows === null || rows.every((values) => values.every((one) => !one?.includes("\uFFFD")));
}

describe("anything else", () => {
  test("random bytes end, with an error or without a row", () => {
    const tags = fc.constantFrom(..."BCRIUDTOYM?\0".split(""));
    fc.assert(
      fc.property(tags, fc.uint8Array({ maxLength: 200 }), (tag, bytes) => {
        const payload = Buffer.concat([Buffer.from(tag), bytes]);
        let rest: "read" | "refused" = "read";
        try {
          newReader().read(payload);
        } catch {
          rest = "refused";
        }
        if ("?\0BIUD".includes(tag)) expect(rest).toBe("refused");
      }),
      { numRuns: 1_000 },
    );
  });

  test("a length of 4 GB ends at once", () => {
    const huge = wire.insert(TABLE.oid, ["a", "b", "c"]);
    huge.writeUInt32BE(0xffff_ffff, 9);
    const startedAt = performance.now();
    expect(() => newReader().read(huge)).toThrow("malformed");
    expect(() => scanTuple(Buffer.from([0xff, 0xff, 0x74, 0xff, 0xff, 0xff, 0xff]), 0, 0xffff)).toThrow();
    expect(performance.now() - startedAt).toBeLessThan(1_000);
  });

  test("a change of a relation that nobody described, and one outside of a transaction", () => {
    expect(() => newReader().read(wire.insert(8, ["1"]))).toThrow("has not described");
    const reader = newReader();
    reader.read(wire.commit(100n, 110n, 0n));
    expect(() => reader.read(wire.insert(TABLE.oid, ["1", "2", "3"]))).toThrow("outside of a transaction");
    expect(() => reader.read(wire.commit(100n, 110n, 0n))).toThrow("malformed COMMIT");
  });

  test("a transaction inside another one", () => {
    expect(() => newReader().read(wire.begin(120n, 0n))).toThrow("malformed BEGIN");
  });

  test("origins, types and messages are nothing to us", async () => {
    const reader = newReader();
    reader.read(wire.origin(1n, "elsewhere"));
    reader.read(wire.type(9, "public", "mood"));
    reader.read(wire.message(1n, "prefix", Buffer.from("text")));
    // Postgres 13 sends it for an origin that the transaction itself has made.
    reader.read(Buffer.alloc(0));
    expect(await reader.rows()).toEqual([]);
  });

  test("messages of fixed length that are too short or too long", () => {
    const whole = [wire.begin(1n, 1n), wire.commit(1n, 2n, 1n), wire.truncate([7]), wire.relation(TABLE)];
    const reads = [readBegin, readCommitEnd, readTruncated, readRelation];
    reads.forEach((read, i) => {
      const payload = whole[i] as Buffer;
      for (let to = 1; to < payload.length; to++) expect(() => read(payload.subarray(0, to))).toThrow();
      expect(() => read(Buffer.concat([payload, Buffer.of(0)]))).toThrow("malformed");
    });
  });
});
