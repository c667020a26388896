import { Buffer } from "node:buffer";
import { hourFolder } from "../core/layout.ts";
import { formatLsn, type Lsn } from "../core/lsn.ts";
import { formatTimestamp } from "../csv/header.ts";
import type { Begin } from "./pgoutput.ts";

/** A transaction as its rows need it: what is the same for all of them is encoded once. */
export interface Transaction {
  /** Counts up by one; never reused. */
  readonly number: number;
  readonly commitLsn: Lsn;
  /** Microseconds since 1970. */
  readonly committedAtMicros: bigint;
  /** What Postgres calls it; used again after 2^32 others. */
  readonly xid: number;
  /** `2026/11/22/07/` */
  readonly hour: string;
  /** `,00000000/0152C0A8,`: between `_op` and `_seq`. */
  readonly head: Buffer;
  /** `,2026-11-22 07:03:12.123456+00,`: between `_seq` and `_unchanged`. */
  readonly tail: Buffer;
}

const HOUR_MICROS = 3_600_000_000n;

/** Makes transactions from Begin messages; remembers the hour, which rarely changes. */
export class Transactions {
  #count = 0;
  #hour = "";
  #hourNumber = -1n;

  begin({ commitLsn, committedAtMicros, xid }: Begin): Transaction {
    const hourNumber = committedAtMicros / HOUR_MICROS;
    if (hourNumber !== this.#hourNumber) {
      this.#hourNumber = hourNumber;
      this.#hour = hourFolder(committedAtMicros);
    }
    return {
      number: ++this.#count,
      commitLsn,
      committedAtMicros,
      xid,
      hour: this.#hour,
      head: Buffer.from(`,${formatLsn(commitLsn)},`, "latin1"),
      tail: Buffer.from(`,${formatTimestamp(committedAtMicros)},`, "latin1"),
    };
  }
}
