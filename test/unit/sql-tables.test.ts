import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { expect, it } from "vitest";
import { readStageTables } from "../../src/commands/sql-tables.ts";
import { shapeOf } from "../../src/copy/range-file.ts";
import type { CatalogTable } from "../../src/core/table.ts";
import { Log } from "../../src/delivery/log.ts";
import { ShapeBook } from "../../src/delivery/shapes.ts";
import { unborn } from "../../src/delivery/state.ts";
import { openStore } from "../../src/stores/open.ts";

/** 63 bytes each, the longest that Postgres has; encoded they are longer than a file system's names. */
const LONG = "é".repeat(31);

it("finds the columns of tables whose names are too long for a folder", async () => {
  const directory = await mkdtemp(join(tmpdir(), "pgstage-sql-"));
  const store = await openStore({ url: pathToFileURL(directory).href });
  const catalog: CatalogTable = {
    oid: 16_384,
    schema: LONG,
    name: LONG,
    partitioned: false,
    replicaIdentity: "default",
    key: ["id"],
    insertOnly: false,
    columns: [{ attnum: 1, name: "id", typeOid: 23, typeModifier: -1 }],
    columnsVersion: "1",
    missing: [],
    labels: {},
    storages: [],
  };
  const pipeline = { systemIdentifier: "1", timeline: 1, database: "d", slot: "s", publication: "p" };
  try {
    const book = new ShapeBook({
      store,
      patiently: (_what, run) => run(),
      typeNames: async (types) => Promise.resolve(types.map(() => "integer")),
      metadataPrefix: "_",
    });
    await book.record([shapeOf(catalog)]);
    const log = new Log(store, unborn(pipeline), []);
    const table = { catalog, copy: { phase: "pending", reason: "first copy" } } as const;
    const event = { event: "table", table } as never;
    await log.append(
      log.next({
        kind: "birth",
        firstLsn: null,
        endLsn: null,
        committedAt: null,
        files: [],
        tables: [event],
      }),
    );
    const { tables } = await readStageTables(store, "_");
    expect(tables[0]?.shape.columns[0]?.type).toBe("integer");
  } finally {
    store.close();
    await rm(directory, { recursive: true });
  }
});
