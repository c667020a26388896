import fc from "fast-check";

/** A type as tables of tests have it, with values in the text that its input function takes. */
export interface ValueCase {
  readonly type: string;
  /** Edge values. */
  readonly edges: readonly string[];
  /** Major version that has them. */
  readonly since?: number;
  /** Any value. */
  readonly any: fc.Arbitrary<string>;
}

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

/** What breaks naive CSV: quotes, commas, line ends, markers of NULL and of the end, blanks, backslashes. */
const NASTY = [
  "", " ", "\\", "\\.", "\\N", "\\n", "a\\", "NULL", "null", "(null)", '"', '""', '","', "'", ",", "\n", "\r", "\r\n",
  "\t", "a\nb", 'a"b', " a", "a ", "#", "\\.\n", "\n\\.\n", "é", "🙂", "\u{feff}", "\u{1}\u{7f}", "a,b\r\n\"c\"", "{}", "=1+1",
] as const;

const nasty = fc.constantFrom(...NASTY);
const word = fc.oneof(nasty, fc.string({ unit: "grapheme", maxLength: 20 }), fc.string({ unit: "binary", maxLength: 20 }));
/** Postgres takes no NUL and, as UTF-8, no half of a surrogate pair. */
const text = fc.array(word, { maxLength: 4 }).map((words) => words.join("").replaceAll("\0", "").toWellFormed());
const digits = (max: number): fc.Arbitrary<string> => fc.string({ unit: fc.constantFrom(..."0123456789"), minLength: 1, maxLength: max });
const sign = fc.constantFrom("", "-");
const integer = (bits: bigint): fc.Arbitrary<string> => fc.bigInt({ min: -(1n << (bits - 1n)), max: (1n << (bits - 1n)) - 1n }).map(String);
const numeric = fc.tuple(sign, digits(60), digits(60)).map(([s, whole, rest]) => `${s}${whole}.${rest}`);
const float = fc.double().map((value) => (Object.is(value, -0) ? "-0" : String(value)));
const real = fc.float().map((value) => (Object.is(value, -0) ? "-0" : String(value)));
const two = (max: number, min = 0): fc.Arbitrary<string> => fc.integer({ min, max }).map((n) => String(n).padStart(2, "0"));
const year = fc.oneof(fc.integer({ min: 1, max: 9999 }), fc.integer({ min: 10_000, max: 290_000 })).map((n) => String(n).padStart(4, "0"));
const bc = fc.constantFrom("", "", "", " BC");
/** Before Christ there are fewer years. */
const era = fc.tuple(year, bc).map(([y, e]) => [e === "" ? y : String(1 + (Number(y) % 4700)).padStart(4, "0"), e] as const);
const date = fc.tuple(era, two(12, 1), two(28, 1)).map(([[y, e], m, d]) => `${y}-${m}-${d}${e}`);
const clock = fc.tuple(two(23), two(59), two(59), digits(6)).map(([h, m, s, f]) => `${h}:${m}:${s}.${f}`);
const zone = fc.constantFrom("+00", "-11:30", "+14", "+05:45", "-15:59:59");
const stamp = fc.tuple(era, two(12, 1), two(28, 1), clock).map(([[y, e], m, d, c]) => `${y}-${m}-${d} ${c}${e}`);
const stampZone = fc.tuple(era, two(12, 1), two(28, 1), clock, zone).map(([[y, e], m, d, c, z]) => `${y}-${m}-${d} ${c}${z}${e}`);
const interval = fc
  .record({ y: fc.integer({ min: -178_000, max: 178_000 }), d: fc.integer({ min: -99_999, max: 99_999 }), t: clock, s: sign })
  .map(({ y, d, t, s }) => `${y} months ${d} days ${s}${t}`);
const bytea = fc.uint8Array({ maxLength: 64 }).map((bytes) => `\\x${Buffer.from(bytes).toString("hex")}`);
const json = fc.json({ depthSize: "small" }).map((value) => value.replaceAll("\\u0000", "").replaceAll(/\\u[dD][89a-fA-F][0-9a-fA-F]{2}/g, ""));
const point = fc.tuple(real, real).map(([x, y]) => `(${finite(x)},${finite(y)})`);
const address = fc.tuple(fc.ipV4(), fc.integer({ min: 0, max: 32 }));
const mac = fc.uint8Array({ minLength: 8, maxLength: 8 }).map((bytes) => [...bytes].map((byte) => byte.toString(16).padStart(2, "0")));
const bits = (max: number): fc.Arbitrary<string> => fc.string({ unit: fc.constantFrom("0", "1"), maxLength: max });
const uint32 = fc.integer({ min: 0, max: 4_294_967_295 });
const label = fc.string({ unit: fc.constantFrom(..."abcXYZ012_"), minLength: 1, maxLength: 8 });

function finite(value: string): string {
  return /NaN|Infinity/.test(value) ? "0" : value;
}

function quoted(value: string): string {
  return `"${value.replaceAll("\\", "\\\\").replaceAll('"', '\\"')}"`;
}

/** An array's literal; null is NULL. */
function arrayOf(element: fc.Arbitrary<string>): fc.Arbitrary<string> {
  return fc.array(fc.option(element), { maxLength: 5 }).map((items) => `{${items.map((item) => (item === null ? "NULL" : quoted(item))).join()}}`);
}

function ordered<T>(element: fc.Arbitrary<T>, compare: (a: T, b: T) => number): fc.Arbitrary<[T, T]> {
  return fc.tuple(element, element).map(([a, b]) => (compare(a, b) <= 0 ? [a, b] : [b, a]));
}

function rangeOf<T>(element: fc.Arbitrary<T>, compare: (a: T, b: T) => number, print: (value: T) => string): fc.Arbitrary<string> {
  const bounded = fc
    .tuple(ordered(element, compare), fc.constantFrom("[", "("), fc.constantFrom("]", ")"))
    .map(([[a, b], from, to]) => `${from}${quoted(print(a))},${quoted(print(b))}${to}`);
  return fc.oneof(bounded, fc.constantFrom("empty", "(,)"), element.map((a) => `[${quoted(print(a))},)`));
}

const byNumber = (a: number, b: number): number => a - b;
const smallInt = fc.integer({ min: -1_000_000, max: 1_000_000 });
const intRange = rangeOf(smallInt, byNumber, String);
const dayRange = rangeOf(fc.integer({ min: 0, max: 900_000 }), byNumber, (days) => new Date(days * 86_400_000).toISOString().slice(0, 10));
const stampRange = rangeOf(fc.integer({ min: 0, max: 4_000_000_000 }), byNumber, (at) => new Date(at * 1000).toISOString());
const composite = fc.tuple(smallInt, fc.option(text)).map(([a, b]) => `(${a},${b === null ? "" : quoted(b)})`);

export const VALUES: readonly ValueCase[] = [
  { type: "boolean", edges: ["t", "f"], any: fc.constantFrom("t", "f") },
  { type: "smallint", edges: ["-32768", "32767", "0"], any: integer(16n) },
  { type: "integer", edges: ["-2147483648", "2147483647"], any: integer(32n) },
  { type: "bigint", edges: ["-9223372036854775808", "9223372036854775807"], any: integer(64n) },
  { type: "oid", edges: ["0", "4294967295"], any: uint32.map(String) },
  { type: "xid", edges: ["0", "4294967295"], any: uint32.map(String) },
  { type: "xid8", edges: ["0", "18446744073709551615"], any: uint32.map(String) },
  { type: "cid", edges: ["4294967295"], any: uint32.map(String) },
  { type: "tid", edges: ["(0,0)", "(4294967295,65535)"], any: fc.tuple(uint32, fc.nat(65_535)).map((pair) => `(${pair.join()})`) },
  { type: "numeric", edges: ["NaN", "0", "-0.000", `${"9".repeat(5000)}.${"1".repeat(5000)}`, "1e-1000", "1E+1000"], any: numeric },
  { type: "numeric", since: 14, edges: ["Infinity", "-Infinity"], any: numeric },
  { type: "numeric(10,2)", edges: ["-99999999.99", "0.005", "NaN"], any: fc.tuple(sign, digits(8), digits(4)).map(([s, a, b]) => `${s}${a === "99999999" ? "1" : a}.${b}`) },
  { type: "numeric(5,-2)", since: 15, edges: ["1234567"], any: digits(6) },
  { type: "amount", edges: ["1.00005"], any: fc.tuple(sign, digits(7), digits(6)).map(([s, a, b]) => `${s}${a}.${b}`) },
  { type: "real", edges: ["NaN", "Infinity", "-Infinity", "-0", "1e-45", "3.4028235e38", "0.1"], any: real },
  { type: "double precision", edges: ["NaN", "Infinity", "-Infinity", "-0", "5e-324", "1.7976931348623157e308", "0.1", "1e21"], any: float },
  { type: "money", edges: ["-92233720368547758.08", "1,234.5"], any: fc.tuple(sign, digits(9), two(99)).map(([s, a, b]) => `${s}${a}.${b}`) },
  { type: "text", edges: [...NASTY, "x".repeat(100_000)], any: text },
  { type: "varchar", edges: [...NASTY], any: text },
  { type: "varchar(30)", edges: ["", "\\.", "äöü".repeat(10)], any: text.map((value) => [...value].slice(0, 30).join("")) },
  { type: "char(5)", edges: ["", "a", "\\.", " b ", "äöü"], any: text.map((value) => [...value].slice(0, 5).join("")) },
  { type: '"char"', edges: ["", "a", "\"", ",", "\n", "\\"], any: fc.constantFrom(...'ab",\\ \n') },
  { type: "name", edges: ["", "a,b", "x".repeat(63)], any: text.map((value) => [...value].slice(0, 15).join("")) },
  { type: "citext", edges: ["", "ABC", '"A"'], any: text },
  { type: "short", edges: ["", "yes"], any: text.map((value) => [...value].slice(0, 20).join("")).filter((value) => value !== "no") },
  { type: "bytea", edges: ["\\x", `\\x${Buffer.from(Array.from({ length: 256 }, (_, i) => i)).toString("hex")}`, "\\x00"], any: bytea },
  { type: "date", edges: ["infinity", "-infinity", "4713-11-24 BC", "5874897-12-31", "0001-01-01", "2024-02-29"], any: date },
  { type: "timestamp", edges: ["infinity", "-infinity", "4713-11-24 00:00:00 BC", "294276-12-31 23:59:59.999999", "2024-01-01 00:00:00"], any: stamp },
  { type: "timestamp(0)", edges: ["2024-01-01 23:59:59.5"], any: stamp },
  { type: "timestamptz", edges: ["infinity", "-infinity", "4713-11-24 00:00:00+00 BC", "294276-12-31 23:59:59.999999+00", "1900-01-01 00:00:00+00:19:32"], any: stampZone },
  { type: "time", edges: ["00:00:00", "24:00:00", "23:59:60"], any: clock },
  { type: "timetz", edges: ["24:00:00+15:59:59", "00:00:00-15:59"], any: fc.tuple(clock, zone).map((parts) => parts.join("")) },
  { type: "interval", edges: ["-178000000 years", "178000000 years", "1 mon -1 day +00:00:00.000001", "0", "P1Y2M3DT4H5M6.7S"], any: interval },
  { type: "interval", since: 17, edges: ["infinity", "-infinity"], any: interval },
  { type: "uuid", edges: ["00000000-0000-0000-0000-000000000000", "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11"], any: fc.uuid() },
  { type: "json", edges: ['{"a": 1, "a": 2}', "null", '"\\u0041\\n"', "  [1 ,2]", "1e1000", '"a\\\\"'], any: json },
  { type: "jsonb", edges: ['{"a": 1, "a": 2}', "null", '"\\u0041\\n"', `1${"0".repeat(300)}.5`, '{"":""}'], any: json },
  { type: "jsonpath", edges: ['$.a[*] ? (@ > 1)', 'strict $."a b"'], any: label.map((name) => `$."${name}"`) },
  { type: "xml", edges: ["<a>\n<b c=\"d,e\"/></a>", "text", "<!-- \\. -->"], any: label.map((name) => `<a b="${name}">${name}</a>`) },
  { type: "bit(8)", edges: ["00000000", "11111111"], any: fc.integer({ min: 0, max: 255 }).map((n) => n.toString(2).padStart(8, "0")) },
  { type: "varbit", edges: ["", "1", "0".repeat(1000)], any: bits(70) },
  { type: "inet", edges: ["0.0.0.0/0", "::", "::1/128", "::ffff:1.2.3.4", "10.1.2.3/8"], any: address.map(([ip, n]) => `${ip}/${n}`) },
  { type: "cidr", edges: ["0.0.0.0/0", "::/0", "10.0.0.0/8", "2001:db8::/32"], any: fc.ipV4().map((ip) => `${ip}/32`) },
  { type: "macaddr", edges: ["08:00:2b:01:02:03"], any: mac.map((bytes) => bytes.slice(2).join(":")) },
  { type: "macaddr8", edges: ["08:00:2b:ff:fe:01:02:03"], any: mac.map((bytes) => bytes.join(":")) },
  { type: "point", edges: ["(1e-300,-0)", "(NaN,Infinity)"], any: point },
  { type: "line", edges: ["{1,-1,0}"], any: fc.tuple(smallInt, smallInt).map(([a, b]) => `{${a},1,${b}}`) },
  { type: "lseg", edges: ["[(0,0),(1,1)]"], any: fc.tuple(point, point).map(([a, b]) => `[${a},${b}]`) },
  { type: "box", edges: ["(1,1),(0,0)"], any: fc.tuple(point, point).map(([a, b]) => `${a},${b}`) },
  { type: "path", edges: ["[(0,0),(1,1)]", "((0,0),(1,1))"], any: fc.array(point, { minLength: 1, maxLength: 4 }).map((points) => `(${points.join()})`) },
  { type: "polygon", edges: ["((0,0),(1,1),(1,0))"], any: fc.array(point, { minLength: 1, maxLength: 4 }).map((points) => `(${points.join()})`) },
  { type: "circle", edges: ["<(0,0),0>", "<(1.5,-2),1e10>"], any: fc.tuple(point, fc.nat(1000)).map(([at, r]) => `<${at},${r}>`) },
  { type: "tsvector", edges: ["", "'a,b':1A,2 'it''s' '\"q\"':3"], any: fc.array(label, { maxLength: 4 }).map((words) => words.join(" ")) },
  { type: "tsquery", edges: ["'fat' & !'rat' | 'a b'", "'x':*AB"], any: fc.array(label, { minLength: 1, maxLength: 3 }).map((words) => words.join(" & ")) },
  { type: "pg_lsn", edges: ["0/0", "FFFFFFFF/FFFFFFFF"], any: fc.tuple(uint32, uint32).map((halves) => halves.map((half) => half.toString(16)).join("/")) },
  { type: "txid_snapshot", edges: ["10:20:10,14,15"], any: fc.nat(1000).map((n) => `1:${n + 2}:`) },
  { type: "pg_snapshot", edges: ["10:20:10,14,15"], any: fc.nat(1000).map((n) => `1:${n + 2}:`) },
  { type: "regtype", edges: ["integer", "timestamptz", "public.mood"], any: fc.constantFrom("integer", "text[]", "public.pair") },
  { type: "regclass", edges: ["pg_class", "1234567890"], any: fc.constantFrom("pg_class", "pg_attribute") },
  { type: "aclitem", edges: ["=r/postgres"], any: fc.constantFrom("=r/postgres", "postgres=arwd/postgres") },
  { type: "mood", edges: ["so, so", 'very "happy"', "ünhappy", "", "it's"], any: fc.constantFrom("so, so", 'very "happy"', "ünhappy", "", "it's") },
  { type: "pair", edges: ["(,)", '(1,"")', '(-1,"a,b")', '(2,"\\"\\\\")', '(3,"x\ny")'], any: composite },
  { type: "nest", edges: ['("(1,\\"a,b\\")","{a,NULL,\\"\\"}",1.50)', "(,,)"], any: composite.map((value) => `(${quoted(value)},"{a}",1)`) },
  { type: "int4range", edges: ["empty", "(,)", "[1,10)", "[1,)"], any: intRange },
  { type: "int8range", edges: ["[-9223372036854775808,9223372036854775807)"], any: intRange },
  { type: "numrange", edges: ["(1.50,2.5]", "[NaN,]"], any: intRange },
  { type: "daterange", edges: ["[2024-01-01,infinity]", "[-infinity,)"], any: dayRange },
  { type: "tsrange", edges: ['["2024-01-01 00:00:00",infinity)'], any: stampRange },
  { type: "tstzrange", edges: ['["2024-01-01 00:00:00+02",infinity)'], any: stampRange },
  { type: "textrange", edges: ['["a,b","c""d"]', '("",)', "[\\\\,a]"], any: rangeOf(label, (a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)), String) },
  { type: "int4multirange", since: 14, edges: ["{}", "{[1,2),[4,)}"], any: intRange.map((range) => `{${range}}`) },
  { type: "datemultirange", since: 14, edges: ["{[2024-01-01,2024-02-01),(2025-01-01,)}"], any: dayRange.map((range) => `{${range}}`) },
  { type: "int[]", edges: ["{}", "[0:1]={1,NULL}", "{{1,2},{3,4}}", "[-5:-4][2:3]={{1,2},{3,4}}"], any: arrayOf(integer(32n)) },
  { type: "text[]", edges: ["{}", '{"","NULL",NULL,"a,b","\\"","\\\\"," x"}', '{{"\n"},{"\\\\."}}'], any: arrayOf(text) },
  { type: "bytea[]", edges: ['{"\\\\x00ff",NULL}'], any: arrayOf(bytea) },
  { type: "timestamptz[]", edges: ["{infinity,2024-01-01 00:00:00+05}"], any: arrayOf(stampZone) },
  { type: "numeric(10,2)[]", edges: ["{1.005,NaN}"], any: arrayOf(digits(7)) },
  { type: "mood[]", edges: ['{"so, so",""}'], any: arrayOf(fc.constantFrom("so, so", "", "it's")) },
  { type: "jsonb[]", edges: ['{"{\\"a\\": [1]}",null}'], any: arrayOf(json) },
  { type: "pair[]", edges: ['{"(1,\\"a,b\\")",NULL}'], any: arrayOf(composite) },
  { type: "pairs", edges: ['{"(1,\\"\\")"}'], any: arrayOf(composite) },
  { type: "box[]", edges: ["{(1,1),(0,0);(2,2),(1,1)}"], any: fc.constant("{(1,1),(0,0);(2,2),(1,1)}") },
  { type: "hstore", edges: ["", '"a"=>NULL, "b"=>""', '"q\\"x"=>"a,b"'], any: fc.tuple(label, text).map(([k, v]) => `${quoted(k)}=>${quoted(v)}`) },
  { type: "ltree", edges: ["", "Top.Science", "a_b.c"], any: fc.array(label, { maxLength: 4 }).map((labels) => labels.join(".")) },
  { type: "lquery", edges: ["*.a*@|b{1,2}.!c"], any: label.map((name) => `*.${name}`) },
  { type: "cube", edges: ["(1,2),(3,4)"], any: smallInt.map((n) => `(${n})`) },
  { type: "seg", edges: ["1.5 .. 2.50", "<7", "6.25"], any: smallInt.map((n) => `${n}`) },
  { type: "isbn", edges: ["0-393-04002-X"], any: fc.constant("0-393-04002-X") },
];

/** Types that a unique index takes and that always print alike for equal values. */
export const KEY_TYPES: readonly string[] = [
  "boolean", "smallint", "integer", "bigint", "oid", "numeric(10,2)", "real", "double precision", "money", "text", "varchar(30)", "char(5)", '"char"', "name",
  "short", "bytea", "date", "timestamp", "timestamptz", "time", "timetz", "interval", "uuid", "jsonb", "bit(8)", "varbit", "inet", "cidr", "macaddr",
  "tsvector", "pg_lsn", "mood", "pair", "int4range", "tstzrange", "int[]", "text[]", "hstore", "ltree", "citext", "numeric", "isbn", "xid8", "tid", "regtype",
];

/** Types with their values for this version, one entry a type. */
export function typesFor(version: number): { readonly type: string; readonly edges: readonly string[]; readonly any: fc.Arbitrary<string> }[] {
  const known = VALUES.filter(({ since = 0 }) => since <= version);
  return [...new Set(known.map(({ type }) => type))].map((type) => {
    const cases = known.filter((one) => one.type === type);
    return { type, edges: cases.flatMap(({ edges }) => edges), any: cases[0]?.any ?? fc.constant("") };
  });
}
