import type { StatusJson } from "../status-json.ts";
import { countOf, humanBytes, humanCount, humanPercent, humanSeconds } from "../units.ts";
import { byId, clockTime, fill, make, say, sync, within } from "./dom.ts";

type TableJson = StatusJson["tables"][number];
type BatchJson = StatusJson["batches"][number];

/** `filter` is what the shown tables were asked for with. */
export function showTables(status: StatusJson, filter: string): void {
  const { table_counts: counts, tables } = status;
  say(byId("tables-counts"), countsWords(counts));
  showCopy(counts);
  within(byId("tables"), "table").hidden = tables.length === 0;
  sync(within(byId("tables"), "tbody"), tables, {
    key: ({ table }) => table,
    create: createTable,
    update: updateTable,
  });
  say(byId("tables-more"), moreWords(tables.length, counts.total, filter));
  showNotCaptured(status.not_captured);
}

function countsWords(counts: StatusJson["table_counts"]): string {
  if (counts.total === 0) return "";
  const parts = [countOf(counts.total, "table")];
  if (counts.copying > 0) parts.push(`${humanCount(counts.copying)} being copied`);
  if (counts.pending > 0) parts.push(`${humanCount(counts.pending)} waiting`);
  if (counts.insert_only > 0) parts.push(`${humanCount(counts.insert_only)} for inserts only`);
  return parts.join(", ");
}

function moreWords(shown: number, total: number, filter: string): string {
  if (total === 0) return "No tables yet. They appear as soon as the source has been looked at.";
  if (filter !== "") {
    return shown === 0 ? `No table's name contains “${filter}”.` : `${countOf(shown, "table")} shown.`;
  }
  return shown < total ? `The first ${humanCount(shown)} of ${humanCount(total)}; filter to see others.` : "";
}

function showCopy(counts: StatusJson["table_counts"]): void {
  const area = byId("copy-all");
  area.hidden = counts.copied === counts.total;
  if (area.hidden) return;
  const share = counts.ranges === 0 ? 0 : counts.ranges_done / counts.ranges;
  const ranges =
    counts.ranges === 0 ? "" : `, ${humanCount(counts.ranges_done)} of ${countOf(counts.ranges, "range")}`;
  const words = `${humanCount(counts.copied)} of ${countOf(counts.total, "table")} copied${ranges}`;
  fill(within(area, ".bar"), share, words);
  say(within(area, "p"), words);
}

function createTable({ table }: TableJson): HTMLElement {
  const bar = make("div", "bar", make("span", ""));
  bar.setAttribute("role", "progressbar");
  bar.setAttribute("aria-valuemin", "0");
  bar.setAttribute("aria-valuemax", "100");
  bar.setAttribute("aria-label", `Copy of ${table}`);
  const row = make(
    "tr",
    "",
    make("td", "", make("span", "names", table), make("small", "")),
    make("td", "", make("span", "phase"), bar),
    make("td", "number rows"),
    make("td", "number bytes"),
  );
  // On a phone the table is laid out as a grid, which would take its meaning from it.
  row.setAttribute("role", "row");
  for (const cell of row.children) cell.setAttribute("role", "cell");
  return row;
}

function updateTable(element: HTMLElement, table: TableJson): void {
  const notes = table.insert_only ? ["Updates and deletes are not captured", ...table.notes] : table.notes;
  say(within(element, "small"), notes.join("; "));
  const share = table.ranges === 0 ? 0 : table.ranges_done / table.ranges;
  const bar = within(element, ".bar");
  bar.hidden = table.phase !== "copying";
  element.className = table.phase;
  const words = phaseWords(table, share);
  say(within(element, ".phase"), words);
  fill(bar, share, words);
  say(within(element, ".rows"), humanCount(table.rows));
  say(within(element, ".bytes"), humanBytes(table.bytes));
}

function phaseWords(table: TableJson, share: number): string {
  switch (table.phase) {
    case "pending":
      return "waiting";
    case "copied":
      return "done";
    case "copying":
      return table.ranges === 0
        ? "planning"
        : `${humanPercent(share)}, ${table.ranges_done} of ${table.ranges}`;
    default:
      return table.phase satisfies never;
  }
}

/** More would make the page slow and nobody reads them; `/status` has them all. */
const SHOWN_NOT_CAPTURED = 200;

function showNotCaptured(tables: StatusJson["not_captured"]): void {
  const area = byId("not-captured");
  area.hidden = tables.length === 0;
  say(within(area, "summary"), `${countOf(tables.length, "table")} not captured`);
  sync(within(area, "ul"), tables.slice(0, SHOWN_NOT_CAPTURED), {
    key: ({ table }) => table,
    create: ({ table }) => make("li", "", make("span", "names", table), make("span", "quiet")),
    update: (element, { reason }) => say(within(element, ".quiet"), ` – ${reason}`),
  });
}

/** `/status` has more. */
const SHOWN_BATCHES = 12;

export function showBatches(batches: readonly BatchJson[]): void {
  say(
    byId("batches-none"),
    batches.length === 0
      ? "None since the daemon started: a batch is published when something has changed."
      : "",
  );
  sync(within(byId("batches"), "ol"), batches.slice(0, SHOWN_BATCHES), {
    key: ({ sequence }) => String(sequence),
    create: createBatch,
    update: () => {},
  });
}

/** A published batch never changes, so it is made once. */
function createBatch(batch: BatchJson): HTMLElement {
  const cells = [
    `#${batch.sequence}`,
    clockTime(batch.time),
    countOf(batch.file_count, "file"),
    countOf(batch.rows, "row"),
    humanBytes(batch.bytes),
    batch.took_ms < 1_000 ? `${batch.took_ms} ms` : humanSeconds(batch.took_ms / 1000),
  ];
  const summary = make("summary", "", ...cells.map((text) => make("span", "", text)));
  const files = batch.files.map((file) =>
    make(
      "li",
      "",
      make("span", "names", file.key),
      make("span", "", `${countOf(file.rows, "row")}, ${humanBytes(file.bytes)}`),
    ),
  );
  const hidden = batch.file_count - batch.files.length;
  if (hidden > 0) files.push(make("li", "quiet", `and ${countOf(hidden, "smaller file")}`));
  if (batch.file_count === 0) files.push(make("li", "quiet", "No files: only the position moved."));
  return make("li", "", make("details", "", summary, make("ul", "", ...files)));
}
