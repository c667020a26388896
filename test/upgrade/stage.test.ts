import { createHash } from "node:crypto";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { readStageTables } from "../../src/commands/sql-tables.ts";
import { DOCUMENT_FORMAT, type LogDocument } from "../../src/core/document.ts";
import { OperatorError } from "../../src/core/errors.ts";
import { LOG_FOLDER, SCHEMAS_FOLDER, STATE_FOLDER } from "../../src/core/layout.ts";
import { tableName } from "../../src/core/table.ts";
import { readLog } from "../../src/delivery/log.ts";
import { publishLast } from "../../src/delivery/recover.ts";
import { applyDocument } from "../../src/delivery/state.ts";
import { openStore } from "../../src/stores/open.ts";
import type { Store } from "../../src/stores/store.ts";
import { StageLog } from "../../src/verify/stage-log.ts";
import { documentProblems } from "../../src/verify/stage-log.ts";

let directory: string;
let store: Store;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "pgstage-upgrade-"));
  store = await openStore({ url: pathToFileURL(directory).href });
});
afterEach(async () => {
  store.close();
  await rm(directory, { recursive: true });
});

async function unpack(version: string): Promise<Map<string, string>> {
  const text = await readFile(join(import.meta.dirname, `stage-${version}.txt`), "utf8");
  const files = new Map(
    text
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as [string, string]),
  );
  for (const [key, content] of files) await write(key, content);
  return files;
}

async function write(key: string, content: string): Promise<void> {
  const path = join(directory, key);
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, content);
}

const versions = (await readdir(import.meta.dirname)).flatMap(
  (name) => /^stage-(.*)\.txt$/.exec(name)?.[1] ?? [],
);

it("there are stages of released versions", () => {
  expect(versions).toContain("0.1.0");
});

describe.each(versions)("a stage that version %s wrote", (version) => {
  it("is read: where it ends, and how far its tables are", async () => {
    await unpack(version);
    const reading = await readLog(store);
    expect(reading?.damage).toBeNull();
    expect(reading?.state.sequence).toBe(reading?.last.sequence);
    expect(reading?.state.endLsn).toBe(reading?.last.endLsn);
    expect(reading?.state.pipeline.database).toBe("shop");
    const tables = Object.values(reading?.state.tables ?? {});
    expect(tables.map(({ catalog }) => tableName(catalog)).toSorted()).toEqual([
      'public.Odd "name"/é',
      "public.orders",
      "public.visits",
      "public.zz_ticks",
    ]);
    expect(tables.map(({ copy }) => copy.phase)).toEqual(tables.map(() => "copied"));
  });

  it("gives the same state from its state document as from its whole log", async () => {
    await unpack(version);
    const reading = await readLog(store);
    expect(reading?.stateKeys.length).toBeGreaterThan(0);
    await rm(join(directory, STATE_FOLDER), { recursive: true });
    expect((await readLog(store))?.state).toEqual(reading?.state);
  });

  it("has a log without a gap that names every data file, with its checksum", async () => {
    const files = await unpack(version);
    const log = await StageLog.open(store);
    expect(log?.problems).toEqual([]);
    const data = [...files.keys()].filter((key) => !key.startsWith("_pgstage/"));
    expect(data.length).toBeGreaterThan(5);
    expect([...(log?.files.keys() ?? [])].toSorted()).toEqual(data.toSorted());
    for (const [key, { checksum }] of log?.files ?? []) {
      expect(checksum, key).toBe(
        `sha256:${createHash("sha256")
          .update(files.get(key) ?? "")
          .digest("hex")}`,
      );
    }
  });

  it("is recovered: what its last documents name is published already", async () => {
    const files = await unpack(version);
    for (const [key, content] of files) {
      if (!key.startsWith(LOG_FOLDER)) continue;
      const document = JSON.parse(content) as LogDocument;
      expect(await publishLast(store, document, (_what, run) => run()), key).toEqual([]);
    }
  });

  it("still says what its columns are", async () => {
    await unpack(version);
    const { slot, tables } = await readStageTables(store, "_");
    expect(slot).toBe("slot_shop");
    const orders = tables.find(({ name }) => name === "public.orders");
    expect(orders?.shape.columns.map(({ name, type }) => `${name} ${type}`)).toEqual([
      "id bigint",
      "customer text",
      "total numeric(12,2)",
      "at timestamp with time zone",
      "note text",
    ]);
    expect(orders?.shape.key).toEqual(["id"]);
    expect(orders?.earlier).toHaveLength(1);
    expect(tables.filter(({ shapeId }) => shapeId === null)).toEqual([]);
  });

  it("goes on with documents of this version", async () => {
    await unpack(version);
    const reading = await readLog(store);
    if (!reading) throw new Error("there is no log");
    const next: LogDocument = {
      ...reading.last,
      format: DOCUMENT_FORMAT,
      sequence: reading.last.sequence + 1,
      files: [],
      tables: [],
    };
    expect(applyDocument(reading.state, next)).toEqual({
      ...reading.state,
      format: DOCUMENT_FORMAT,
      sequence: next.sequence,
    });
    expect(documentProblems(next, reading.last.endLsn)).toEqual([]);
  });
});

describe("a later format", () => {
  const later = async (folder: string): Promise<string> => {
    const files = await unpack("0.1.0");
    const key = [...files.keys()].findLast((name) => name.startsWith(folder)) ?? "";
    await write(
      key,
      JSON.stringify({ ...(JSON.parse(files.get(key) ?? "") as object), format: DOCUMENT_FORMAT + 1 }),
    );
    return key;
  };

  it.each([LOG_FOLDER, STATE_FOLDER, SCHEMAS_FOLDER])(
    "is refused with what to do about it, below %s",
    async (folder) => {
      const key = await later(folder);
      const error = await readStageTables(store, "_").catch((caught: unknown) => caught);
      expect(error).toBeInstanceOf(OperatorError);
      expect(error).toMatchObject({
        message: `${key} has format ${DOCUMENT_FORMAT + 1}; this pgstage reads up to ${DOCUMENT_FORMAT}`,
        mend: "run the newer version of pgstage that wrote it",
      });
    },
  );
});
