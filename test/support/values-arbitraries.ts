import fc from "fast-check";

/** What breaks naive CSV: quotes, commas, line ends, markers of NULL and of the end, blanks, backslashes. */
export const NASTY = [
  "",
  " ",
  "\\",
  "\\.",
  "\\N",
  "\\n",
  "a\\",
  "NULL",
  "null",
  "(null)",
  '"',
  '""',
  '","',
  "'",
  ",",
  "\n",
  "\r",
  "\r\n",
  "\t",
  "a\nb",
  'a"b',
  " a",
  "a ",
  "#",
  "\\.\n",
  "\n\\.\n",
  "é",
  "🙂",
  "\u{feff}",
  "\u{1}\u{7f}",
  'a,b\r\n"c"',
  "{}",
  "=1+1",
] as const;

const nasty = fc.constantFrom(...NASTY);
const word = fc.oneof(
  nasty,
  fc.string({ unit: "grapheme", maxLength: 20 }),
  fc.string({ unit: "binary", maxLength: 20 }),
);
/** Postgres takes no NUL and, as UTF-8, no half of a surrogate pair. */
export const text = fc.array(word, { maxLength: 4 }).map((words) => words.join("").replaceAll("\0", ""));
export const digits = (max: number): fc.Arbitrary<string> =>
  fc.string({ unit: fc.constantFrom(...Array.from("0123456789")), minLength: 1, maxLength: max });
export const sign = fc.constantFrom("", "-");
export const integer = (bits: bigint): fc.Arbitrary<string> =>
  fc.bigInt({ min: -(1n << (bits - 1n)), max: (1n << (bits - 1n)) - 1n }).map(String);
export const numeric = fc
  .tuple(sign, digits(60), digits(60))
  .map(([s, whole, rest]) => `${s}${whole}.${rest}`);
export const float = fc.double().map((value) => (Object.is(value, -0) ? "-0" : String(value)));
export const real = fc.float().map((value) => (Object.is(value, -0) ? "-0" : String(value)));
export const two = (max: number, min = 0): fc.Arbitrary<string> =>
  fc.integer({ min, max }).map((n) => String(n).padStart(2, "0"));
const year = fc
  .oneof(fc.integer({ min: 1, max: 9999 }), fc.integer({ min: 10_000, max: 290_000 }))
  .map((n) => String(n).padStart(4, "0"));
const bc = fc.constantFrom("", "", "", " BC");
/** Before Christ there are fewer years. */
const era = fc
  .tuple(year, bc)
  .map(([y, e]) => [e === "" ? y : String(1 + (Number(y) % 4700)).padStart(4, "0"), e] as const);
export const date = fc.tuple(era, two(12, 1), two(28, 1)).map(([[y, e], m, d]) => `${y}-${m}-${d}${e}`);
export const clock = fc
  .tuple(two(23), two(59), two(59), digits(6))
  .map(([h, m, s, f]) => `${h}:${m}:${s}.${f}`);
export const zone = fc.constantFrom("+00", "-11:30", "+14", "+05:45", "-15:59:59");
export const stamp = fc
  .tuple(era, two(12, 1), two(28, 1), clock)
  .map(([[y, e], m, d, c]) => `${y}-${m}-${d} ${c}${e}`);
export const stampZone = fc
  .tuple(era, two(12, 1), two(28, 1), clock, zone)
  .map(([[y, e], m, d, c, z]) => `${y}-${m}-${d} ${c}${z}${e}`);
export const interval = fc
  .record({
    y: fc.integer({ min: -178_000, max: 178_000 }),
    d: fc.integer({ min: -99_999, max: 99_999 }),
    t: clock,
    s: sign,
  })
  .map(({ y, d, t, s }) => `${y} months ${d} days ${s}${t}`);
export const bytea = fc
  .uint8Array({ maxLength: 64 })
  .map((bytes) => `\\x${Buffer.from(bytes).toString("hex")}`);
export const json = fc
  .json({ depthSize: "small" })
  .map((value) => value.replaceAll("\\u0000", "").replaceAll(/\\u[dD][89a-fA-F][0-9a-fA-F]{2}/g, ""));
export const point = fc.tuple(real, real).map(([x, y]) => `(${finite(x)},${finite(y)})`);
export const address = fc.tuple(fc.ipV4(), fc.integer({ min: 0, max: 32 }));
export const mac = fc
  .uint8Array({ minLength: 8, maxLength: 8 })
  .map((bytes) => [...bytes].map((byte) => byte.toString(16).padStart(2, "0")));
export const bits = (max: number): fc.Arbitrary<string> =>
  fc.string({ unit: fc.constantFrom("0", "1"), maxLength: max });
export const uint32 = fc.integer({ min: 0, max: 4_294_967_295 });
export const label = fc.string({
  unit: fc.constantFrom(...Array.from("abcXYZ012_")),
  minLength: 1,
  maxLength: 8,
});

export function cut(value: string, characters: number): string {
  return Array.from(value).slice(0, characters).join("");
}

function finite(value: string): string {
  return /NaN|Infinity/.test(value) ? "0" : value;
}

export function quoted(value: string): string {
  return `"${value.replaceAll("\\", "\\\\").replaceAll('"', '\\"')}"`;
}

/** An array's literal; null is NULL. */
export function arrayOf(element: fc.Arbitrary<string>): fc.Arbitrary<string> {
  return fc
    .array(fc.option(element), { maxLength: 5 })
    .map((items) => `{${items.map((item) => (item === null ? "NULL" : quoted(item))).join()}}`);
}

function ordered<T>(element: fc.Arbitrary<T>, compare: (a: T, b: T) => number): fc.Arbitrary<[T, T]> {
  return fc.tuple(element, element).map(([a, b]) => (compare(a, b) <= 0 ? [a, b] : [b, a]));
}

export function rangeOf<T>(
  element: fc.Arbitrary<T>,
  compare: (a: T, b: T) => number,
  print: (value: T) => string,
): fc.Arbitrary<string> {
  const bounded = fc
    .tuple(ordered(element, compare), fc.constantFrom("[", "("), fc.constantFrom("]", ")"))
    .map(([[a, b], from, to]) => `${from}${quoted(print(a))},${quoted(print(b))}${to}`);
  return fc.oneof(
    bounded,
    fc.constantFrom("empty", "(,)"),
    element.map((a) => `[${quoted(print(a))},)`),
  );
}

const byNumber = (a: number, b: number): number => a - b;
export const smallInt = fc.integer({ min: -1_000_000, max: 1_000_000 });
export const intRange = rangeOf(smallInt, byNumber, String);
export const dayRange = rangeOf(fc.integer({ min: 0, max: 900_000 }), byNumber, (days) =>
  new Date(days * 86_400_000).toISOString().slice(0, 10),
);
export const stampRange = rangeOf(fc.integer({ min: 0, max: 4_000_000_000 }), byNumber, (at) =>
  new Date(at * 1000).toISOString(),
);
export const composite = fc
  .tuple(smallInt, fc.option(text))
  .map(([a, b]) => `(${a},${b === null ? "" : quoted(b)})`);
