declare const lsn: unique symbol;

/** A position in the write-ahead log, in bytes. Compared, never used as a number or a string inside. */
export type Lsn = bigint & { readonly [lsn]: true };

export const NO_LSN = 0n as Lsn;

/** Reads Postgres's `16/B374D848`, with or without leading zeros. Throws a TypeError for anything else. */
export function parseLsn(text: string): Lsn {
  const match = /^([0-9A-Fa-f]{1,8})\/([0-9A-Fa-f]{1,8})$/.exec(text);
  if (!match) throw new TypeError(`not an LSN: ${JSON.stringify(text)}`);
  return ((BigInt(`0x${match[1]}`) << 32n) | BigInt(`0x${match[2]}`)) as Lsn;
}

/** `00000000/0152C0A8`: fixed width, so that text order is LSN order; castable to pg_lsn. */
export function formatLsn(position: Lsn): string {
  const digits = lsnDigits(position);
  return `${digits.slice(0, 8)}/${digits.slice(8)}`;
}

/** `000000000152C0A8`: the same without the slash, for file names. */
export function lsnDigits(position: Lsn): string {
  return position.toString(16).toUpperCase().padStart(16, "0");
}

export function laterLsn(a: Lsn, b: Lsn): Lsn {
  return a > b ? a : b;
}
