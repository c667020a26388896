import { stringify } from "csv-stringify/sync";

/** The five columns of our own that come first in every file. */
export function metadataColumns(prefix: string): string[] {
  return ["op", "lsn", "seq", "committed_at", "unchanged"].map((name) => prefix + name);
}

/** One CSV record with its line feed, for headers and rows that are not hot. NULL is nothing, the empty string `""`. */
export function csvRecord(values: readonly (string | null)[]): Buffer {
  return Buffer.from(stringify([values as (string | null)[]], { quoted_match: /^$|\r/ }));
}

/** `2026-11-22 07:03:12.123456+00`: always six digits, so that text order is time order. */
export function formatTimestamp(micros: bigint): string {
  const millis = Number(micros / 1000n);
  const iso = new Date(millis).toISOString();
  return `${iso.slice(0, 10)} ${iso.slice(11, 23)}${String(micros % 1000n).padStart(3, "0")}+00`;
}
