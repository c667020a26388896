import type { StatusJson } from "../status-json.ts";
import { countOf, humanBytes, humanCount, humanPercent, humanSeconds, roughSeconds } from "../units.ts";
import { byId, clockTime, fill, make, say, sync, within } from "./dom.ts";

const STATE_WORDS: Readonly<Record<StatusJson["state"], string>> = {
  starting: "Starting",
  standby: "Standby",
  copying: "Copying and streaming",
  streaming: "Streaming",
  draining: "Draining",
  blocked: "Blocked",
  stopped: "Stopped",
};

type Notice = StatusJson["notices"][number];

const LEVEL_WORDS = { error: "Error", warn: "Warning", info: "Note" } as const;

export function showOverview(status: StatusJson): void {
  showState(status);
  showFigures(status);
  showNotices(status.notices);
  showWal(status);
  showFacts(status);
}

function showState(status: StatusJson): void {
  byId("now").className = health(status);
  say(byId("state"), STATE_WORDS[status.state]);
  say(byId("summary"), status.summary);
  say(byId("route"), `${status.source} → ${status.stage}`);
  const lag = status.lag.lag_seconds === null ? "" : `${humanSeconds(status.lag.lag_seconds)} · `;
  document.title = `${lag}${STATE_WORDS[status.state]} · pgstage`;
}

/** Notices about the pipeline as a whole; what concerns single tables does not colour the state. */
const PIPELINE_NOTICES = /^(blocked|source-|store-|slot-|wal-)/;

function health(status: StatusJson): Notice["level"] {
  const levels = status.notices.filter(({ id }) => PIPELINE_NOTICES.test(id)).map(({ level }) => level);
  if (levels.includes("error")) return "error";
  return levels.includes("warn") || isBehind(status) ? "warn" : "info";
}

/** As in the summary: a lag of two flush intervals is routine. */
function isBehind({ lag, flush_interval_seconds: flushInterval }: StatusJson): boolean {
  return lag.lag_seconds !== null && lag.lag_seconds > flushInterval * 2 + 5;
}

interface Figure {
  readonly name: string;
  readonly value: string;
  readonly more: string;
}

function figures({ lag, throughput, totals }: StatusJson): Figure[] {
  return [
    {
      name: "Lag",
      value: lag.lag_seconds === null ? "not known" : humanSeconds(lag.lag_seconds),
      more: lag.lag_bytes === null ? "" : `${humanBytes(lag.lag_bytes)} of WAL`,
    },
    {
      name: "Throughput",
      value: `${humanCount(throughput.rows_per_second)} rows/s`,
      more: `${humanBytes(throughput.bytes_per_second)}/s of CSV, last minute`,
    },
    {
      name: "Not yet published",
      value: countOf(lag.open_rows, "row"),
      more:
        lag.oldest_open_seconds === null
          ? humanBytes(lag.open_bytes)
          : `${humanBytes(lag.open_bytes)}, the oldest ${humanSeconds(lag.oldest_open_seconds)} old`,
    },
    {
      name: "Published since the start",
      value: countOf(totals.rows, "row"),
      more: `${countOf(totals.files, "file")}, ${humanBytes(totals.bytes)}`,
    },
  ];
}

function showFigures(status: StatusJson): void {
  sync(byId("figures"), figures(status), {
    key: (figure) => figure.name,
    create: (figure) => make("div", "", make("dt", "", figure.name), make("dd", ""), make("dd", "")),
    update: (element, figure) => {
      say(within(element, "dd"), figure.value);
      say(within(element, "dd + dd"), figure.more);
    },
  });
}

function showNotices(notices: StatusJson["notices"]): void {
  const section = byId("notices");
  section.hidden = notices.length === 0;
  sync(within(section, "ul"), notices, {
    key: (notice) => `${notice.id} ${notice.since} ${notice.message.slice(0, 80)}`,
    create: (notice) =>
      make(
        "li",
        notice.level,
        make("p", "", make("span", "level", `${LEVEL_WORDS[notice.level]}: `), make("span", "message")),
        make("p", "mend"),
        make("p", "when"),
      ),
    update: (element, notice) => {
      say(within(element, ".message"), notice.message);
      say(within(element, ".mend"), notice.mend);
      within(element, ".mend").hidden = notice.mend === "";
      const times = notice.count > 1 ? `, ${humanCount(notice.count)} times` : "";
      say(
        within(element, ".when"),
        `Since ${notice.since.slice(0, 10)} ${clockTime(notice.since)} UTC${times}`,
      );
    },
  });
}

function showWal({ lag }: StatusJson): void {
  const meter = byId("wal-meter");
  const kept = lag.slot_retained_bytes;
  const left = lag.wal_budget_bytes;
  meter.hidden = kept === null || left === null;
  if (kept === null) {
    say(byId("wal-text"), "Not known yet: there is no slot, or another daemon holds it.");
    return;
  }
  const growth = growthWords(lag.wal_growth_bytes_per_hour);
  if (left === null) {
    const limit = "no limit is set (max_slot_wal_keep_size), so only the disk bounds it";
    say(byId("wal-text"), `${humanBytes(kept)} kept, ${limit}${growth}.`);
    return;
  }
  const used = kept + left === 0 ? 1 : kept / (kept + left);
  meter.className = `bar ${used >= 0.9 ? "error" : used >= 0.5 ? "warn" : ""}`;
  const end =
    lag.wal_exhausted_in_seconds === null
      ? ""
      : `; at this pace the slot is lost in about ${roughSeconds(lag.wal_exhausted_in_seconds)}`;
  const words = `${humanBytes(kept)} kept, ${humanBytes(left)} left (${humanPercent(used)} used)${growth}${end}.`;
  fill(meter, used, words);
  say(byId("wal-text"), words);
}

/** Bytes an hour; less is the breathing of a healthy slot. */
const NOTABLE_GROWTH = 100 * 1024 * 1024;

function growthWords(perHour: number | null): string {
  if (perHour === null || Math.abs(perHour) < NOTABLE_GROWTH) return "";
  return perHour > 0
    ? `; grows by ${humanBytes(perHour)} an hour`
    : `; shrinks by ${humanBytes(-perHour)} an hour`;
}

function showFacts(status: StatusJson): void {
  const facts = [
    ["Version", status.version],
    ["Running for", humanSeconds((Date.parse(status.now) - Date.parse(status.started_at)) / 1000)],
    ["Slot", status.slot],
    ["Publication", status.publication],
    ["Published up to", status.lag.staged_lsn ?? "–"],
    ["Source at", status.lag.source_lsn ?? "–"],
  ] as const;
  sync(byId("facts"), facts, {
    key: ([name]) => name,
    create: ([name]) => make("div", "", make("dt", "", name), make("dd", "names")),
    update: (element, [, value]) => say(within(element, "dd"), value),
  });
}
