import type { NoticeFacts } from "./notices.ts";
import { humanBytes, humanPercent, humanSeconds, roughSeconds } from "./units.ts";
import type { SlotSample, WalBudget } from "./wal-budget.ts";

/** The words that the texts of notices ask for. */

export function walFacts(budget: WalBudget): NoticeFacts<"wal-50"> {
  const { exhaustedInSeconds } = budget;
  return {
    retained: humanBytes(budget.retainedBytes),
    percent: humanPercent(budget.used ?? 0),
    budget: humanBytes(budget.budgetBytes ?? 0),
    exhaustion: exhaustedInSeconds === null ? "" : `, about ${roughSeconds(exhaustedInSeconds)} at this pace`,
  };
}

export function identityFacts(table: string): NoticeFacts<"table-without-identity"> {
  return { table, name: sqlName(table) };
}

/** `schema.table` as SQL takes it. A schema's name with a dot in it is taken for a shorter one. */
function sqlName(table: string): string {
  if (/^[a-z_][a-z0-9_]*\.[a-z_][a-z0-9_]*$/.test(table)) return table;
  const dot = table.indexOf(".");
  const quoted = [table.slice(0, dot), table.slice(dot + 1)].map((name) => `"${name.replaceAll('"', '""')}"`);
  return quoted.join(".");
}

export function holderWords(sample: SlotSample): string {
  const { oldestTransaction } = sample;
  if (oldestTransaction === null) return "";
  return `${oldestTransaction.who}, for ${humanSeconds(oldestTransaction.ageSeconds)}`;
}
