import fc from "fast-check";
import { typesFor } from "./values.ts";

/** Numbers from a seed, always the same ones for the same seed. */
export class Dice {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** From 0 to `below`, exclusive. Mulberry32. */
  roll(below: number): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) % below;
  }

  chance(percent: number): boolean {
    return this.roll(100) < percent;
  }

  pick<T>(from: readonly T[]): T {
    const one = from[this.roll(from.length)];
    if (one === undefined) throw new RangeError("nothing to pick from");
    return one;
  }
}

interface Column {
  name: string;
  readonly type: string;
}

type Identity = "key" | "full" | "bag" | "none";

interface Table {
  name: string;
  identity: Identity;
  readonly columns: Column[];
  partitioned: boolean;
  /** Rows of a table without identity are only added. */
  nextId: number;
}

/** A value that needs more than a page has room for. */
const BIG = "(SELECT string_agg(md5(random()::text), '') FROM generate_series(1, 100))";
const COLUMN_NAMES = ["a", "b", "c", "A", "a b", 'q"q', "x,y", "per%", "ü"];

/** Random schemas, and random statements that fit them. Statements are run one by one; a failed one changes nothing. */
export class World {
  readonly #dice: Dice;
  readonly #types: readonly { type: string; values: readonly string[] }[];
  readonly #tables: Table[] = [];
  #names = 0;

  constructor(seed: number, version: number) {
    this.#dice = new Dice(seed);
    this.#types = typesFor(version)
      // Names of objects are printed as they are now: a renamed table changes old rows.
      .filter(({ type }) => !type.startsWith("reg") && type !== "aclitem")
      .map(({ type, edges, any }) => {
        const values = [...edges, ...fc.sample(any, { seed, numRuns: 20 })].filter(
          (value) => value.length < 3000,
        );
        return { type, values };
      });
  }

  get tables(): readonly string[] {
    return this.#tables.map(({ name }) => name);
  }

  /** Statements that make the first tables. */
  begin(tables: number): string[] {
    return ["CREATE SCHEMA away", ...Array.from({ length: tables }, () => this.#create()).flat()];
  }

  /** The next statement, or transaction. */
  next(): string[] {
    const dice = this.#dice;
    if (this.#tables.length === 0 || dice.chance(2)) return this.#create();
    if (dice.chance(14)) return this.#alter();
    if (!dice.chance(25)) return [this.#change()];
    const changes = Array.from({ length: 2 + dice.roll(6) }, () => this.#change());
    const inner = dice.chance(30)
      ? [...changes.slice(0, 2), "SAVEPOINT s", ...changes.slice(2), "ROLLBACK TO SAVEPOINT s"]
      : changes;
    return [`BEGIN; ${inner.join("; ")}; ${dice.chance(85) ? "COMMIT" : "ROLLBACK"}`];
  }

  #create(): string[] {
    const dice = this.#dice;
    const name = dice.chance(30) ? `T ${++this.#names}"é` : `t${++this.#names}`;
    const identity = dice.pick<Identity>(["key", "key", "key", "key", "full", "bag", "none"]);
    const columns = Array.from({ length: dice.roll(6) }, (_, i) => ({
      name: `${COLUMN_NAMES[i]}`,
      type: dice.pick(this.#types).type,
    }));
    const partitioned = identity === "key" && dice.chance(20);
    const table: Table = { name, identity, columns, partitioned, nextId: 1 };
    this.#tables.push(table);
    const key = identity === "key" || identity === "full" ? ", PRIMARY KEY (id)" : "";
    const list = columns.map((column) => `, ${quote(column.name)} ${column.type}`).join("");
    const at = quote(name);
    const create = `CREATE TABLE ${at} (id int, big text, n int DEFAULT 0${list}${key})`;
    if (!partitioned)
      return [
        `${create}${identity === "full" || identity === "bag" ? `; ALTER TABLE ${at} REPLICA IDENTITY FULL` : ""}`,
        this.#insert(table),
      ];
    const parts = [0, 1, 2].map(
      (k) =>
        `CREATE TABLE ${quote(`${name}_${k}`)} PARTITION OF ${at} FOR VALUES ${k === 2 ? "FROM (60) TO (MAXVALUE)" : `FROM (${k * 30}) TO (${k * 30 + 30})`}`,
    );
    return [`${create} PARTITION BY RANGE (id); ${parts.join("; ")}`, this.#insert(table)];
  }

  #insert(table: Table): string {
    const dice = this.#dice;
    const rows = Array.from({ length: 1 + dice.roll(8) }, () => {
      const id = table.identity === "key" || table.identity === "full" ? dice.roll(90) : table.nextId++ % 40;
      const values = table.columns.map((column) => this.#value(column.type));
      return `(${[id, dice.chance(40) ? BIG : dice.pick(["NULL", "''", "'x'"]), dice.roll(9), ...values].join(", ")})`;
    });
    const conflict = table.identity === "key" || table.identity === "full" ? " ON CONFLICT DO NOTHING" : "";
    const names = ["id", "big", "n", ...table.columns.map((column) => quote(column.name))];
    return `INSERT INTO ${quote(table.name)} (${names.join(", ")}) VALUES ${rows.join(", ")}${conflict}`;
  }

  #value(type: string): string {
    const known = this.#types.find((one) => one.type === type);
    if (!known || known.values.length === 0 || this.#dice.chance(15)) return "NULL";
    return `${literal(this.#dice.pick(known.values))}::${type}`;
  }

  /** A change of rows. Tables without identity would lose updates and deletes, as the contract says. */
  #change(): string {
    const dice = this.#dice;
    const table = dice.pick(this.#tables);
    const at = quote(table.name);
    if (table.identity === "none") return dice.chance(90) ? this.#insert(table) : `TRUNCATE ${at}`;
    const some = `id % ${2 + dice.roll(6)} = ${dice.roll(3)}`;
    switch (dice.roll(table.columns.length > 0 ? 9 : 8)) {
      case 0:
      case 1:
      case 2:
        return this.#insert(table);
      case 3:
        return `UPDATE ${at} SET n = n + 1 WHERE ${some}`;
      case 4:
        return `UPDATE ${at} SET big = ${dice.pick([BIG, "NULL", "''"])} WHERE ${some}`;
      case 5:
        return `DELETE FROM ${at} WHERE ${some}`;
      case 6:
        // Keys move, and so do rows between partitions.
        return `UPDATE ${at} SET id = id + 100 * ${dice.pick([1, -1])} WHERE ${some} AND id ${dice.pick(["< 90", ">= 100"])}`;
      case 7:
        return dice.chance(15) ? `TRUNCATE ${at}` : `UPDATE ${at} SET id = id WHERE ${some}`;
      default: {
        const column = dice.pick(table.columns);
        return `UPDATE ${at} SET ${quote(column.name)} = ${this.#value(column.type)} WHERE ${some}`;
      }
    }
  }

  #alter(): string[] {
    const dice = this.#dice;
    const table = dice.pick(this.#tables);
    const at = quote(table.name);
    switch (dice.roll(14)) {
      case 0:
      case 1: {
        const type = dice.pick(this.#types).type;
        const name = dice.pick(COLUMN_NAMES);
        if (table.columns.some((column) => column.name === name)) return [this.#change()];
        table.columns.push({ name, type });
        const value = this.#value(type);
        return [`ALTER TABLE ${at} ADD ${quote(name)} ${type}${dice.chance(50) ? ` DEFAULT ${value}` : ""}`];
      }
      case 2:
      case 3: {
        if (table.columns.length === 0) return [this.#change()];
        const [column] = table.columns.splice(dice.roll(table.columns.length), 1);
        return [`ALTER TABLE ${at} DROP ${quote(column?.name ?? "")}`];
      }
      case 4: {
        if (table.columns.length === 0) return [this.#change()];
        const column = dice.pick(table.columns);
        const name = dice.pick(COLUMN_NAMES);
        if (table.columns.some((one) => one.name === name)) return [this.#change()];
        const old = column.name;
        column.name = name;
        return [`ALTER TABLE ${at} RENAME ${quote(old)} TO ${quote(name)}`];
      }
      case 5: {
        const old = at;
        table.name = `r${++this.#names}`;
        return [`ALTER TABLE ${old} RENAME TO ${quote(table.name)}`];
      }
      case 6:
        return [
          `ALTER TABLE ${at} ALTER n TYPE ${dice.pick(["bigint", "int", "int USING n + 1", "numeric"])}`,
        ];
      case 7:
        return [table.partitioned ? `TRUNCATE ${quote(`${table.name}_0`)}` : `VACUUM FULL ${at}`];
      case 8:
        if (this.#tables.length < 3) return [this.#change()];
        this.#tables.splice(this.#tables.indexOf(table), 1);
        return [`DROP TABLE ${at}`];
      case 9:
        if (table.identity !== "key" && table.identity !== "full") return [this.#change()];
        if (table.partitioned) return [this.#change()];
        table.identity = table.identity === "key" ? "full" : "key";
        return [`ALTER TABLE ${at} REPLICA IDENTITY ${table.identity === "full" ? "FULL" : "DEFAULT"}`];
      case 10: {
        // Away and back, with changes in between.
        const [away, back] = dice.pick([
          [
            `ALTER TABLE ${at} RENAME n TO nn; UPDATE ${at} SET nn = 5 WHERE id % 3 = 1`,
            `ALTER TABLE ${at} RENAME nn TO n`,
          ],
          [
            `ALTER TABLE ${at} RENAME TO passing; DELETE FROM passing WHERE id % 5 = 1`,
            `ALTER TABLE passing RENAME TO ${at}`,
          ],
          [
            `ALTER TABLE ${at} SET SCHEMA away; INSERT INTO away.${at} (id) VALUES (77)`,
            `ALTER TABLE away.${at} SET SCHEMA public`,
          ],
        ] as const);
        return table.identity === "none" ? [this.#change()] : [away, back];
      }
      case 11: {
        if (!table.partitioned) return [this.#change()];
        const part = quote(`${table.name}_1`);
        return [
          `ALTER TABLE ${at} DETACH PARTITION ${part}`,
          `DELETE FROM ${part} WHERE id % 2 = 0`,
          `ALTER TABLE ${at} ATTACH PARTITION ${part} FOR VALUES FROM (30) TO (60)`,
        ];
      }
      case 12:
        if (table.identity === "key" && !table.partitioned) {
          return [
            `ALTER TABLE ${at} DROP CONSTRAINT IF EXISTS ${quote(`${table.name}_pkey`)}`,
            `ALTER TABLE ${at} ADD PRIMARY KEY (id)`,
          ];
        }
        return [this.#change()];
      default:
        return [`TRUNCATE ${at}; ${this.#insert(table)}`];
    }
  }
}

function quote(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

function literal(text: string): string {
  return `E'${text.replaceAll("\\", "\\\\").replaceAll("'", "''")}'`;
}
