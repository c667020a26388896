import type { StatusJson } from "../status-json.ts";
import { humanSeconds } from "../units.ts";
import { setUpCharts, showCharts } from "./charts.ts";
import { byId, clockTime, say } from "./dom.ts";
import { showBatches, showTables } from "./lists.ts";
import { showOverview } from "./overview.ts";

/** The page: asks for the status every two seconds and shows it, or since when there is no answer. */

const POLL_MS = 2_000;
const TIMEOUT_MS = 10_000;
/** More rows than anybody reads; the filter finds the others. */
const SHOWN_TABLES = 50;

const filter = byId("filter") as HTMLInputElement;
let lastAnswerMs: number | null = null;
let isBlocked = false;
let timer: number | undefined;
let asking: AbortController | undefined;

async function ask(): Promise<void> {
  clearTimeout(timer);
  asking?.abort();
  const mine = new AbortController();
  asking = mine;
  const wanted = filter.value.trim();
  const query = new URLSearchParams({ tables: String(SHOWN_TABLES), filter: wanted });
  try {
    const signal = AbortSignal.any([mine.signal, AbortSignal.timeout(TIMEOUT_MS)]);
    const response = await fetch(`status?${query}`, { signal, cache: "no-store" });
    if (!response.ok) throw new Error(`HTTP ${response.status}`);
    show((await response.json()) as StatusJson, wanted);
  } catch {
    if (mine.signal.aborted) return;
    showLost();
  }
  timer = window.setTimeout(() => void ask(), POLL_MS);
}

function show(status: StatusJson, wanted: string): void {
  lastAnswerMs = Date.now();
  isBlocked = status.state === "blocked";
  document.body.classList.remove("stale");
  byId("lost").hidden = true;
  say(byId("contact-text"), `Live, ${clockTime(status.now)} UTC`);
  showOverview(status);
  showCharts(status);
  showTables(status, wanted);
  showBatches(status.batches);
}

function showLost(): void {
  document.body.classList.add("stale");
  document.body.classList.toggle("ended", isBlocked);
  const silent = lastAnswerMs === null ? "" : ` for ${humanSeconds((Date.now() - lastAnswerMs) / 1000)}`;
  say(byId("contact-text"), `No answer${silent}`);
  const lost = byId("lost");
  lost.hidden = false;
  say(
    lost,
    isBlocked
      ? "The daemon has ended, because an operator must act: what is wrong, and what mends it, is below. The page goes on when it is started again."
      : "The daemon does not answer: what is shown here is old. It may have ended, or the network is down; trying again every 2 s.",
  );
  document.title = `${isBlocked ? "Blocked, ended" : "no answer"} · pgstage`;
}

let typing: number | undefined;
filter.addEventListener("input", () => {
  clearTimeout(typing);
  typing = window.setTimeout(() => void ask(), 150);
});
// A page that nobody sees asks nothing.
document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "visible") void ask();
  else clearTimeout(timer);
});

setUpCharts();
void ask();
