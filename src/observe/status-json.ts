import { formatLsn, type Lsn } from "../core/lsn.ts";
import type { Lag, Status } from "../core/status.ts";

/**
 * A status as programs read it, in `/status`, `status --json` and the log's lag line: field names in snake_case,
 * LSNs as fixed-width text, times ISO 8601 in UTC, durations in seconds unless the name says `_ms`, null where
 * something is not known.
 */
export type StatusJson = JsonOf<Status>;
export type LagJson = JsonOf<Lag>;

type JsonOf<T> = T extends Lsn
  ? string
  : T extends readonly (infer Item)[]
    ? number extends T["length"]
      ? readonly JsonOf<Item>[]
      : T
    : T extends object
      ? { readonly [K in keyof T & string as SnakeCase<K>]: JsonOf<T[K]> }
      : T;

type SnakeCase<S extends string> = S extends `${infer First}${infer Rest}`
  ? First extends Lowercase<First>
    ? `${First}${SnakeCase<Rest>}`
    : `_${Lowercase<First>}${SnakeCase<Rest>}`
  : S;

export function statusJson(status: Status): StatusJson {
  return convert(status) as StatusJson;
}

/** The fields of the log's lag line. */
export function lagJson(lag: Lag): LagJson {
  return convert(lag) as LagJson;
}

function convert(value: unknown): unknown {
  if (typeof value === "bigint") return formatLsn(value as Lsn);
  if (Array.isArray(value)) return value.map(convert);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, field]) => [snakeCase(key), convert(field)]));
}

function snakeCase(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}
