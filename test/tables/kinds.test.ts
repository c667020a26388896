import { describe, expect, test } from "vitest";
import { ident } from "../../src/postgres/quote.ts";
import { differences } from "../support/rebuild.ts";
import { stagedRows } from "../support/values-csv.ts";
import { KEY_TYPES, TYPES_SQL, typesFor } from "../support/values.ts";
import { Fixture } from "./fixture.ts";

const BIG = "(SELECT string_agg(md5(random()::text), '') FROM generate_series(1, 125))";

/** Names that break paths, CSV, SQL, JSON and patterns. */
const NAMES = [
  "Upper",
  "upper",
  "UPPER",
  "with space",
  'quo"te',
  "quo'te",
  "comma,s",
  "dot.s",
  "slash/es",
  "back\\slash",
  "new\nline",
  "tab\t",
  "per%cent",
  "%2E",
  ".",
  "..",
  "...",
  "semi;colon",
  "$1",
  "${x}",
  "*",
  "?",
  "~",
  "#",
  "-",
  "--",
  "/* */",
  "ünï",
  "日本語",
  "🙂",
  "x".repeat(63),
  "é".repeat(31),
  "__proto__",
  "constructor",
  "toString",
  "select",
  "NULL",
  "_op",
  "%T",
  "cr\rname",
  " ",
  "a b ",
  "\u{1}",
  "a\u{feff}bom",
];

describe.each([13, 18] as const)("kinds of tables on Postgres %i", (version) => {
  const at = new Fixture({
    version,
    settings: { DISCOVERY_INTERVAL: "300ms", SOURCE_SCHEMAS: "public,with space,dot.s" },
    setup: `CREATE SCHEMA "with space"; CREATE SCHEMA "dot.s"; ${TYPES_SQL}`,
  });
  const sql = async (...statements: string[]): Promise<void> => {
    for (const statement of statements) await at.pipeline.sql(statement);
  };
  const warned = (table: string): boolean =>
    at.pipeline.lines.some((line) => line.level === "warn" && JSON.stringify(line).includes(table));

  test("keys of every type, changed together with a value that must be read back", async () => {
    const types = typesFor(version).filter(({ type }) => KEY_TYPES.includes(type));
    expect(types.length).toBeGreaterThan(40);
    const problems: string[] = [];
    for (const [i, { type, edges }] of types.entries()) {
      const table = `key_${i}`;
      await sql(`CREATE TABLE ${table} (k ${type} PRIMARY KEY, big text, v int)`);
      for (const edge of edges.filter((value) => value.length < 2000)) {
        await at.pipeline.sql(`INSERT INTO ${table} VALUES ($1, ${BIG}, 0) ON CONFLICT DO NOTHING`, [edge]);
      }
    }
    await at.pipeline.discovered();
    await at.pipeline.copiesDone();
    for (const [i, { type, edges }] of types.entries()) {
      const table = `key_${i}`;
      const [first, ...others] = edges.filter((value) => value.length < 2000);
      await sql(`UPDATE ${table} SET v = 1`);
      if (others.length === 0) continue;
      await at.pipeline.sql(`DELETE FROM ${table} WHERE k::text = ($1::${type})::text`, [others.at(-1)]);
      await at.pipeline.sql(`UPDATE ${table} SET k = $2::${type} WHERE k::text = ($1::${type})::text`, [
        first,
        others.at(-1),
      ]);
    }
    const verdict = await at.pipeline.settled();
    for (const [i, { type }] of types.entries()) {
      const result = verdict.tables.find(({ table }) => table === `public.key_${i}`);
      if (result?.outcome !== "equal") problems.push(`${type}: ${JSON.stringify(result)}`);
      const rows = await stagedRows(at.pipeline.directory, "public", `key_${i}`);
      const changed = rows.filter(
        (row, n) => row.op === "u" && rows[n - 1]?.op === "d" && rows[n - 1]?.lsn === row.lsn,
      );
      if (changed.some(({ unchanged }) => unchanged.length > 0))
        problems.push(`${type}: a value was not read back`);
    }
    expect(problems).toEqual([]);
    expect(differences(verdict)).toEqual([]);
  });

  test("names of tables, schemas and columns with any character", async () => {
    const schemas = ["public", "with space", "dot.s"];
    for (const [i, name] of NAMES.entries()) {
      const schema = ident(schemas[i % schemas.length] as string);
      await sql(
        `CREATE TABLE ${schema}.${ident(name)} (id int PRIMARY KEY, ${ident(name)} text, "a,b" text)`,
        `INSERT INTO ${schema}.${ident(name)} VALUES (1, '', NULL)`,
      );
    }
    const columns = NAMES.filter((name) => name !== "_op");
    await sql(
      `CREATE TABLE columns (id int PRIMARY KEY, ${columns.map((name) => `${ident(name)} text`).join(", ")})`,
      "INSERT INTO columns (id) VALUES (1)",
    );
    await at.pipeline.discovered();
    await at.pipeline.copiesDone();
    for (const [i, name] of NAMES.entries()) {
      const table = `${ident(schemas[i % schemas.length] as string)}.${ident(name)}`;
      await sql(
        `INSERT INTO ${table} SELECT 2, ${BIG}, 'x'`,
        `UPDATE ${table} SET "a,b" = 'y' WHERE id = 2`,
        `DELETE FROM ${table} WHERE id = 1`,
      );
    }
    await sql(
      `UPDATE columns SET ${columns.map((name) => `${ident(name)} = ${BIG}`).join(", ")}`,
      "UPDATE columns SET id = 2",
      'INSERT INTO columns (id, "..") VALUES (3, 4)',
    );
    const verdict = await at.pipeline.settled({ schemas: ["public", "with space", "dot.s"] });
    expect(differences(verdict)).toEqual([]);
  });

  test("one column, no column, and 1,600 columns", async () => {
    const wide = Array.from({ length: 1600 }, (_, i) => `c${i} int`).join(", ");
    await sql(
      "CREATE TABLE one (v text)",
      "CREATE TABLE one_key (v text PRIMARY KEY)",
      "CREATE TABLE none ()",
      `CREATE TABLE wide (${wide}, PRIMARY KEY (c0))`,
    );
    const values = ["'\\.'", "''", "NULL", "'\\N'", "E'\\n'", "' '", "'\"'"];
    const fill = [
      ...values.map((value) => `INSERT INTO one VALUES (${value})`),
      "INSERT INTO one_key VALUES ('\\.'), ('')",
      "INSERT INTO none DEFAULT VALUES",
      "INSERT INTO none DEFAULT VALUES",
    ];
    await sql(
      ...fill,
      `INSERT INTO wide VALUES (1${", 7".repeat(1599)})`,
      "INSERT INTO wide (c0, c1599) VALUES (2, NULL)",
    );
    await at.pipeline.discovered();
    await at.pipeline.copiesDone();
    await sql(
      "DELETE FROM one_key",
      ...fill,
      "UPDATE wide SET c1599 = 5",
      "UPDATE wide SET c0 = 3 WHERE c0 = 2",
      "TRUNCATE none",
      "INSERT INTO none DEFAULT VALUES",
    );
    expect(
      await at.pipeline.differences("public.one", "public.one_key", "public.none", "public.wide"),
    ).toEqual([]);
    const staged = await stagedRows(at.pipeline.directory, "public", "one");
    // Rows may have been streamed before the copy began: its t row voids them.
    const rows = staged.slice(staged.findLastIndex(({ op }) => op === "t"));
    const printed = ["\\.", '""', "", "\\N", '"\n"', " ", '""""'];
    expect(rows.map(({ values: text }) => text)).toEqual(["", ...printed, ...printed]);
  });

  test("composite keys, and a unique index as identity whose columns are not the primary key's", async () => {
    await sql(
      "CREATE TABLE composite (a int, b text, c date, v text, PRIMARY KEY (c, a))",
      "INSERT INTO composite SELECT i, i, current_date + i, 'x' FROM generate_series(1, 9) i",
    );
    await sql(
      "CREATE TABLE identified (id int PRIMARY KEY, x text NOT NULL, y int NOT NULL, big text)",
      "CREATE UNIQUE INDEX identity ON identified (y, x)",
      "ALTER TABLE identified REPLICA IDENTITY USING INDEX identity",
      `INSERT INTO identified SELECT i, i, i, ${BIG} FROM generate_series(1, 9) i`,
    );
    await at.pipeline.discovered();
    await sql(
      "UPDATE composite SET c = c + 100 WHERE a < 4; DELETE FROM composite WHERE a = 5",
      "UPDATE identified SET id = -id; UPDATE identified SET x = 'new' WHERE id = -3; DELETE FROM identified WHERE id = -4",
    );
    expect(await at.pipeline.differences("public.composite", "public.identified")).toEqual([]);
  });

  test("a table without identity: the application goes on, and it is named", async () => {
    await sql("CREATE TABLE keyless (id int, v text)", "INSERT INTO keyless VALUES (1, 'a'), (1, 'a')");
    await at.pipeline.untilCopied("public.keyless");
    await sql("INSERT INTO keyless VALUES (2, 'b')");
    expect(await at.pipeline.differences("public.keyless")).toEqual([]);
    await sql(
      "UPDATE keyless SET v = 'c'; DELETE FROM keyless WHERE id = 1; UPDATE keyless SET v = 'b'; INSERT INTO keyless VALUES (1, 'a'), (1, 'a')",
    );
    expect(warned("public.keyless")).toBe(true);
  });

  test("an identity index that is dropped: the application's UPDATE works again within seconds", async () => {
    await sql(
      "CREATE TABLE loses (id int NOT NULL, v text)",
      "CREATE UNIQUE INDEX loses_id ON loses (id)",
      "ALTER TABLE loses REPLICA IDENTITY USING INDEX loses_id",
      "INSERT INTO loses VALUES (1, 'a')",
    );
    await at.pipeline.untilCopied("public.loses");
    await sql("DROP INDEX loses_id");
    await at.pipeline.until("UPDATE works", () =>
      at.pipeline.sql("UPDATE loses SET v = 'b' RETURNING id").catch(() => null),
    );
    await sql(
      "CREATE UNIQUE INDEX loses_id ON loses (id)",
      "ALTER TABLE loses REPLICA IDENTITY USING INDEX loses_id",
    );
    expect(await at.pipeline.differences("public.loses")).toEqual([]);
    await sql("UPDATE loses SET v = 'c'");
    expect(await at.pipeline.differences("public.loses")).toEqual([]);
  });
});
