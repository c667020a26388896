import fc from "fast-check";
import type { ValueCase } from "./values-case.ts";
import { OTHER_VALUES } from "./values-other.ts";
import { SCALAR_VALUES } from "./values-scalar.ts";

/** Made once per database: types that are not built in. */
export const TYPES_SQL = `
  CREATE EXTENSION hstore; CREATE EXTENSION citext; CREATE EXTENSION ltree; CREATE EXTENSION cube; CREATE EXTENSION seg;
  CREATE EXTENSION isn; CREATE EXTENSION intarray;
  CREATE TYPE mood AS ENUM ('so, so', 'very "happy"', 'ünhappy', '', 'it''s');
  CREATE TYPE pair AS (a int, b text);
  CREATE TYPE nest AS (p pair, t text[], n numeric);
  CREATE TYPE textrange AS RANGE (subtype = text);
  CREATE DOMAIN short AS varchar(20) CHECK (value <> 'no');
  CREATE DOMAIN pairs AS pair[];
  CREATE DOMAIN amount AS numeric(12, 4)`;

const VALUES: readonly ValueCase[] = [...SCALAR_VALUES, ...OTHER_VALUES];

/** Types that a unique index takes and that always print alike for equal values. */
export const KEY_TYPES: readonly string[] = [
  "boolean",
  "smallint",
  "integer",
  "bigint",
  "oid",
  "numeric(10,2)",
  "real",
  "double precision",
  "money",
  "text",
  "varchar(30)",
  "char(5)",
  '"char"',
  "name",
  "short",
  "bytea",
  "date",
  "timestamp",
  "timestamptz",
  "time",
  "timetz",
  "interval",
  "uuid",
  "jsonb",
  "bit(8)",
  "varbit",
  "inet",
  "cidr",
  "macaddr",
  "tsvector",
  "pg_lsn",
  "mood",
  "pair",
  "int4range",
  "tstzrange",
  "int[]",
  "text[]",
  "hstore",
  "ltree",
  "citext",
  "numeric",
  "isbn",
  "xid8",
  "tid",
  "regtype",
];

/** Types with their values for this version, one entry a type. */
export function typesFor(
  version: number,
): { readonly type: string; readonly edges: readonly string[]; readonly any: fc.Arbitrary<string> }[] {
  const known = VALUES.filter(({ since = 0 }) => since <= version);
  return [...new Set(known.map(({ type }) => type))].map((type) => {
    const cases = known.filter((one) => one.type === type);
    return { type, edges: cases.flatMap(({ edges }) => edges), any: cases[0]?.any ?? fc.constant("") };
  });
}
