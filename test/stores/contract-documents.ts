import { randomBytes, randomUUID } from "node:crypto";
import { expect, it } from "vitest";
import { encodeName } from "../../src/core/layout.ts";
import { inTurns, keysOf, type Stores } from "./support.ts";

/** The part of the contract that is about documents and listings. */
export function documentsContract(stores: () => Stores): void {
  writesContract(stores);
  readsContract(stores);
  listingContract(stores);
  namesContract(stores);
}

function writesContract(stores: () => Stores): void {
  it("gives a key to exactly one of many writers", async () => {
    const { store, other } = stores();
    for (let round = 0; round < 5; round++) {
      const key = documentKey();
      const contents = Array.from({ length: 20 }, () => randomBytes(2000));
      const outcomes = await Promise.all(
        contents.map((bytes, i) => (i % 2 === 0 ? store : other).putIfAbsent(key, bytes)),
      );
      const winners = contents.filter((_, i) => outcomes[i] === "created");
      expect(winners).toHaveLength(1);
      expect(await store.get(key)).toEqual(winners[0]);
    }
  });

  it("counts a document that is there with the same bytes as created", async () => {
    const { store, other } = stores();
    const key = documentKey();
    expect(await store.putIfAbsent(key, Buffer.from("mine"))).toBe("created");
    expect(await other.putIfAbsent(key, Buffer.from("mine"))).toBe("created");
    expect(await other.putIfAbsent(key, Buffer.from("theirs"))).toBe("exists");
    expect(await other.putIfAbsent(key, Buffer.alloc(0))).toBe("exists");
    expect(String(await store.get(key))).toBe("mine");
  });

  it("writes a document again with other content, of any size", async () => {
    const { store, other } = stores();
    const key = documentKey();
    for (const size of [10, 0, 12 * 1024 * 1024 + 3, 5 * 1024 * 1024, 1]) {
      const bytes = randomBytes(size);
      await store.put(key, bytes);
      expect((await other.get(key))?.equals(bytes), `${size} bytes`).toBe(true);
    }
  });

  it("deletes many documents, and missing ones", async () => {
    const { store } = stores();
    const prefix = `_pgstage/test-${randomUUID()}/`;
    const keys = Array.from({ length: 1003 }, (_, i) => `${prefix}${i}`);
    const kept = keys.slice(0, 3);
    await inTurns([...kept, keys[500] ?? ""], (key) => store.put(key, Buffer.from("x")));
    await store.delete([]);
    await store.delete(keys.slice(3));
    await store.delete(keys.slice(3));
    expect(await keysOf(store, prefix)).toEqual(kept);
  });
}

function readsContract(stores: () => Stores): void {
  it("reads spans of a document", async () => {
    const { store } = stores();
    const key = documentKey();
    await store.put(key, Buffer.from("0123456789"));
    const read = async (offset: number, length: number): Promise<string> =>
      String(await store.get(key, { offset, length }));
    expect(await read(0, 10)).toBe("0123456789");
    expect(await read(3, 4)).toBe("3456");
    expect(await read(9, 1)).toBe("9");
    expect(await read(8, 100)).toBe("89");
    expect(await read(10, 5)).toBe("");
    expect(await read(50, 5)).toBe("");
    expect(await read(4, 0)).toBe("");
  });

  it("has null for what is not there, and for folders", async () => {
    const { store } = stores();
    const key = documentKey();
    await store.put(`${key}/below`, Buffer.from("x"));
    expect(await store.get(documentKey())).toBeNull();
    expect(await store.get(documentKey(), { offset: 0, length: 3 })).toBeNull();
    expect(await store.get(key)).toBeNull();
    expect(await store.get(`${key}/below/that`)).toBeNull();
  });
}

function listingContract(stores: () => Stores): void {
  it("lists keys in the order of their UTF-8 bytes, whatever their folders", async () => {
    const { store } = stores();
    const prefix = `_pgstage/test-${randomUUID()}/`;
    const names = [
      "a",
      "a-b",
      "a.b",
      "a/b",
      "a/c/d",
      "a0",
      "a_",
      "B",
      "%C3%A9",
      "b/a",
      "b-",
      "b/a-",
      "b0/x",
      "é",
      "\uff5e",
      "\u{1f600}",
    ];
    // A name is either a file or a folder in a directory.
    const keys = names.filter((name) => name !== "a").map((name) => prefix + name);
    await inTurns(keys, (key) => store.put(key, Buffer.from("x")));
    const sorted = keys.toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
    expect(await keysOf(store, prefix)).toEqual(sorted);
    for (const [index, startAfter] of sorted.entries()) {
      expect(await keysOf(store, prefix, { startAfter })).toEqual(sorted.slice(index + 1));
    }
    expect(await keysOf(store, prefix, { startAfter: `${prefix}a/` })).toEqual(
      sorted.filter((key) => key > `${prefix}a/`),
    );
  });

  it("lists more keys and more folders than fit into one page", async () => {
    const { store } = stores();
    const prefix = `_pgstage/test-${randomUUID()}/`;
    const folders = Array.from({ length: 1105 }, (_, i) => `${String(i).padStart(5, "0")}/`);
    await inTurns(folders, (folder) => store.put(`${prefix}${folder}x`, Buffer.from("x")));
    expect(await store.listFolders(prefix)).toEqual(folders);
    const keys = folders.map((folder) => `${prefix}${folder}x`);
    expect(await keysOf(store, prefix)).toEqual(keys);
    expect(await keysOf(store, prefix, { startAfter: keys[3] ?? "" })).toEqual(keys.slice(4));
  });

  it("can be left in the middle of a listing", async () => {
    const { store } = stores();
    const prefix = `_pgstage/test-${randomUUID()}/`;
    await inTurns(["1", "2", "3"], (name) => store.put(prefix + name, Buffer.from("x")));
    for await (const key of store.list(prefix)) {
      expect(key).toBe(`${prefix}1`);
      break;
    }
  });

  it("lists only what is below the folder, and no folder that holds nothing any more", async () => {
    const { store } = stores();
    const prefix = `_pgstage/test-${randomUUID()}/`;
    const keys = ["a/1", "a/b/2", "ab/3", "c/d/e/4", "f"].map((name) => prefix + name);
    await inTurns(keys, (key) => store.put(key, Buffer.from("x")));
    expect(await keysOf(store, `${prefix}a/`)).toEqual([`${prefix}a/1`, `${prefix}a/b/2`]);
    expect(await store.listFolders(prefix)).toEqual(["a/", "ab/", "c/"]);
    expect(await store.listFolders(`${prefix}a/`)).toEqual(["b/"]);
    await store.delete([`${prefix}c/d/e/4`]);
    expect(await store.listFolders(prefix)).toEqual(["a/", "ab/"]);
    expect(await keysOf(store, `${prefix}nothing/`)).toEqual([]);
    expect(await store.listFolders(`${prefix}nothing/`)).toEqual([]);
  });

  it("lists the whole stage, without uploads that are not published", async () => {
    const { store } = stores();
    const upload = await store.begin(`public/invisible/2026/11/22/07/0000000000000001-x.csv`);
    await upload.write(Buffer.from("x"), 1, 0);
    await upload.finish();
    const keys = await keysOf(store, "");
    expect(keys.length).toBeGreaterThan(0);
    expect(keys.filter((key) => key.includes("invisible") || key.includes("/staged/"))).toEqual([]);
    expect(await store.listFolders("")).toContain("_pgstage/");
    expect(await store.listFolders("_pgstage/")).not.toContain("staged/");
    await upload.abort();
  });
}

function namesContract(stores: () => Stores): void {
  it("keeps tables with odd names apart", async () => {
    const { store, other } = stores();
    const tables = [
      "'()*!~",
      "two words",
      "a/b",
      "..",
      ".",
      "ünï",
      "日本語",
      "%25",
      "a+b",
      "a&b=c?d#e",
      "CON",
      "x".repeat(63),
      "日".repeat(21),
    ];
    const keys = tables.map((table) => `odd/${encodeName(table)}/2026/11/22/07/0000000000000001-x.csv`);
    await inTurns(keys, (key) => store.putIfAbsent(key, Buffer.from(key)));
    for (const key of keys) expect(String(await other.get(key))).toBe(key);
    expect(new Set(await store.listFolders("odd/"))).toEqual(
      new Set(tables.map((table) => `${encodeName(table)}/`)),
    );
    expect(await keysOf(store, "odd/")).toEqual(keys.toSorted());
  });

  it("refuses keys that are outside the stage", async () => {
    const { store } = stores();
    const receipt = { id: randomUUID(), bytes: 1, mark: "", parts: [] };
    for (const key of [
      "",
      "/etc/passwd",
      "../up",
      "a/../../up",
      "a//b",
      "a/",
      "./a",
      "a\0b",
      "_pgstage/staged/x",
    ]) {
      await expect(store.put(key, Buffer.from("x")), key).rejects.toThrow(RangeError);
      await expect(store.putIfAbsent(key, Buffer.from("x")), key).rejects.toThrow(RangeError);
      await expect(store.publishBytes(key, Buffer.from("x"), "sha256:"), key).rejects.toThrow(RangeError);
      await expect(store.begin(key), key).rejects.toThrow(RangeError);
      await expect(store.publish(key, receipt), key).rejects.toThrow(RangeError);
      await expect(store.get(key), key).rejects.toThrow(RangeError);
      await expect(store.has(key, "sha256:"), key).rejects.toThrow(RangeError);
      await expect(store.delete([key]), key).rejects.toThrow(RangeError);
    }
    await expect(store.listFolders("../")).rejects.toThrow(RangeError);
    await expect(keysOf(store, "../")).rejects.toThrow(RangeError);
    await expect(keysOf(store, "a")).rejects.toThrow(RangeError);
  });
}

function documentKey(): string {
  return `_pgstage/test-${randomUUID()}/document.json`;
}
