import { matcher } from "../core/globs.ts";
import { tableName } from "../core/table.ts";
import { nearest } from "../settings/nearest.ts";

interface Named {
  readonly schema: string;
  readonly name: string;
}

export interface Resolved {
  /** `schema.table` of what is meant, each once, in the order of the tables. */
  readonly names: readonly string[];
  readonly unknown: readonly { readonly asked: string; readonly nearest: string | null }[];
}

/**
 * Which tables somebody means: `schema.table`, `table` (of schema public), globs (`public.order*`), names in double
 * quotes as in SQL. Without quotes `Orders` is the table of that name, or else `orders`, as in SQL. Pure.
 */
export function resolveTables(asked: readonly string[], tables: readonly Named[]): Resolved {
  const found = new Set<Named>();
  const unknown: Resolved["unknown"][number][] = [];
  const all = tables.map(tableName);
  for (const text of asked) {
    const meant = meantBy(text, tables);
    for (const table of meant) found.add(table);
    if (meant.length > 0) continue;
    const candidate = nearest(text, all) ?? nearest(`public.${text}`, all) ?? null;
    unknown.push({ asked: text, nearest: candidate });
  }
  return { names: tables.filter((table) => found.has(table)).map(tableName), unknown };
}

function meantBy(text: string, tables: readonly Named[]): readonly Named[] {
  const readings = [text, `public.${text}`].map((name) => (table: Named) => tableName(table) === name);
  for (const isMeant of [...readings, ...quotedReadings(text)]) {
    const exact = tables.filter(isMeant);
    if (exact.length > 0) return exact;
  }
  if (!/[*?]/.test(text)) return [];
  const glob = text.includes(".") ? text : `public.${text}`;
  const matches = matcher([glob]);
  return tables.filter((table) => matches(tableName(table)));
}

/** As SQL reads it: what is not in quotes is folded to lower case. */
function quotedReadings(text: string): ((table: Named) => boolean)[] {
  const parts = [...text.matchAll(/\s*("(?:[^"]|"")*"|[^".]+)\s*(?:\.|$)/gy)].map((match) => match[1] ?? "");
  const names = parts.map((part) =>
    part.startsWith('"') ? part.slice(1, -1).replaceAll('""', '"') : part.trim().toLowerCase(),
  );
  const [first, second] = names;
  if (first === undefined || names.length > 2) return [];
  const [schema, name] = second === undefined ? ["public", first] : [first, second];
  return [(table) => table.schema === schema && table.name === name];
}
