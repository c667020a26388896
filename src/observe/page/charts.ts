import type uPlot from "uplot";
import type { StatusJson } from "../status-json.ts";
import { humanBytes, humanCount, humanSeconds } from "../units.ts";
import { byId, make, say, within } from "./dom.ts";

declare global {
  interface Window {
    readonly uPlot: typeof uPlot;
  }
}

interface Chart {
  readonly title: string;
  /** Index in a sample of the history. */
  readonly column: 1 | 2 | 3;
  readonly current: (status: StatusJson) => number | null;
  readonly format: (value: number) => string;
  /** Steps that the axis may have. */
  readonly steps: number[];
  /** The axis reaches at least here, so that noise does not look like a mountain. */
  readonly least: number;
  /** How the samples of one window become a point: lag by its highest, so that the flush rhythm is no saw. */
  readonly smooth: (values: readonly number[]) => number;
}

const SECOND_STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 43_200, 86_400];
const BYTE_STEPS = Array.from({ length: 41 }, (_, power) => 2 ** (power + 10));
const COUNT_STEPS = Array.from({ length: 9 }, (_, power) =>
  [1, 2, 5].map((step) => step * 10 ** power),
).flat();

const highest = (values: readonly number[]): number => Math.max(...values);
const mean = (values: readonly number[]): number =>
  values.reduce((sum, value) => sum + value, 0) / values.length;

const CHARTS: readonly Chart[] = [
  {
    title: "Lag in time",
    column: 1,
    current: ({ lag }) => lag.lag_seconds,
    format: humanSeconds,
    steps: SECOND_STEPS,
    least: 10,
    smooth: highest,
  },
  {
    title: "Lag in WAL",
    column: 2,
    current: ({ lag }) => lag.lag_bytes,
    format: humanBytes,
    steps: BYTE_STEPS,
    least: 1024 * 1024,
    smooth: highest,
  },
  {
    title: "Throughput",
    column: 3,
    current: ({ throughput }) => throughput.rows_per_second,
    format: (value) => `${humanCount(value)}/s`,
    steps: COUNT_STEPS,
    least: 10,
    smooth: mean,
  },
];

const HOUR_SECONDS = 3_600;
const LEAST_SPAN_SECONDS = 600;
/** Points show at least this much, and a flush interval. */
const WINDOW_SECONDS = 30;
/** Without samples for this long the line is interrupted. */
const GAP_SECONDS = 30;

const plots = new Map<string, uPlot>();

export function setUpCharts(): void {
  const area = within(byId("charts"), ".charts");
  for (const chart of CHARTS) {
    const caption = make("figcaption", "", make("span", "", chart.title), make("span", "now"));
    const plot = make("div", "plot");
    plot.setAttribute("role", "img");
    area.append(make("figure", "card", caption, plot));
    draw(chart, plot);
    new ResizeObserver(() => {
      plots.get(chart.title)?.setSize({ width: plot.clientWidth, height: plot.clientHeight });
    }).observe(plot);
  }
  // Colours are drawn, not styled.
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    for (const [index, chart] of CHARTS.entries()) {
      const data = plots.get(chart.title)?.data;
      plots.get(chart.title)?.destroy();
      draw(chart, within(area.children[index] as Element, ".plot"), data);
    }
  });
}

function draw(chart: Chart, element: HTMLElement, data: uPlot.AlignedData = [[], []]): void {
  const options = optionsOf(chart, element, getComputedStyle(document.documentElement));
  plots.set(chart.title, new window.uPlot(options, data, element));
}

function optionsOf(chart: Chart, element: HTMLElement, style: CSSStyleDeclaration): uPlot.Options {
  const color = (name: string): string => style.getPropertyValue(name).trim();
  const axis = { stroke: color("--soft"), font: "12px system-ui, sans-serif", ticks: { show: false } };
  return {
    width: element.clientWidth,
    height: element.clientHeight,
    padding: [8, 22, 0, 0],
    legend: { show: false },
    cursor: { drag: { x: false, y: false }, points: { size: 6 } },
    tzDate: (seconds) => window.uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC"),
    scales: { x: { time: true }, y: { range: (_, __, max) => [0, Math.max(chart.least, (max ?? 0) * 1.1)] } },
    axes: [
      {
        ...axis,
        grid: { show: false },
        space: 70,
        size: 32,
        gap: 10,
        values: (_, times) => times.map(minuteOf),
      },
      {
        ...axis,
        grid: { stroke: color("--line"), width: 1 },
        incrs: chart.steps,
        space: 32,
        size: 68,
        values: (_, values) => values.map(chart.format),
      },
    ],
    series: [
      {},
      {
        stroke: color("--accent"),
        fill: color("--accent-soft"),
        width: 1.75,
        points: { show: false },
        spanGaps: false,
      },
    ],
    hooks: { setCursor: [(plot) => tell(chart, plot)] },
  };
}

function minuteOf(seconds: number): string {
  return new Date(seconds * 1000).toISOString().slice(11, 16);
}

const newest = new Map<string, number | null>();

/** What the caption says: the value under the pointer, or the current and the highest. */
function tell(chart: Chart, plot: uPlot): void {
  const caption = plot.root.closest("figure")?.querySelector(".now");
  if (caption === null || caption === undefined) return;
  const [times, values] = plot.data;
  const index = plot.cursor.idx ?? -1;
  const value = values?.[index];
  const time = times[index];
  if (time === undefined || value === null || value === undefined) say(caption, range(chart, values ?? []));
  else say(caption, `${chart.format(value)} at ${new Date(time * 1000).toISOString().slice(11, 19)}`);
}

function range(chart: Chart, values: ArrayLike<number | null | undefined>): string {
  const known = Array.from(values).filter((value) => value !== null && value !== undefined);
  if (known.length === 0) return "no samples yet";
  const current = newest.get(chart.title) ?? null;
  const now = current === null ? "now not known" : `now ${chart.format(current)}`;
  return `${now}, highest ${chart.format(Math.max(...known, current ?? 0))}`;
}

export function showCharts(status: StatusJson): void {
  const nowSeconds = Date.parse(status.now) / 1000;
  const age = nowSeconds - (status.history[0]?.[0] ?? nowSeconds);
  const span = Math.min(HOUR_SECONDS, Math.max(LEAST_SPAN_SECONDS, age));
  const minutes = Math.round(span / 60);
  say(byId("charts-title"), `The last ${minutes === 60 ? "hour" : `${minutes} minutes`}`);
  const window = Math.max(WINDOW_SECONDS, status.flush_interval_seconds);
  for (const chart of CHARTS) {
    const plot = plots.get(chart.title);
    if (plot === undefined) continue;
    newest.set(chart.title, chart.current(status));
    const data = line(status.history, chart, window);
    plot.batch(() => {
      plot.setData(data, false);
      plot.setScale("x", { min: nowSeconds - span, max: nowSeconds });
    });
    tell(chart, plot);
    plot.root.parentElement?.setAttribute("aria-label", `${chart.title}: ${range(chart, data[1])}`);
  }
}

/** Each sample smoothed over the window before it, and a gap where there are none for a while. */
function line(history: StatusJson["history"], chart: Chart, window: number): [number[], (number | null)[]] {
  const times: number[] = [];
  const values: (number | null)[] = [];
  let first = 0;
  for (const [index, sample] of history.entries()) {
    const before = times.at(-1);
    if (before !== undefined && sample[0] - before > GAP_SECONDS) {
      times.push(before + 1);
      values.push(null);
      first = index;
    }
    while (sample[0] - (history[first]?.[0] ?? 0) >= window) first++;
    const near = history.slice(first, index + 1).map((one) => one[chart.column]);
    times.push(sample[0]);
    values.push(sample[chart.column] === null ? null : chart.smooth(near.filter((value) => value !== null)));
  }
  return [times, values];
}
