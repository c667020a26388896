/** `same`: the typed value is the text. Otherwise the typed value as DuckDB prints it; null: has no equivalent. */
export const same = Symbol("same");
type Expected = string | null | typeof same;

export interface Case {
  readonly type: string;
  readonly snowflake: string;
  readonly values: readonly (readonly [written: string, expected: Expected])[];
}

const TEXT = "VARCHAR(134217728)";

function texts(type: string, ...values: string[]): Case {
  return { type, snowflake: TEXT, values: values.map((value) => [value, same] as const) };
}

const THOUSANDS_OF_DIGITS = `${"9".repeat(4000)}.${"1".repeat(4000)}`;

export const CASES: readonly Case[] = [
  {
    type: "boolean",
    snowflake: "BOOLEAN",
    values: [
      ["t", "true"],
      ["f", "false"],
    ],
  },
  {
    type: "smallint",
    snowflake: "NUMBER(38,0)",
    values: [
      ["-32768", same],
      ["32767", same],
    ],
  },
  { type: "integer", snowflake: "NUMBER(38,0)", values: [["-2147483648", same]] },
  {
    type: "bigint",
    snowflake: "NUMBER(38,0)",
    values: [
      ["-9223372036854775808", same],
      ["9223372036854775807", same],
    ],
  },
  { type: "oid", snowflake: "NUMBER(38,0)", values: [["4294967295", same]] },
  {
    type: "numeric(10,2)",
    snowflake: "NUMBER(10,2)",
    values: [
      ["-12345678.90", same],
      ["NaN", null],
    ],
  },
  { type: "numeric(3,5)", snowflake: "NUMBER(5,5)", values: [["0.00123", ".00123"]] },
  {
    type: "numeric(5,-2)",
    snowflake: "NUMBER(7,0)",
    values: [
      ["9999900", same],
      ["1234567", "1234600"],
    ],
  },
  { type: "numeric(38,0)", snowflake: "NUMBER(38,0)", values: [["9".repeat(38), same]] },
  {
    type: "numeric(50,2)",
    snowflake: "NUMBER(38,2)",
    values: [
      ["1.50", same],
      [`1${"0".repeat(36)}.00`, null],
      [`${"9".repeat(36)}.99`, same],
    ],
  },
  { type: "numeric(40,40)", snowflake: "NUMBER(38,37)", values: [[`0.${"1".repeat(40)}`, null]] },
  {
    type: "numeric",
    snowflake: "NUMBER(38,18)",
    values: [
      ["1.5", "1.500000000000000000"],
      ["-0.50000000000000000000000", "-0.500000000000000000"],
      ["12345678901234567890.123456789012345678", same],
      ["123456789012345678901", null],
      ["0.1234567890123456789", null],
      ["NaN", null],
      ["Infinity", null],
      [THOUSANDS_OF_DIGITS, null],
    ],
  },
  {
    type: "double precision",
    snowflake: "FLOAT",
    values: [
      ["NaN", "nan"],
      ["Infinity", "inf"],
      ["-Infinity", "-inf"],
      ["1e-300", "1e-300"],
      ["0.1", "0.1"],
    ],
  },
  {
    type: "real",
    snowflake: "FLOAT",
    values: [
      ["1.5", "1.5"],
      ["-Infinity", "-inf"],
    ],
  },
  texts("money", "12.34"),
  texts("text", "", "NULL", "\\N", "\\.", "ends with \\", "a,\"b\"\r\n'c'", "☃", "x".repeat(20_000_000)),
  texts("character varying(9)", "123456789"),
  texts("character(5)", "a b"),
  texts("name", "n"),
  texts('"char"', "c"),
  {
    type: "bytea",
    snowflake: "BINARY(67108864)",
    values: [
      ["\\x", ""],
      ["\\x00ff0a22", "\\x00\\xFF\\x0A\\x22"],
    ],
  },
  {
    type: "date",
    snowflake: "DATE",
    values: [
      ["2024-02-29", same],
      ["0001-01-01", same],
      ["infinity", null],
      ["-infinity", null],
      ["0044-03-15 BC", null],
      ["12345-01-01", null],
    ],
  },
  {
    type: "time without time zone",
    snowflake: "TIME",
    values: [
      ["12:00:00", same],
      ["23:59:59.999999", same],
      ["24:00:00", null],
    ],
  },
  texts("time with time zone", "12:00:00+05:30", "24:00:00+00"),
  {
    type: "timestamp without time zone",
    snowflake: "TIMESTAMP_NTZ",
    values: [
      ["2024-01-01 00:00:00", same],
      ["2024-01-01 10:34:56.123456", same],
      ["infinity", null],
      ["294276-12-31 23:59:59.999999", null],
      ["0044-03-15 00:00:00 BC", null],
    ],
  },
  {
    type: "timestamp with time zone",
    snowflake: "TIMESTAMP_TZ",
    values: [
      ["2024-01-01 00:00:00+00", same],
      ["2024-01-01 10:34:56.12+00", same],
      ["-infinity", null],
      ["294276-12-31 23:59:59+00", null],
    ],
  },
  texts("interval", "1 year 2 mons 3 days 04:05:06.789", "-00:00:01"),
  {
    type: "json",
    snowflake: "VARIANT",
    values: [
      ['{"a": 1, "a": 2}', null],
      ['{"b":[1,null]}', same],
      ['"text"', same],
      ["null", same],
    ],
  },
  {
    type: "jsonb",
    snowflake: "VARIANT",
    values: [
      ['{"a": "x"}', '{"a": "x"}'],
      ["[]", same],
    ],
  },
  texts("uuid", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
  texts("inet", "192.168.0.1", "::1"),
  texts("cidr", "10.0.0.0/8"),
  texts("macaddr", "08:00:2b:01:02:03"),
  texts("macaddr8", "08:00:2b:01:02:03:04:05"),
  texts("bit(4)", "1010"),
  texts("bit varying(9)", "101"),
  texts("integer[]", "{1,2,NULL}", "[0:1]={1,2}", "{{1},{2}}"),
  texts("text[]", '{"a b",NULL,"NULL","\\"q\\""}', "{}"),
  texts("numeric(10,2)[]", "{1.00}"),
  texts("int4range", "[1,6)", "empty"),
  texts("tstzrange", '["2024-01-01 00:00:00+00",)'),
  texts("int4multirange", "{[1,3),[5,8)}"),
  texts("public.pair", '(1,"a b")', "(,)"),
  texts("public.mood", "happy"),
  texts("public.positive", "7"),
  texts("tsvector", "'cat' 'fat'"),
  texts("tsquery", "'fat' & 'cat'"),
  texts("pg_lsn", "16/B374D848"),
  texts("point", "(1,2)"),
  texts("line", "{1,-1,0}"),
  texts("lseg", "[(0,0),(1,1)]"),
  texts("box", "(1,1),(0,0)"),
  texts("path", "((0,0),(1,1))"),
  texts("polygon", "((0,0),(1,1),(1,0))"),
  texts("circle", "<(0,0),1>"),
  texts("xid8", "18446744073709551615"),
  texts("jsonpath", '$."a"'),
];

/** Types that a server may have been built without. */
export const OPTIONAL: readonly (Case & { readonly extension?: string })[] = [
  { ...texts("xml", "<a>b</a>") },
  { ...texts("public.hstore", '"a"=>"1", "b"=>NULL'), extension: "hstore" },
  { ...texts("public.citext", "MiXed"), extension: "citext" },
  { ...texts("public.ltree", "a.b.c"), extension: "ltree" },
];
