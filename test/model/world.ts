import type { CatalogTable } from "../../src/core/table.ts";
import type { Lsn } from "../../src/core/lsn.ts";
import { formatTimestamp } from "../../src/csv/header.ts";
import type { ReadBack } from "../../src/stream/deferred.ts";
import { FakeServer, type WalMessage } from "../support/fake-source.ts";
import { turns } from "../support/faulty-store.ts";
import * as wire from "../support/pgoutput-writer.ts";
import {
  columnOf,
  describe,
  keyOf,
  relationOf,
  type Column,
  type Kind,
  type Row,
  type Table,
} from "./tables.ts";

/** What a transaction does, said without naming rows: `pick` chooses among those that there are. */
export type Operation =
  | { readonly op: "insert"; readonly table: number; readonly key: number; readonly values: Values }
  | {
      readonly op: "update";
      readonly table: number;
      readonly pick: number;
      readonly values: Values;
      readonly page: number;
    }
  | {
      readonly op: "rekey";
      readonly table: number;
      readonly pick: number;
      readonly key: number;
      readonly page: number;
    }
  | { readonly op: "delete"; readonly table: number; readonly pick: number }
  | { readonly op: "truncate"; readonly tables: readonly number[] }
  | { readonly op: "add-column"; readonly table: number }
  | { readonly op: "drop-column"; readonly table: number }
  | { readonly op: "many"; readonly table: number; readonly rows: number; readonly bytes: number };

/** A small value, and a large one that is stored out of line; undefined leaves it alone. */
export interface Values {
  readonly small: string | null;
  readonly big: string | null | undefined;
}

export interface Transaction {
  readonly operations: readonly Operation[];
  /** WAL that somebody else writes before it. */
  readonly gapBytes: number;
  readonly walBytes: number;
  /** The clock may go back. */
  readonly minutesLater: number;
}

/** One row that must be published: `undefined` values were not sent. */
export interface Expected {
  readonly table: string;
  readonly op: "c" | "u" | "d" | "t";
  readonly lsn: Lsn;
  readonly seq: number;
  readonly committedAt: string;
  readonly columns: readonly string[];
  readonly values: readonly (string | null | undefined)[];
}

export const PAGES = 6;
const FIRST_COMMIT_MICROS = 1_795_000_000_000_000n;
const MINUTE_MICROS = 60_000_000n;

type Draft = Omit<Expected, "lsn" | "seq" | "committedAt">;

/** A database of a few tables, and the write-ahead log of its changes. */
export class World {
  readonly server = new FakeServer();
  readonly tables: Table[];
  /** Everything that was committed, as the contract says it is published. */
  readonly expected: Expected[] = [];
  #clockMicros = FIRST_COMMIT_MICROS;
  #filenodes = 50_000;
  #messages: WalMessage[] = [];
  #drafts: Draft[] = [];
  #random = 0;

  constructor(kinds: readonly Kind[]) {
    this.tables = kinds.map((kind, index) => {
      const names = kind === "two-keys" ? ["id", "part", "small", "big"] : ["id", "small", "big"];
      const columns = names.map((name, i) => ({ attnum: i + 1, name, big: name === "big" }));
      const keys = kind === "two-keys" ? 2 : kind === "bag" || kind === "insert-only" ? 0 : 1;
      const oid = 16_400 + index;
      const name = index === 1 ? "odd name/ä" : `t${index}`;
      return { oid, name, kind, keys, columns, filenode: oid, nextAttnum: 9, rows: [], everBig: new Map() };
    });
  }

  /** Rows that are there from the start, with large values. */
  fill(rows: number): void {
    const operations = this.tables.flatMap((_table, table) =>
      Array.from({ length: rows }, (_row, key): Operation => {
        return { op: "insert", table, key, values: { small: "first", big: `large from the start ${key}` } };
      }),
    );
    this.commit({ operations, gapBytes: 0, walBytes: 10_000, minutesLater: 0 });
  }

  get nowMicros(): bigint {
    return this.#clockMicros;
  }

  commit(transaction: Transaction): void {
    this.#messages = [];
    this.#drafts = [];
    for (const operation of transaction.operations) this.#apply(operation);
    this.#clockMicros += BigInt(transaction.minutesLater) * MINUTE_MICROS + 1234n;
    this.server.skip(transaction.gapBytes);
    const { commitLsn } = this.server.commit(transaction.walBytes, this.#clockMicros, this.#messages);
    const committedAt = formatTimestamp(this.#clockMicros);
    this.#drafts.forEach((draft, i) =>
      this.expected.push({ ...draft, lsn: commitLsn, seq: i + 1, committedAt }),
    );
  }

  #apply(operation: Operation): void {
    if (operation.op === "truncate") {
      const tables = operation.tables.map((index) => this.#table(index));
      this.#truncate([...new Set(tables)]);
      return;
    }
    const table = this.#table(operation.table);
    switch (operation.op) {
      case "insert":
        this.#insert(table, operation);
        return;
      case "update":
        this.#update(table, operation);
        return;
      case "rekey":
        this.#rekey(table, operation);
        return;
      case "delete":
        this.#delete(table, operation.pick);
        return;
      case "add-column": {
        const attnum = table.nextAttnum++;
        table.columns = [...table.columns, { attnum, name: `added ${attnum}`, big: false }];
        table.rows = table.rows.map((row) => ({ ...row, values: [...row.values, null] }));
        return;
      }
      case "drop-column":
        this.#dropColumn(table);
        return;
      case "many":
        for (let i = 0; i < operation.rows; i++) {
          const text = this.#text(operation.bytes);
          this.#insert(table, { key: 1000 + table.rows.length + i, values: { small: text, big: "many" } });
        }
        return;
      default:
        operation satisfies never;
    }
  }

  #table(index: number): Table {
    return this.tables[index % this.tables.length] as Table;
  }

  /** Text that does not compress to nothing. */
  #text(bytes: number): string {
    let text = "";
    while (text.length < bytes) {
      this.#random = (Math.imul(this.#random, 1_664_525) + 1_013_904_223) >>> 0;
      text += this.#random.toString(36);
    }
    return text.slice(0, bytes);
  }

  #insert(table: Table, { key, values }: { key: number; values: Values }): void {
    const id = [`${table.kind} ${key}`, `p${key % 3}`];
    if (this.#find(table, id.slice(0, table.keys))) return;
    const row = table.columns.map(({ name }) => {
      if (name === "id") return id[0] as string;
      if (name === "part") return id[1] as string;
      return name === "big" ? (values.big ?? null) : values.small;
    });
    this.#put(table, { page: key % PAGES, values: row });
    this.#send(table, wire.insert(table.oid, row), [{ op: "c", values: row }]);
  }

  #update(table: Table, change: { pick: number; values: Values; page: number }): void {
    const before = this.#pick(table, change.pick);
    if (!before || table.kind === "insert-only") return;
    const after = before.values.map((value, i) => {
      const column = table.columns[i] as Column;
      if (i < table.keys || (table.keys === 0 && i === 0)) return value;
      if (!column.big) return change.values.small;
      return change.values.big === undefined ? value : change.values.big;
    });
    this.#replace(table, before, { page: change.page % PAGES, values: after });
    this.#sendUpdate(table, before.values, after);
  }

  #rekey(table: Table, change: { pick: number; key: number; page: number }): void {
    const before = this.#pick(table, change.pick);
    const id = `${table.kind} ${change.key}`;
    if (!before || table.kind === "insert-only") return;
    const after = before.values.with(0, id);
    if (table.keys > 0 && this.#find(table, after.slice(0, table.keys))) return;
    this.#replace(table, before, { page: change.page % PAGES, values: after });
    this.#sendUpdate(table, before.values, after);
  }

  /** A large value that stays is not sent; the old row or key comes along as the replica identity says. */
  #sendUpdate(table: Table, before: Row["values"], after: Row["values"]): void {
    const stays = (i: number): boolean =>
      table.columns[i]?.big === true && after[i] !== null && after[i] === before[i];
    const sent = after.map((value, i) => (stays(i) ? undefined : value));
    const keyChanged = after.slice(0, table.keys).some((value, i) => value !== before[i]);
    if (table.kind === "bag" || table.kind === "full-key") {
      const split = table.kind === "bag" || keyChanged;
      const rows: Pick<Draft, "op" | "values">[] = [{ op: "u", values: after }];
      if (split) rows.unshift({ op: "d", values: before });
      this.#send(table, wire.update(table.oid, sent, { kind: "O", values: before }), rows);
      return;
    }
    const old = before.map((value, i) => (i < table.keys ? value : null));
    if (keyChanged) {
      const rows: Pick<Draft, "op" | "values">[] = [
        { op: "d", values: old },
        { op: "u", values: sent },
      ];
      this.#send(table, wire.update(table.oid, sent, { kind: "K", values: old }), rows);
      return;
    }
    this.#send(table, wire.update(table.oid, sent), [{ op: "u", values: sent }]);
  }

  #delete(table: Table, pick: number): void {
    const row = this.#pick(table, pick);
    if (!row || table.kind === "insert-only") return;
    table.rows = table.rows.filter((one) => one !== row);
    const full = table.kind === "bag" || table.kind === "full-key";
    const old = full ? row.values : row.values.map((value, i) => (i < table.keys ? value : null));
    this.#send(table, wire.remove(table.oid, full ? "O" : "K", old), [{ op: "d", values: old }]);
  }

  #truncate(tables: readonly Table[]): void {
    for (const table of tables) {
      table.rows = [];
      table.filenode = ++this.#filenodes;
      this.#drafts.push(this.#draft(table, { op: "t", values: table.columns.map(() => null) }));
    }
    const payload = wire.truncate(tables.map((table) => table.oid));
    this.#messages.push({ relations: tables.map((table) => relationOf(table)), payload });
  }

  #dropColumn(table: Table): void {
    const at = table.columns.findLastIndex((column) => column.attnum > 5);
    if (at < 0) return;
    table.columns = table.columns.toSpliced(at, 1);
    table.rows = table.rows.map((row) => ({ ...row, values: row.values.toSpliced(at, 1) }));
  }

  #send(table: Table, payload: Buffer, rows: readonly Pick<Draft, "op" | "values">[]): void {
    this.#messages.push({ relations: [relationOf(table)], payload });
    for (const row of rows) this.#drafts.push(this.#draft(table, row));
  }

  #draft(table: Table, { op, values }: Pick<Draft, "op" | "values">): Draft {
    return { table: table.name, op, columns: table.columns.map((column) => column.name), values };
  }

  #pick(table: Table, pick: number): Row | undefined {
    return table.rows[pick % Math.max(1, table.rows.length)];
  }

  #put(table: Table, row: Row): void {
    table.rows.push(row);
    this.#remember(table, row);
  }

  #replace(table: Table, before: Row, after: Row): void {
    table.rows = table.rows.map((row) => (row === before ? after : row));
    this.#remember(table, after);
  }

  #remember(table: Table, row: Row): void {
    const key = keyOf(table, row.values);
    const big = row.values[table.columns.findIndex((column) => column.big)] ?? null;
    table.everBig.set(key, (table.everBig.get(key) ?? new Set()).add(big));
  }

  #find(table: Table, key: readonly (string | null)[]): Row | undefined {
    if (table.keys === 0) return undefined;
    return table.rows.find((row) => key.every((value, i) => row.values[i] === value));
  }

  catalog(): CatalogTable[] {
    return this.tables.map(describe);
  }

  /** Current values by key, as of whenever the answer comes. */
  readonly readBack: ReadBack = async (asked, keys) => {
    await turns(2);
    const table = this.tables.find((one) => one.oid === asked.oid);
    return keys.map((key) => {
      const row = table && this.#find(table, key);
      if (!table || !row) return null;
      // A column that is gone meanwhile is a hole in the answer.
      return asked.columns.map((name) => row.values[columnOf(table, name)] as string | null);
    });
  };
}
