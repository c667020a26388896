import type { TableStatus } from "../core/status.ts";
import { isCopyFile } from "./file-kind.ts";

interface Size {
  readonly rows: number;
  readonly bytes: number;
}

/**
 * The captured tables and what is published for each: by its copy, as the daemon's records say, and by changes
 * since the daemon started, which are counted here.
 */
export class TableBook {
  #tables = new Map<string, TableStatus>();
  #changes = new Map<string, Size>();

  /** All captured tables; sizes are those of their copies. */
  replace(tables: readonly TableStatus[]): void {
    this.#tables = new Map(tables.map((table) => [table.table, table]));
    this.#changes = new Map([...this.#changes].filter(([table]) => this.#tables.has(table)));
  }

  change(table: string, change: Partial<Omit<TableStatus, "table">>): void {
    const known = this.#tables.get(table);
    if (known !== undefined) this.#tables.set(table, { ...known, ...change });
  }

  rangeCopied(table: string): void {
    const known = this.#tables.get(table);
    if (known !== undefined) this.change(table, { phase: "copying", rangesDone: known.rangesDone + 1 });
  }

  published(file: Size & { readonly table: string; readonly key: string }): void {
    const known = this.#tables.get(file.table);
    if (known === undefined) return;
    if (isCopyFile(file.key)) this.change(file.table, plus(known, file));
    else this.#changes.set(file.table, plus(this.#changes.get(file.table) ?? NOTHING, file));
  }

  list(): TableStatus[] {
    return [...this.#tables.values()].map((table) => {
      const changes = this.#changes.get(table.table);
      return changes === undefined ? table : { ...table, ...plus(table, changes) };
    });
  }
}

const NOTHING: Size = { rows: 0, bytes: 0 };

function plus(a: Size, b: Size): Size {
  return { rows: a.rows + b.rows, bytes: a.bytes + b.bytes };
}
