import { randomBytes } from "node:crypto";
import { beforeAll, afterAll, describe, expect, it } from "vitest";
import { OperatorError } from "../../src/core/errors.ts";
import type { Receipt, Store, Upload } from "../../src/stores/store.ts";
import { documentsContract } from "./contract-documents.ts";
import { checksum, freshKey, keysOf, stageFile, type Stores } from "./support.ts";

/** A place for one run of the contract: every call of `open` is another process's view of the same, empty stage. */
export interface Place {
  open(): Promise<Store>;
  /** Removes what the run left. */
  clean(): Promise<void>;
}

/** What every store promises, whatever stands behind it: src/stores/store.ts, as tests. */
export function storeContract(name: string, makePlace: () => Promise<Place>): void {
  describe(name, () => {
    let place: Place;
    let store: Store;
    /** Another instance, as after a restart. */
    let other: Store;

    beforeAll(async () => {
      place = await makePlace();
      store = await place.open();
      other = await place.open();
    });

    afterAll(async () => {
      store.close();
      other.close();
      await place.clean();
    });

    probeContract(() => store);
    uploadContract(() => ({ store, other }));
    occupiedContract(() => ({ store, other }));
    smallFileContract(() => ({ store, other }));
    discardContract(() => ({ store, other }));
    documentsContract(() => ({ store, other }));
  });
}

function probeContract(stores: () => Store): void {
  it("finds in a probe that it can be used, and leaves nothing behind", async () => {
    const results = await stores().probe();
    expect(results.length).toBeGreaterThan(5);
    for (const { verdict, name, found } of results) expect(verdict, `${name}: ${found}`).not.toBe("fail");
    expect(await keysOf(stores(), "_pgstage/probe/")).toEqual([]);
  });
}

function uploadContract(stores: () => Stores): void {
  const around = (part: number): number[] => [0, 1, part - 1, part, part + 1, 2 * part, 2 * part + 1];

  it("shows a file of any size whole, and only once it is published", async () => {
    const { store } = stores();
    for (const size of around(store.minPartBytes)) {
      const key = freshKey();
      const bytes = randomBytes(size);
      const receipt = await stageFile(store, key, bytes);
      expect(receipt.bytes).toBe(size);
      expect(await store.get(key)).toBeNull();
      expect(await keysOf(store, key.slice(0, key.indexOf("2026")))).toEqual([]);
      expect(await store.publish(key, receipt)).toBe("published");
      expect((await store.get(key))?.equals(bytes), `${size} bytes`).toBe(true);
      expect(await store.has(key, checksum(bytes))).toBe(true);
    }
  });

  it("publishes again without harm, also from another process that has only the record", async () => {
    const { store, other } = stores();
    const key = freshKey();
    const bytes = randomBytes(1000);
    const receipt = JSON.parse(JSON.stringify(await stageFile(store, key, bytes))) as Receipt;
    expect(await other.publish(key, receipt)).toBe("published");
    expect(await other.publish(key, receipt)).toBe("published");
    expect(await store.publish(key, receipt)).toBe("published");
    expect((await store.get(key))?.equals(bytes)).toBe(true);
  });

  it("publishes at once from many, and all of them succeed", async () => {
    const { store, other } = stores();
    const key = freshKey();
    const receipt = await stageFile(store, key, randomBytes(100));
    const outcomes = await Promise.all(
      Array.from({ length: 10 }, (_, i) => (i % 2 === 0 ? store : other).publish(key, receipt)),
    );
    expect(new Set(outcomes)).toEqual(new Set(["published"]));
  });

  it("puts parts in the order of their numbers, however their writes overlap", async () => {
    const { store } = stores();
    const key = freshKey();
    const size = store.minPartBytes;
    const bytes = randomBytes(3 * size + 10);
    const upload = await store.begin(key);
    const write = (n: number): Promise<void> =>
      upload.write(bytes.subarray(n * size, (n + 1) * size), n + 1, n * size);
    await Promise.all([write(3), write(1), write(0), write(2)]);
    expect(await store.publish(key, await upload.finish())).toBe("published");
    expect((await store.get(key))?.equals(bytes)).toBe(true);
  });

  it("takes the last content of a part that is written twice", async () => {
    const { store } = stores();
    const key = freshKey();
    const upload = await store.begin(key);
    await upload.write(Buffer.from("first"), 1, 0);
    await upload.write(Buffer.from("again"), 1, 0);
    expect(await store.publish(key, await upload.finish())).toBe("published");
    expect(String(await store.get(key))).toBe("again");
  });

  it("keeps what it was given, though the caller writes into the buffer afterwards", async () => {
    const { store } = stores();
    const key = freshKey();
    const upload = await store.begin(key);
    const buffer = Buffer.alloc(store.minPartBytes, "a");
    await upload.write(buffer, 1, 0);
    buffer.fill("b");
    await upload.write(buffer.subarray(0, 10), 2, buffer.length);
    buffer.fill("c");
    expect(await store.publish(key, await upload.finish())).toBe("published");
    const found = await store.get(key);
    expect(found?.subarray(0, -10).equals(Buffer.alloc(buffer.length, "a"))).toBe(true);
    expect(String(found?.subarray(-10))).toBe("bbbbbbbbbb");
  });

  it("gives the same receipt again", async () => {
    const upload = await begun(stores().store, "content");
    expect(await upload.finish()).toEqual(await upload.finish());
    await upload.abort();
  });

  it("does not finish a file with a gap, or with a small part in the middle", async () => {
    const { store } = stores();
    const gap = await begun(store, "first");
    await gap.write(Buffer.from("third"), 3, 10);
    await expect(gap.finish()).rejects.toThrow(RangeError);
    const small = await begun(store, "first");
    await small.write(Buffer.from("second"), 2, 5);
    await expect(small.finish()).rejects.toThrow(RangeError);
    await Promise.all([gap.abort(), small.abort()]);
  });

  it("says gone for an upload that was aborted, also to another process, and aborts again without harm", async () => {
    const { store, other } = stores();
    const key = freshKey();
    const upload = await store.begin(key);
    await upload.write(Buffer.from("content"), 1, 0);
    const receipt = await upload.finish();
    await upload.abort();
    await upload.abort();
    expect(await store.publish(key, receipt)).toBe("gone");
    expect(await other.publish(key, receipt)).toBe("gone");
    expect(await store.get(key)).toBeNull();
  });

  it("aborts after publishing without harm", async () => {
    const { store } = stores();
    const key = freshKey();
    const upload = await store.begin(key);
    await upload.write(Buffer.from("content"), 1, 0);
    await store.publish(key, await upload.finish());
    await upload.abort();
    expect(String(await store.get(key))).toBe("content");
  });
}

function occupiedContract(stores: () => Stores): void {
  it("never replaces a published file by an upload (or says in a probe that it cannot promise that)", async () => {
    const { store } = stores();
    const results = await store.probe();
    const promised = results.find(({ name }) => name === "stage conditional publish");
    const key = freshKey();
    await store.publish(key, await stageFile(store, key, Buffer.from("published")));
    const second = await stageFile(store, key, Buffer.from("another"));
    const publishing = store.publish(key, second);
    if (promised?.verdict === "ok") {
      await expect(publishing).rejects.toThrow(OperatorError);
      await expect(store.publish(key, second)).rejects.toThrow(key);
      expect(String(await store.get(key))).toBe("published");
    } else {
      expect(promised).toMatchObject({ verdict: "warn", found: expect.stringContaining("If-None-Match") });
      await expect(publishing).resolves.toBe("published");
    }
  });
}

function smallFileContract(stores: () => Stores): void {
  it("publishes a small file in one step, and again without harm", async () => {
    const { store, other } = stores();
    for (const size of [0, 1, 100_000]) {
      const key = freshKey();
      const bytes = randomBytes(size);
      await store.publishBytes(key, bytes, checksum(bytes));
      await other.publishBytes(key, bytes, checksum(bytes));
      expect((await other.get(key))?.equals(bytes)).toBe(true);
      expect(await other.has(key, checksum(bytes))).toBe(true);
      expect(await other.has(key, checksum(randomBytes(10)))).toBe(false);
    }
    expect(await store.has(freshKey(), checksum(Buffer.alloc(0)))).toBe(false);
  });

  it("never replaces a published file by a small one", async () => {
    const { store, other } = stores();
    const [key, large] = [freshKey(), freshKey()];
    const [bytes, others] = [Buffer.from("published"), Buffer.from("different")];
    await store.publishBytes(key, bytes, checksum(bytes));
    await store.publish(large, await stageFile(store, large, bytes));
    for (const taken of [key, large]) {
      const writing = other.publishBytes(taken, others, checksum(others));
      await expect(writing).rejects.toThrow(OperatorError);
      await expect(writing).rejects.toThrow(taken);
      expect(String(await store.get(taken))).toBe("published");
    }
  });
}

function discardContract(stores: () => Stores): void {
  it("discards uploads that no record names, and only those", async () => {
    const { store, other } = stores();
    await store.discardUploads(() => false);
    const named = freshKey();
    const unnamed = freshKey();
    const receipt = await stageFile(store, named, Buffer.from("named"));
    const lost = await stageFile(store, unnamed, Buffer.from("unnamed"));
    const unfinished = await begun(store, "unfinished");
    expect(receipt.id).not.toBe(lost.id);
    expect(await other.discardUploads((id) => id === receipt.id)).toBe(2);
    expect(await other.discardUploads((id) => id === receipt.id)).toBe(0);
    expect(await store.publish(unnamed, lost)).toBe("gone");
    expect(await store.publish(named, receipt)).toBe("published");
    await unfinished.abort();
  });
}

async function begun(store: Store, content: string): Promise<Upload> {
  const upload = await store.begin(freshKey());
  await upload.write(Buffer.from(content), 1, 0);
  return upload;
}
