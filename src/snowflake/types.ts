import type { ShapeColumn } from "../core/document.ts";

/**
 * Postgres types as Snowflake types. Files land as text, so nothing is lost or refused; these are the casts of the
 * typed view, none of which can fail: a value without an equivalent becomes NULL there and stays readable in the
 * view of texts. Formats are always given, because AUTO depends on the parameters of account and session.
 */
export interface TypeMapping {
  /** The typed column's Snowflake type, as a table function and a table declare it. */
  readonly type: string;
  /** The typed value from the text in `column`, which is printed as it stands. */
  readonly cast: (column: string) => string;
  /** Why this type, and which values become NULL. */
  readonly reason: string;
}

/** The most that a text column of Snowflake holds: 128 MB. Without a length it would be 16 MB. */
export const LONGEST_VARCHAR = "VARCHAR(134217728)";
const LONGEST_BINARY = "BINARY(67108864)";

const LARGEST_PRECISION = 38;
const LARGEST_SCALE = 37;
/** Digits after the point for a numeric without a declared scale; 20 digits stay before it. */
const FREE_SCALE = 18;

const OID = {
  bool: 16,
  bytea: 17,
  int8: 20,
  int2: 21,
  int4: 23,
  oid: 26,
  json: 114,
  xml: 142,
  float4: 700,
  float8: 701,
  money: 790,
  bpchar: 1042,
  date: 1082,
  time: 1083,
  timestamp: 1114,
  timestamptz: 1184,
  interval: 1186,
  timetz: 1266,
  numeric: 1700,
  jsonb: 3802,
} as const;

/** First OID that is given to types made by users; below it OIDs are fixed (transam.h, FirstNormalObjectId). */
const FIRST_USER_OID = 16384;

function text(reason: string): TypeMapping {
  return { type: LONGEST_VARCHAR, cast: (column) => column, reason };
}

/** One of two formats, by whether the text has a fraction: Postgres leaves `.000000` out. */
function byFraction(call: string, format: string, zone: string): (column: string) => string {
  return (column) =>
    `IFF(CONTAINS(${column}, '.'), ${call}(${column}, '${format}.FF6${zone}'), ${call}(${column}, '${format}${zone}'))`;
}

const INTEGER: TypeMapping = {
  type: "NUMBER(38,0)",
  cast: (column) => `TRY_CAST(${column} AS NUMBER(38,0))`,
  reason: "every value fits",
};

const FLOAT: TypeMapping = {
  type: "FLOAT",
  cast: (column) =>
    `CASE ${column} WHEN 'NaN' THEN 'NaN'::FLOAT WHEN 'Infinity' THEN 'inf'::FLOAT ` +
    `WHEN '-Infinity' THEN '-inf'::FLOAT ELSE TRY_CAST(${column} AS FLOAT) END`,
  reason: "NaN and the infinities are values of FLOAT, too",
};

const JSON_VALUE: TypeMapping = {
  type: "VARIANT",
  cast: (column) => `TRY_PARSE_JSON(${column})`,
  reason:
    "NULL for what Snowflake's JSON cannot hold (json with duplicate keys); numbers of more than 38 digits become floats",
};

const VECTOR: TypeMapping = {
  type: "VARIANT",
  cast: (column) => `TRY_PARSE_JSON(${column})`,
  reason:
    "Snowpipe cannot load VECTOR; the text is a JSON array: cast it with ::VECTOR(FLOAT, n) where it is read",
};

const BUILT_IN = new Map<number, TypeMapping>([
  [OID.bool, { type: "BOOLEAN", cast: (column) => `TRY_TO_BOOLEAN(${column})`, reason: "t and f" }],
  [OID.int2, INTEGER],
  [OID.int4, INTEGER],
  [OID.int8, INTEGER],
  [OID.oid, INTEGER],
  [OID.float4, FLOAT],
  [OID.float8, FLOAT],
  [OID.money, text("text in the server's currency format (lc_monetary), so not a number by itself")],
  [OID.bpchar, text("padded with blanks to its length, as Postgres prints it")],
  [
    OID.bytea,
    {
      type: LONGEST_BINARY,
      cast: (column) => `TRY_TO_BINARY(SUBSTR(${column}, 3), 'HEX')`,
      reason: "Postgres's hex without its \\x",
    },
  ],
  [
    OID.date,
    {
      type: "DATE",
      cast: (column) => `TRY_TO_DATE(${column}, 'YYYY-MM-DD')`,
      reason: "NULL for infinity, BC and years after 9999",
    },
  ],
  [
    OID.time,
    {
      type: "TIME",
      cast: byFraction("TRY_TO_TIME", "HH24:MI:SS", ""),
      reason: "NULL for 24:00:00, which Snowflake's day does not have",
    },
  ],
  [OID.timetz, text("no type of Snowflake has a time and an offset without a date")],
  [
    OID.timestamp,
    {
      type: "TIMESTAMP_NTZ",
      cast: byFraction("TRY_TO_TIMESTAMP_NTZ", "YYYY-MM-DD HH24:MI:SS", ""),
      reason: "NULL for infinity, BC and years after 9999",
    },
  ],
  [
    OID.timestamptz,
    {
      type: "TIMESTAMP_TZ",
      cast: byFraction("TRY_TO_TIMESTAMP_TZ", "YYYY-MM-DD HH24:MI:SS", "TZH"),
      reason: "the same instant, in UTC; NULL for infinity, BC and years after 9999",
    },
  ],
  [OID.interval, text("months, days and seconds in one value; Snowflake's intervals hold one kind")],
  [OID.json, JSON_VALUE],
  [OID.jsonb, JSON_VALUE],
  [OID.xml, text("as it stands")],
]);

/** Built-in types that are text by nature, or have nothing closer, by the name that format_type() prints. */
const BY_NAME = new Map<string, TypeMapping>(
  Object.entries({
    citext: text("compares without case in Postgres, with case in Snowflake: use UPPER() or COLLATE"),
    hstore: text("Postgres's hstore text"),
    ltree: text("as it stands"),
    geometry: text("EWKB in hex: TRY_TO_GEOMETRY() reads it; Snowflake's has two dimensions only"),
    geography: text("EWKB in hex: TRY_TO_GEOGRAPHY() reads it; Snowflake's is SRID 4326 without altitude"),
    vector: VECTOR,
    halfvec: VECTOR,
    sparsevec: text("pgvector's sparse text, which Snowflake has no type for"),
    uuid: text("as it stands"),
    name: text("as it stands"),
    '"char"': text("one byte as Postgres prints it"),
    inet: text("Snowflake has no address types; PARSE_IP() reads it"),
    cidr: text("Snowflake has no address types; PARSE_IP() reads it"),
    macaddr: text("Snowflake has no address types"),
    macaddr8: text("Snowflake has no address types"),
    bit: text("a string of 0 and 1; Snowflake has no bit strings"),
    "bit varying": text("a string of 0 and 1; Snowflake has no bit strings"),
    tsvector: text("Postgres's own; Snowflake has no such type"),
    tsquery: text("Postgres's own; Snowflake has no such type"),
    pg_lsn: text("Postgres's own; Snowflake has no such type"),
    point: text("Postgres's plane geometry, as its text"),
    line: text("Postgres's plane geometry, as its text"),
    lseg: text("Postgres's plane geometry, as its text"),
    box: text("Postgres's plane geometry, as its text"),
    path: text("Postgres's plane geometry, as its text"),
    polygon: text("Postgres's plane geometry, as its text"),
    circle: text("Postgres's plane geometry, as its text"),
  }),
);

const ARRAY = text(
  "Postgres's array text: bounds, nesting and NULL elements have no equivalent that keeps all",
);
const RANGE = text("Postgres's range text: Snowflake has no ranges");
const TEXT = text("as it stands");
const USER_TYPE = text("a type of the database's own (enum, domain, composite, extension), as its text");

export function mapType(column: Pick<ShapeColumn, "type" | "typeOid" | "typeModifier">): TypeMapping {
  const { type, typeOid } = column;
  if (type.endsWith("[]")) return ARRAY;
  if (typeOid === OID.numeric) return mapNumeric(column.typeModifier);
  const builtIn = BUILT_IN.get(typeOid);
  if (builtIn) return builtIn;
  const name = bareName(type);
  if (name.endsWith("range")) return RANGE;
  return BY_NAME.get(name) ?? (typeOid < FIRST_USER_OID ? TEXT : USER_TYPE);
}

/** `public.geometry(Point,4326)` → `geometry`; `bit varying(8)` → `bit varying`. */
function bareName(type: string): string {
  const name = type.replace(/\(.*\)/, "").trim();
  return name.slice(name.lastIndexOf(".") + 1);
}

/**
 * A numeric's declared precision and scale (numeric.c, make_numeric_typmod: scale is 11 bits with a sign), or null
 * for a numeric without. From 15 on the scale may be negative, or larger than the precision.
 */
export function numericModifier(typeModifier: number): { precision: number; scale: number } | null {
  if (typeModifier < 4) return null;
  const packed = typeModifier - 4;
  return { precision: (packed >> 16) & 0xffff, scale: ((packed & 0x7ff) ^ 1024) - 1024 };
}

function mapNumeric(typeModifier: number): TypeMapping {
  const declared = numericModifier(typeModifier);
  if (!declared) return exactNumber(FREE_SCALE, "numeric without a declared scale");
  const scale = Math.max(declared.scale, 0);
  const precision = Math.max(declared.precision - Math.min(declared.scale, 0), scale);
  if (precision > LARGEST_PRECISION || scale > LARGEST_SCALE) {
    return exactNumber(Math.min(scale, LARGEST_SCALE), "more digits declared than NUMBER's 38");
  }
  const type = `NUMBER(${precision},${scale})`;
  return {
    type,
    cast: (column) => `TRY_CAST(${column} AS ${type})`,
    reason: "NULL for NaN, which NUMBER lacks",
  };
}

/**
 * A cast alone would round silently, so only texts whose digits all fit are cast. Zeros that end a fraction may
 * exceed the scale: they change nothing.
 */
function exactNumber(scale: number, why: string): TypeMapping {
  const whole = LARGEST_PRECISION - scale;
  const type = `NUMBER(${LARGEST_PRECISION},${scale})`;
  const fraction = scale === 0 ? "([.]0*)?" : `([.][0-9]{1,${scale}}0*)?`;
  const digits = `^-?[0-9]{1,${whole}}${fraction}$`;
  return {
    type,
    cast: (column) => `IFF(REGEXP_LIKE(${column}, '${digits}'), TRY_CAST(${column} AS ${type}), NULL)`,
    reason: `${why}: NULL for NaN, the infinities, and what needs more than ${whole} digits before or ${scale} after the point`,
  };
}

/**
 * Types of fixed length, by OID: their values are never stored out of line, so an update always sends them
 * (pg_type.typlen > 0). Anything else may be listed as unchanged.
 */
const FIXED_LENGTH = new Set<number>([
  16, 18, 19, 20, 21, 23, 24, 26, 27, 28, 29, 600, 601, 603, 628, 700, 701, 718, 774, 790, 829, 1033, 1082,
  1083, 1114, 1184, 1186, 1266, 2202, 2203, 2204, 2205, 2206, 2950, 3220, 3734, 3769, 4089, 4096, 4191, 5069,
]);

export function mayBeUnchanged(column: Pick<ShapeColumn, "typeOid">): boolean {
  return !FIXED_LENGTH.has(column.typeOid);
}
