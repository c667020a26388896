import type { Client } from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { connectSource, RAW_TYPES, startupOptions, type ConnectionKind } from "../../src/postgres/connect.ts";
import { POSTGRES_VERSIONS, startPostgres, type EmbeddedPostgres } from "../support/postgres.ts";

const KINDS: readonly ConnectionKind[] = ["sql", "copy", "replication"];

/** Whatever a role or a database could be given to make values look, and sessions behave, otherwise. */
const NASTY: Readonly<Record<string, string>> = {
  TimeZone: "'America/New_York'",
  DateStyle: "'German, DMY'",
  IntervalStyle: "iso_8601",
  extra_float_digits: "-5",
  bytea_output: "escape",
  client_encoding: "latin1",
  quote_all_identifiers: "on",
  search_path: "odd, public",
  default_transaction_isolation: "serializable",
  default_transaction_read_only: "on",
  default_transaction_deferrable: "on",
  statement_timeout: "1",
  lock_timeout: "1",
  idle_in_transaction_session_timeout: "1",
  row_security: "on",
};

const VALUES = {
  "timestamptz '2024-07-01 12:00:00.123456+00'": "2024-07-01 12:00:00.123456+00",
  "timestamp '2024-02-01 00:00:00'": "2024-02-01 00:00:00",
  "date '0044-03-15 BC'": "0044-03-15 BC",
  "tstzrange('2024-01-31', '2024-02-01', '[]')": '["2024-01-31 00:00:00+00","2024-02-01 00:00:00+00"]',
  "interval '1 year 2 days 03:04:05.6'": "1 year 2 days 03:04:05.6",
  "float8 '0.1' + float8 '0.2'": "0.30000000000000004",
  "float4 '0.1'": "0.1",
  "ARRAY[1e22::float8, 5e-324]": "{1e+22,5e-324}",
  "point(0.1, 1e-7)": "(0.1,1e-07)",
  "bytea '\\x00ff41'": "\\x00ff41",
  "'public.plain'::regclass": "public.plain",
  "'odd.weird'::regclass": "odd.weird",
  "'int4'::regtype": "integer",
  "'odd.mood'::regtype": "odd.mood",
  "'odd.f(int)'::regprocedure": "odd.f(integer)",
  "'pg_catalog.now'::regproc": "now",
  "'grüße €'": "grüße €",
  "format_type('odd.mood'::regtype, NULL)": "odd.mood",
};

const QUERY = `SELECT ARRAY[${Object.keys(VALUES)
  .map((sql) => `(${sql})::text`)
  .join(", ")}]::text AS all`;

async function prepared(version: (typeof POSTGRES_VERSIONS)[number]): Promise<EmbeddedPostgres> {
  const server = await startPostgres({ version });
  await server.sql(`CREATE SCHEMA odd; CREATE TABLE plain (id int); CREATE TABLE odd.weird (id int);
    CREATE TYPE odd.mood AS ENUM ('ok'); CREATE FUNCTION odd.f(int) RETURNS int LANGUAGE sql AS 'SELECT 1';
    CREATE ROLE plain LOGIN REPLICATION SUPERUSER; CREATE ROLE nasty LOGIN REPLICATION SUPERUSER`);
  const timeouts = [
    ...(version >= 14 ? ["idle_session_timeout"] : []),
    ...(version >= 17 ? ["transaction_timeout"] : []),
  ];
  for (const [name, value] of [...Object.entries(NASTY), ...timeouts.map((each) => [each, "'1h'"])]) {
    await server.sql(`ALTER ROLE nasty SET ${name} = ${value}`);
  }
  return server;
}

async function connected<T>(
  server: EmbeddedPostgres,
  about: { user: string; kind: ConnectionKind; serverVersion?: number },
  work: (client: Client) => Promise<T>,
): Promise<T> {
  const source = {
    host: "127.0.0.1",
    port: server.port,
    user: about.user,
    database: "postgres",
    auth: "password",
    tls: "disable",
    slot: "pgstage",
  } as const;
  const client = await connectSource(source, about.kind, { serverVersion: about.serverVersion });
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

const settingOf = async (client: Client, name: string): Promise<string> =>
  Object.values((await client.query<Record<string, string>>(`SHOW ${name}`)).rows[0] ?? {})[0] ?? "";

describe.each(POSTGRES_VERSIONS)("Postgres %i", (version) => {
  let server: EmbeddedPostgres;
  beforeAll(async () => {
    server = await prepared(version);
  });
  afterAll(() => server?.destroy());

  it("prints the same text on every kind of connection, whatever the role's settings", async () => {
    const expected = (await server.sql(`SELECT $1::text[]::text AS all`, [Object.values(VALUES)]))[0];
    for (const user of ["plain", "nasty"]) {
      for (const kind of KINDS) {
        const text = await connected(
          server,
          { user, kind },
          async (client) => (await client.query({ text: QUERY, types: RAW_TYPES })).rows[0],
        );
        expect(text, `${user}, ${kind}`).toEqual(expected);
      }
    }
  });

  it("gives 3 and 1 extra digits the same floats", async () => {
    const floats = `SELECT array_agg((sin(n) * 10 ^ (n % 60 - 30))::float8 ORDER BY n)::text AS doubles,
      array_agg((cos(n) * 10 ^ (n % 30 - 15))::float4 ORDER BY n)::text AS singles FROM generate_series(1, 20000) n`;
    const texts = await connected(server, { user: "plain", kind: "copy" }, async (client) => {
      expect(await settingOf(client, "extra_float_digits")).toBe("3");
      const three = (await client.query(floats)).rows[0];
      await client.query("SET extra_float_digits = 1");
      return { three, one: (await client.query(floats)).rows[0] };
    });
    expect(texts.three).toEqual(texts.one);
  });

  it("gets the timeouts of each kind, and none that it does not know", async () => {
    const expected = {
      sql: { statement_timeout: "1min", lock_timeout: "5s", idle_in_transaction_session_timeout: "1min" },
      copy: {
        statement_timeout: "0",
        lock_timeout: "5s",
        idle_in_transaction_session_timeout: "0",
        row_security: "off",
      },
      replication: {
        statement_timeout: "0",
        lock_timeout: "0",
        idle_in_transaction_session_timeout: "0",
        wal_sender_timeout: "15s",
      },
    };
    for (const kind of KINDS) {
      await connected(server, { user: "nasty", kind, serverVersion: version }, async (client) => {
        const known = {
          ...expected[kind],
          default_transaction_isolation: "read committed",
          default_transaction_read_only: "off",
          ...(version >= 14 ? { idle_session_timeout: "0" } : {}),
          ...(version >= 17 ? { transaction_timeout: "0" } : {}),
        };
        for (const [name, value] of Object.entries(known)) {
          expect(await settingOf(client, name), `${kind} ${name}`).toBe(value);
        }
      });
    }
  });

  it("the stream prints what a copy prints", async () => {
    const server = await prepared(17);
    await server.sql(
      `CREATE TABLE sample (at timestamptz, took interval, value float8, raw bytea, rel regclass, cost money)`,
    );
    const slot = { user: "nasty", kind: "replication" } as const;
    const streamed = await connected(server, slot, async (client) => {
      await client.query("CREATE_REPLICATION_SLOT text_test TEMPORARY LOGICAL test_decoding");
      await server.sql(
        `INSERT INTO sample VALUES ('2024-07-01 12:00+00', '26 hours', 0.1::float8 + 0.2::float8, '\\x00ff', 'odd.weird', 12.5)`,
      );
      return firstInsert(client);
    });
    const copied = await connected(
      server,
      { user: "nasty", kind: "copy" },
      async (client) =>
        (await client.query({ text: "SELECT sample::text AS row FROM public.sample", types: RAW_TYPES }))
          .rows[0],
    );
    expect(streamed).toBe(
      "table public.sample: INSERT: at[timestamp with time zone]:'2024-07-01 12:00:00+00' took[interval]:'26:00:00' " +
        "value[double precision]:0.30000000000000004 raw[bytea]:'\\x00ff' rel[regclass]:'odd.weird' cost[money]:'$12.50'",
    );
    expect(copied).toEqual({
      row: '("2024-07-01 12:00:00+00",26:00:00,0.30000000000000004,"\\\\x00ff",odd.weird,$12.50)',
    });
  });
});

/** Reads the stream of the slot text_test up to its first row. */
function firstInsert(client: Client): Promise<string> {
  return new Promise((resolve, reject) => {
    const reader = {
      submit: (connection: { query(text: string): void }) =>
        connection.query("START_REPLICATION SLOT text_test LOGICAL 0/0"),
      handleCopyData({ chunk }: { chunk: Buffer }) {
        // XLogData: a letter and three 64-bit numbers, then the plugin's text.
        const text = chunk.subarray(25).toString();
        if (chunk[0] === 0x77 && text.startsWith("table ")) resolve(text);
      },
      handleError: reject,
      handleReadyForQuery: () => undefined,
      handleCommandComplete: () => undefined,
    };
    client.query(reader as never);
  });
}

it("keeps blanks and backslashes of a value together", () => {
  expect(startupOptions("sql")).toContain(String.raw`-c default_transaction_isolation=read\ committed -c`);
});
