import convict from "convict";

/**
 * The formats of settings. All values arrive as text, from a file as from the environment (lists of a file as
 * lists), and `parse` turns them into what pgstage uses. convict's own formats
 * are not used, because they guess: `1e3` becomes 1, and every boolean but "false" true.
 */
interface Format {
  /** Undefined for a text that cannot be read: it then stays text, which `validate` refuses unless `keepsText`. */
  readonly parse: (text: string) => unknown;
  readonly keepsText: boolean;
  /** Completes "… is not ". */
  readonly expected: string;
}

/** One entry of the schema. `min` and `max` are in the unit of the parsed value. */
export interface SettingDefinition {
  readonly doc: string;
  readonly format: FormatName;
  readonly default: string | null;
  /** How the table shows a default that depends on something. */
  readonly shownDefault?: string;
  readonly sensitive?: boolean;
  readonly choices?: readonly string[];
  readonly min?: number;
  readonly max?: number;
  /** Why there is a bound. */
  readonly boundReason?: string;
}

const DURATION_UNITS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;
const SIZE_UNITS = {
  b: 1,
  kb: 1e3,
  mb: 1e6,
  gb: 1e9,
  tb: 1e12,
  kib: 2 ** 10,
  mib: 2 ** 20,
  gib: 2 ** 30,
  tib: 2 ** 40,
} as const;
const FLAGS: Readonly<Record<string, boolean>> = {
  true: true,
  yes: true,
  on: true,
  "1": true,
  false: false,
  no: false,
  off: false,
  "0": false,
};

/** `500ms`, `60s`, `15m`, `1h`, `2d` in milliseconds; undefined for anything else, a bare number too. */
export function parseDuration(text: string): number | undefined {
  return withUnit(text, DURATION_UNITS);
}

/** `64MiB` (2^20), `64MB` (10^6) or plain bytes; undefined for anything else. */
export function parseSize(text: string): number | undefined {
  return withUnit(/^\d+$/.test(text.trim()) ? `${text.trim()}b` : text, SIZE_UNITS);
}

function withUnit(text: string, units: Readonly<Record<string, number>>): number | undefined {
  const match = /^(\d+(?:\.\d+)?)\s*([a-z]+)$/.exec(text.trim().toLowerCase());
  const unit = match?.[2] !== undefined && Object.hasOwn(units, match[2]) ? units[match[2]] : undefined;
  if (unit === undefined) return undefined;
  const value = Math.round(Number(match?.[1]) * unit);
  return Number.isSafeInteger(value) ? value : undefined;
}

function parseList(text: string): string[] {
  return text
    .split(",")
    .map((item) => item.trim())
    .filter((item) => item !== "");
}

const FORMATS = {
  text: { parse: (text) => text.trim(), keepsText: true, expected: "text" },
  /** Kept to the byte: a password may begin with a blank. */
  secret: { parse: (text) => text, keepsText: true, expected: "text" },
  names: { parse: parseList, keepsText: false, expected: "a list of names, separated by commas" },
  flag: { parse: (text) => FLAGS[text.trim().toLowerCase()], keepsText: false, expected: "true or false" },
  integer: {
    parse: (text) => (/^\d{1,15}$/.test(text.trim()) ? Number(text) : undefined),
    keepsText: false,
    expected: "a whole number",
  },
  duration: { parse: parseDuration, keepsText: false, expected: "a duration such as 500ms, 60s, 15m or 1h" },
  size: { parse: parseSize, keepsText: false, expected: "a size such as 64MiB, 512KiB or 1GiB" },
  choice: { parse: (text) => text.trim(), keepsText: true, expected: "one of the choices" },
} satisfies Record<string, Format>;

type FormatName = keyof typeof FORMATS;

/** What is wrong with a value. convict would append the value again, secret or not: `value` swallows it. */
class Refusal extends Error {
  set value(_value: unknown) {
    // Said in the message already.
  }
}

function validate(value: unknown, setting: SettingDefinition): void {
  const { keepsText, expected } = FORMATS[setting.format];
  const isList = Array.isArray(value);
  if (isList ? setting.format !== "names" : typeof value === "string" && !keepsText) {
    const given = setting.sensitive ? "its value (not shown)" : JSON.stringify(value);
    throw new Refusal(`${given} is not ${expected}`);
  }
  if (setting.choices !== undefined && !setting.choices.includes(String(value))) {
    throw new Refusal(`${JSON.stringify(value)} is not one of ${setting.choices.join(", ")}`);
  }
  if (typeof value === "number") validateBounds(value, setting);
}

function validateBounds(value: number, setting: SettingDefinition): void {
  const { min = 0, max = Number.MAX_SAFE_INTEGER, boundReason } = setting;
  if (value >= min && value <= max) return;
  const bound =
    value < min ? `too small: at least ${show(min, setting)}` : `too large: at most ${show(max, setting)}`;
  throw new Refusal(
    `${show(value, setting)} is ${bound}${boundReason === undefined ? "" : ` (${boundReason})`}`,
  );
}

function show(value: number, setting: SettingDefinition): string {
  if (setting.format === "duration") return inUnits(value, DURATION_UNITS, "ms");
  if (setting.format !== "size") return String(value);
  return inUnits(value, { TiB: 2 ** 40, GiB: 2 ** 30, MiB: 2 ** 20, KiB: 2 ** 10 }, "B");
}

/** The largest unit that divides the value. */
function inUnits(value: number, units: Readonly<Record<string, number>>, smallest: string): string {
  const fitting = Object.entries(units)
    .filter(([, size]) => value !== 0 && value % size === 0)
    .sort((a, b) => b[1] - a[1]);
  const [unit, size] = fitting[0] ?? [smallest, 1];
  return `${value / size}${unit}`;
}

/** Makes the formats known to convict, whose registry is one for the process. */
export function registerFormats(): void {
  for (const [name, format] of Object.entries<Format>(FORMATS)) {
    convict.addFormat({
      name,
      coerce: (value: unknown) => (typeof value === "string" ? (format.parse(value) ?? value) : value),
      validate: (value: unknown, setting) => validate(value, setting as SettingDefinition),
    });
  }
}
