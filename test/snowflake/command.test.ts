import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { runCli } from "../../src/cli.ts";
import { DOCUMENT_FORMAT, type LogDocument, type LogFile } from "../../src/core/document.ts";
import { logKey, schemaKey } from "../../src/core/layout.ts";
import { shapeId } from "../../src/core/shape.ts";
import type { CatalogTable } from "../../src/core/table.ts";

interface Column {
  readonly name: string;
  readonly type: string;
  readonly typeOid: number;
}

const ID: Column = { name: "id", type: "bigint", typeOid: 20 };
const NOTE: Column = { name: "note", type: "text", typeOid: 25 };
const PRICE: Column = { name: "price", type: "integer", typeOid: 23 };

/** A stage as the daemon leaves it: shape documents and a log, written as files. */
class Stage {
  readonly directory = mkdtempSync(join(tmpdir(), "pgstage-sql-"));
  #sequence = 0;
  readonly #oids = new Map<string, number>();

  /** The table has these columns now; a file of that shape is published if `staged`. */
  table(name: string, columns: readonly Column[], { staged = true } = {}): void {
    const catalog = this.#catalog(name, columns);
    const id = shapeId({ ...catalog, table: name }, "_");
    const file = { schemaName: "public", tableName: name, table: `public.${name}`, shape: id };
    const copy = { phase: "pending", reason: "new" };
    this.#log(staged ? [file] : [], [{ event: "table", table: { catalog, names: {}, copy } }]);
    if (!staged) return;
    this.#write(schemaKey("public", name, id), {
      format: DOCUMENT_FORMAT,
      id,
      schemaName: "public",
      tableName: name,
      oid: catalog.oid,
      columns: columns.map((column) => ({ ...column, typeModifier: -1, key: column.name === "id" })),
      key: ["id"],
      replicaIdentity: "default",
      metadataPrefix: "_",
    });
  }

  #catalog(name: string, columns: readonly Column[]): CatalogTable {
    if (!this.#oids.has(name)) this.#oids.set(name, 20_000 + this.#oids.size);
    return {
      oid: this.#oids.get(name) ?? 0,
      schema: "public",
      name,
      partitioned: false,
      replicaIdentity: "default",
      key: ["id"],
      insertOnly: false,
      columns: columns.map(({ name: column, typeOid }, i) => ({
        attnum: i + 1,
        name: column,
        typeOid,
        typeModifier: -1,
      })),
      columnsVersion: "1",
      missing: [],
      labels: {},
      storages: [],
    };
  }

  #log(files: readonly Partial<LogFile>[], tables: readonly object[]): void {
    this.#sequence++;
    this.#write(logKey(this.#sequence), {
      format: DOCUMENT_FORMAT,
      sequence: this.#sequence,
      kind: "batch",
      pipeline: { systemIdentifier: "1", timeline: 1, database: "shop", slot: "shop_slot", publication: "p" },
      endLsn: null,
      files,
      tables,
    } as unknown as LogDocument);
  }

  #write(key: string, document: object): void {
    const path = join(this.directory, key);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, JSON.stringify(document));
  }
}

describe("pgstage sql", () => {
  let stage: Stage;
  beforeEach(() => {
    stage = new Stage();
  });
  afterEach(() => rmSync(stage.directory, { recursive: true }));

  async function sql(...args: string[]): Promise<{ code: number; out: string; err: string }> {
    const output = { out: "", err: "" };
    const code = await runCli(["sql", ...args], {
      env: {
        PGSTAGE_SOURCE_URL: "postgres://u:secret@db/shop",
        PGSTAGE_STAGE_URL: pathToFileURL(stage.directory).href,
      },
      stdout: { write: (text) => void (output.out += text) },
      stderr: { write: (text) => void (output.err += text) },
      signal: new AbortController().signal,
      modules: { sql: () => import("../../src/commands/sql.ts") },
    });
    return { code, ...output };
  }

  test("prints all tables of the stage, in the order of their names", async () => {
    stage.table("orders", [ID, NOTE]);
    stage.table("customers", [ID]);
    const { code, out } = await sql();
    expect(code).toBe(0);
    expect(out).toContain("pipeline shop_slot");
    expect(out.indexOf('PIPE IF NOT EXISTS "PGSTAGE"."PUBLIC_LANDING"."CUSTOMERS"')).toBeGreaterThan(0);
    expect(out.indexOf('."CUSTOMERS"')).toBeLessThan(out.indexOf('."ORDERS"'));
    expect(out).not.toContain("secret");
  });

  test("an empty stage is for the operator, with what to do", async () => {
    const { code, err } = await sql();
    expect(code).toBe(3);
    expect(err).toContain("does not know of any table yet");
    expect(err).toContain("pgstage run");
  });

  test("a table without files is there, with types by their numbers", async () => {
    stage.table("orders", [ID, NOTE], { staged: false });
    const { out } = await sql();
    expect(out).toContain('TRY_CAST("ID" AS NUMBER(38,0)) AS "ID", -- type 20');
  });

  test("names, kinds and a file are options", async () => {
    stage.table("orders", [ID]);
    const file = join(stage.directory, "out.sql");
    const names = ["--database", "shop", "--schema", '"Live"', "--warehouse", "w", "--integration", "i"];
    const { out } = await sql(...names, "--identifiers", "quoted", "--current-state", "task", "--out", file);
    expect(out).toBe("");
    const script = readFileSync(file, "utf8");
    expect(script).toContain('CREATE TABLE IF NOT EXISTS "SHOP"."Live"."orders"');
    expect(script).toContain('"SHOP"."Live_LANDING"."orders"');
    expect(script).toContain('WAREHOUSE = "W"');
    expect(script).toContain('STORAGE_INTEGRATION = "I"');
  });

  test("every wrong option is named at once", async () => {
    const { code, err } = await sql("--identifiers", "lower", "--current-state", "none", "--role-arn", "me");
    expect(code).toBe(2);
    expect(err).toContain('--identifiers: "lower" is not upper, quoted');
    expect(err).toContain('--current-state: "none" is not view, dynamic-table, task');
    expect(err).toContain("--role-arn");
  });

  test.each([
    ["q", "Q"],
    ['"q"', '"q"'],
  ])("landing tables in the schema of the views are refused: %s and %s", async (schema, landing) => {
    const { code, err } = await sql("--schema", schema, "--landing-schema", landing);
    expect(code).toBe(2);
    expect(err).toContain("--landing-schema: must not be --schema");
    expect((await sql("--schema", "q", "--landing-schema", '"q"')).code).not.toBe(2);
  });

  test("--table takes some, and refuses what is not there", async () => {
    stage.table("orders", [ID]);
    stage.table("customers", [ID]);
    const { out } = await sql("--table", "orders");
    expect(out).not.toContain("CUSTOMERS");
    expect(out).toContain('CREATE VIEW IF NOT EXISTS "PGSTAGE"."PUBLIC_LANDING"."PGSTAGE_COMMITS"');
    const wrong = await sql("--table", "public.order");
    expect(wrong.code).toBe(2);
    expect(wrong.err).toContain("no table public.order");
  });

  test("a later column is added to a landing table that was made before it", async () => {
    stage.table("orders", [ID]);
    stage.table("orders", [ID, NOTE]);
    const { out } = await sql();
    expect(out).toContain('ADD COLUMN\n  IF NOT EXISTS "NOTE" VARCHAR(134217728);');
  });

  describe("--diff", () => {
    test("nothing, while every table has one shape", async () => {
      stage.table("orders", [ID]);
      const { out } = await sql("--diff");
      expect(out).toContain("No table has changed");
      expect(out).not.toMatch(/^[A-Z]/m);
    });

    test("a new column: the landing column, views and functions, of that table only", async () => {
      stage.table("customers", [ID]);
      stage.table("orders", [ID, PRICE]);
      stage.table("orders", [ID]);
      stage.table("orders", [ID, NOTE]);
      const { out } = await sql("--diff");
      expect(statementsOf(out)).toEqual([
        "ALTER SESSION SET QUOTED_IDENTIFIERS_IGNORE_CASE = FALSE",
        'ALTER TABLE "PGSTAGE"."PUBLIC_LANDING"."ORDERS" ADD COLUMN',
        'CREATE OR REPLACE VIEW "PGSTAGE"."PUBLIC_LANDING"."ORDERS__TEXT" COPY GRANTS AS',
        'CREATE OR REPLACE VIEW "PGSTAGE"."PUBLIC"."ORDERS" COPY GRANTS AS',
        'CREATE OR REPLACE FUNCTION "PGSTAGE"."PUBLIC"."ORDERS_AS_OF_LSN"("AS_OF_LSN" VARCHAR)',
        'CREATE OR REPLACE FUNCTION "PGSTAGE"."PUBLIC"."ORDERS_AS_OF"("AS_OF_TIME" TIMESTAMP_TZ)',
      ]);
    });

    test("a new column with a task: the target gets it, and the task runs on", async () => {
      stage.table("orders", [ID]);
      stage.table("orders", [ID, NOTE]);
      const { out } = await sql("--diff", "--current-state", "task");
      expect(statementsOf(out).slice(1, 6)).toEqual([
        'ALTER TABLE "PGSTAGE"."PUBLIC_LANDING"."ORDERS" ADD COLUMN',
        'CREATE OR REPLACE VIEW "PGSTAGE"."PUBLIC_LANDING"."ORDERS__TEXT" COPY GRANTS AS',
        'ALTER TABLE "PGSTAGE"."PUBLIC"."ORDERS" ADD COLUMN',
        'CREATE OR REPLACE TASK "PGSTAGE"."PUBLIC_LANDING"."ORDERS__MERGE"',
        'ALTER TASK "PGSTAGE"."PUBLIC_LANDING"."ORDERS__MERGE" RESUME',
      ]);
    });

    test("another type with a task: the target is made again, and filled from all that has landed", async () => {
      stage.table("orders", [ID, PRICE]);
      stage.table("orders", [ID, { ...NOTE, name: "price" }]);
      const { out } = await sql("--diff", "--current-state", "task");
      expect(statementsOf(out)).toContain('CREATE OR REPLACE TABLE "PGSTAGE"."PUBLIC"."ORDERS" (');
      expect(statementsOf(out)).toContain(
        'CREATE OR REPLACE STREAM "PGSTAGE"."PUBLIC_LANDING"."ORDERS__NEW"',
      );
      expect(out).not.toContain("ADD COLUMN");
    });

    test("a column of pgstage's own has the name that it has in the whole script", async () => {
      stage.table("orders", [ID, { ...NOTE, name: "_file" }]);
      stage.table("orders", [ID]);
      stage.table("orders", [ID, NOTE]);
      const { out } = await sql("--diff");
      expect(statementsOf(out)).toHaveLength(6);
      expect(out).toContain('"_FILE_"');
      expect(out).not.toContain('"_FILE"');
    });

    test("a dropped column: the views lose it, landing keeps it", async () => {
      stage.table("orders", [ID, NOTE]);
      stage.table("orders", [ID]);
      const { out } = await sql("--diff");
      expect(out).toContain("-- The source has no column note any more; the landing table keeps it.");
      expect(out).not.toContain("ALTER TABLE");
    });
  });
});

/** First lines of the statements. */
function statementsOf(script: string): string[] {
  return script
    .split(/;\n/)
    .map((text) => text.split("\n").filter((line) => line !== "" && !line.startsWith("--"))[0] ?? "")
    .filter((line) => line !== "");
}
