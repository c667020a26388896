import { Buffer } from "node:buffer";
import { TransientError } from "../../src/core/errors.ts";
import type { CatalogTable } from "../../src/core/table.ts";
import type { Lsn } from "../../src/core/lsn.ts";
import type { RangeFailure, Session } from "../../src/copy/session.ts";
import { turns } from "../support/faulty-store.ts";
import type { Random } from "../support/random.ts";
import { describe, type Row } from "./tables.ts";
import { PAGES, type World } from "./world.ts";

/** What a copy learns when the table is not any more what its snapshot saw. */
class TableChanged extends Error {}

export function failureOf(error: unknown): RangeFailure {
  return error instanceof TableChanged ? "changed" : "lost";
}

export interface SessionOptions {
  readonly workers: number;
  /** Share of the ranges during which the connection breaks. */
  readonly breaks: number;
  /** Turns of the event loop that a range takes, at most. */
  readonly copyTurns: number;
}

/** Reads tables as they were when it was opened, page by page, while the world goes on. */
export class FakeSession implements Session {
  readonly consistentPoint: Lsn;
  readonly pointMicros: bigint;
  readonly tables: readonly CatalogTable[];
  readonly workers: number;
  readonly #world: World;
  readonly #random: Random;
  readonly #breaks: number;
  readonly #turns: number;
  readonly #snapshot: ReadonlyMap<number, { columns: readonly string[]; rows: readonly Row[] }>;
  readonly #busy = new Set<number>();
  #closed = false;

  constructor(world: World, random: Random, { workers, breaks, copyTurns }: SessionOptions) {
    world.server.skip(40 + random.below(60));
    this.consistentPoint = world.server.position;
    this.pointMicros = world.nowMicros;
    this.tables = world.catalog();
    this.workers = workers;
    this.#world = world;
    this.#random = random;
    this.#breaks = breaks;
    this.#turns = copyTurns;
    this.#snapshot = new Map(
      world.tables.map(({ oid, columns, rows }) => [
        oid,
        { columns: columns.map((column) => column.name), rows: [...rows] },
      ]),
    );
  }

  async sizes(oids: readonly number[]): ReturnType<Session["sizes"]> {
    await turns(1);
    return new Map(oids.map((oid) => [oid, { pages: PAGES, bytes: PAGES * 8192 }]));
  }

  async copy(...[worker, range, columns, onRow]: Parameters<Session["copy"]>): Promise<number> {
    if (this.#busy.has(worker)) throw new Error("two ranges at once in one connection");
    this.#busy.add(worker);
    try {
      return await this.#read(range, columns, onRow);
    } finally {
      this.#busy.delete(worker);
    }
  }

  async #read(...[{ storage, from, to }, columns, onRow]: Tail): Promise<number> {
    await turns(this.#random.below(this.#turns + 1));
    const now = this.#world.tables.find((table) => table.oid === storage.oid);
    const seen = this.#snapshot.get(storage.oid);
    if (!now || !seen || now.filenode !== storage.filenode) throw new TableChanged("rewritten");
    const there = describe(now).columns.map((column) => column.name);
    if (!columns.every((name) => there.includes(name) && seen.columns.includes(name)))
      throw new TableChanged("no such column");
    const rows = seen.rows.filter(({ page }) => page >= from && (to === null || page < to));
    const breakAt = this.#random.chance(this.#breaks) ? this.#random.below(rows.length + 1) : -1;
    for (const [index, row] of rows.entries()) {
      if (index === breakAt || this.#closed) throw new TransientError("the connection broke");
      const values = columns.map((name) => row.values[seen.columns.indexOf(name)] ?? null);
      const bytes = Buffer.from(csvLine(columns.length === 1 ? [null, ...values] : values));
      const wait = onRow(bytes);
      bytes.fill(0x58);
      if (wait) await wait;
      if (this.#random.chance(0.3)) await turns(1);
    }
    if (breakAt === rows.length) throw new TransientError("the connection broke");
    return rows.length;
  }

  async close(): Promise<void> {
    this.#closed = true;
  }
}

type Tail = Parameters<Session["copy"]> extends [number, ...infer Rest] ? Rest : never;

/** As COPY … (FORMAT csv) prints a row. */
function csvLine(values: readonly (string | null)[]): string {
  const fields = values.map((value) => {
    if (value === null) return "";
    return value === "" || /[",\r\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value;
  });
  return `${fields.join(",")}\n`;
}
