import fc from "fast-check";
import type { Client } from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { copyOut } from "../../src/postgres/copy-out.ts";
import { ident } from "../../src/postgres/quote.ts";
import { POSTGRES_VERSIONS, startPostgres, type EmbeddedPostgres } from "../support/postgres.ts";
import { differences, type Verdict } from "../support/rebuild.ts";
import { stagedRows } from "../support/values-csv.ts";
import { TYPES_SQL, typesFor } from "../support/values.ts";
import { Pipeline } from "../tables/pipeline.ts";

const SEED = Number(process.env["VALUES_SEED"] ?? Date.now() % 1_000_000_007);
const RANDOM_TABLES = 25;
const RANDOM_ROWS = 12;

/** Everything that changes how a value is printed, as a role and a database may have it. */
const ODD_SETTINGS = {
  DateStyle: "SQL, DMY",
  TimeZone: "America/St_Johns",
  IntervalStyle: "sql_standard",
  extra_float_digits: "-10",
  bytea_output: "escape",
  xmlbinary: "hex",
  search_path: "public, nowhere",
  quote_all_identifiers: "on",
  client_encoding: "LATIN1",
  lc_time: "C",
  standard_conforming_strings: "off",
  array_nulls: "off",
  default_transaction_isolation: "serializable",
};

interface TestTable {
  readonly name: string;
  readonly columns: readonly { readonly name: string; readonly type: string }[];
  readonly rows: readonly (readonly (string | null)[])[];
}

/** One column of each type, with its edge values and NULL. */
function edgeTables(version: number): TestTable[] {
  return typesFor(version).map(({ type, edges }, i) => {
    return {
      name: `edge_${i}`,
      columns: [{ name: "v", type }],
      rows: [...edges.map((value) => [value]), [null]],
    };
  });
}

function randomTables(version: number): TestTable[] {
  const types = typesFor(version);
  const column = fc.constantFrom(...types).chain(({ type, edges, any }) => {
    const value = fc.option(fc.oneof(any, fc.constantFrom(...edges)), { freq: 6 });
    return fc.record({
      type: fc.constant(type),
      values: fc.array(value, { minLength: RANDOM_ROWS, maxLength: RANDOM_ROWS }),
    });
  });
  const tables = fc.sample(fc.array(column, { minLength: 2, maxLength: 9 }), {
    seed: SEED,
    numRuns: RANDOM_TABLES,
  });
  return tables.map((columns, i) => ({
    name: `random_${i}`,
    columns: columns.map(({ type }, c) => ({ name: `c${c}`, type })),
    rows: Array.from({ length: RANDOM_ROWS }, (_, row) => columns.map(({ values }) => values[row] ?? null)),
  }));
}

async function create(client: Client, table: TestTable): Promise<void> {
  const columns = table.columns.map(({ name, type }) => `${name} ${type}`).join(", ");
  await client.query(
    `CREATE TABLE ${ident(table.name)} (${columns}); CREATE TABLE ${ident(`${table.name}_streamed`)} (${columns})`,
  );
  const places = table.columns.map((_, i) => `$${i + 1}`).join(", ");
  for (const row of table.rows)
    await client.query(`INSERT INTO ${ident(table.name)} VALUES (${places})`, [...row]);
}

/** The rows as COPY prints them on a connection of its own, with the settings that the contract names. */
async function expectedRows(client: Client, { name, columns }: TestTable): Promise<string[]> {
  await client.query(
    "SET TimeZone = 'UTC'; SET DateStyle = 'ISO, YMD'; SET IntervalStyle = 'postgres'; SET extra_float_digits = 3; SET search_path = ''",
  );
  const rows: string[] = [];
  // With one column only COPY quotes a lone \. and ends the line of a NULL at once: a second one makes it like any other.
  const list = columns.map((column) => ident(column.name)).join(", ");
  await copyOut(
    client,
    `COPY (SELECT NULL, ${list} FROM public.${ident(name)}) TO STDOUT (FORMAT csv)`,
    (row) => {
      rows.push(row.toString("latin1", 1, row.length - 1));
      return null;
    },
  );
  return rows;
}

describe.each(POSTGRES_VERSIONS)("Postgres %i", (version) => {
  let server: EmbeddedPostgres;
  let client: Client;
  let pipeline: Pipeline;
  let verdict: Verdict;
  const edges = edgeTables(version);
  const random = randomTables(version);
  const tables = [...edges, ...random];

  beforeAll(async () => {
    server = await startPostgres({ version });
    const database = await server.createDatabase("values");
    client = await server.connect({ database });
    await client.query(`${TYPES_SQL}; CREATE ROLE odd SUPERUSER LOGIN`);
    for (const table of tables) await create(client, table);
    for (const [name, value] of Object.entries(ODD_SETTINGS)) {
      const text = name === "search_path" ? value : `'${value}'`;
      await client.query(`ALTER ROLE odd SET ${name} = ${text}; ALTER DATABASE values SET ${name} = ${text}`);
    }
    pipeline = await Pipeline.start({ server, database, user: "odd", settings: { SOURCE_SLOT: "values" } });
    await pipeline.until("all copies", () => pipeline.linesOf("table copied").length > 2 * tables.length);
    for (const { name } of tables)
      await client.query(`INSERT INTO ${ident(`${name}_streamed`)} SELECT * FROM ${ident(name)}`);
    verdict = await pipeline.compared();
    await pipeline.drain();
  });

  afterAll(async () => {
    await pipeline?.destroy();
    await client?.end();
    await server?.destroy();
  });

  /** Bytes of one table by all three ways. */
  async function compare(table: TestTable): Promise<void> {
    const expected = await expectedRows(client, table);
    expect(expected.length).toBe(table.rows.length);
    const copied = await stagedRows(pipeline.directory, "public", table.name);
    expect(copied.map(({ op, values }) => ({ op, values }))).toEqual([
      { op: "t", values: ",".repeat(table.columns.length - 1) },
      ...expected.map((values) => ({ op: "r", values })),
    ]);
    const streamed = await stagedRows(pipeline.directory, "public", `${table.name}_streamed`);
    expect(streamed.filter(({ op }) => op === "c").map(({ values }) => values)).toEqual(expected);
  }

  for (const table of edges) {
    const type = table.columns[0]?.type ?? "";
    test(`${type}: edge values have the same bytes by copy, stream and COPY`, () => compare(table));
  }

  test(`random rows of random types have the same bytes by copy, stream and COPY (VALUES_SEED=${SEED})`, async () => {
    for (const table of random) await compare(table);
  });

  test("all tables, rebuilt from the stage, are those of the source", () => {
    expect(differences(verdict)).toEqual([]);
  });
});
