/**
 * Numbers for people. Used by the terminal, by notices and by the page, so: no Node, no DOM.
 */

const BYTE_UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"] as const;

/** `0 B`, `812 B`, `1.2 GiB`, `340 MiB` */
export function humanBytes(bytes: number): string {
  const sign = bytes < 0 ? "-" : "";
  let value = Math.abs(bytes);
  let unit = 0;
  // 1023.5 would print as 1024.
  while (value >= 1023.5 && unit < BYTE_UNITS.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${sign}${unit === 0 ? Math.round(value) : threeDigits(value)} ${BYTE_UNITS[unit]}`;
}

function threeDigits(value: number): string {
  return value < 99.95 ? value.toFixed(1).replace(/\.0$/, "") : String(Math.round(value));
}

const SPANS = [
  [86_400, "d"],
  [3_600, "h"],
  [60, "min"],
  [1, "s"],
] as const;

/** `0 s`, `0.4 s`, `12 s`, `3 min 20 s`, `2 h 5 min`, `4 d 3 h` */
export function humanSeconds(seconds: number): string {
  if (seconds < 0.05) return "0 s";
  if (seconds < 9.95) return `${seconds.toFixed(1).replace(/\.0$/, "")} s`;
  let rest = Math.round(seconds);
  const parts: string[] = [];
  for (const [size, unit] of SPANS) {
    const count = Math.floor(rest / size);
    rest -= count * size;
    if (count > 0) parts.push(`${count} ${unit}`);
    // Two neighbouring units say enough.
    else if (parts.length > 0) break;
    if (parts.length === 2) break;
  }
  return parts.join(" ");
}

/** One unit only, for estimates: `40 s`, `19 min`, `5 h`, `3 d` */
export function roughSeconds(seconds: number): string {
  const [size, unit] = SPANS.find(([span]) => seconds >= span * ROUGH_FROM) ?? [1, "s"];
  return `${Math.max(1, Math.round(seconds / size))} ${unit}`;
}

/** `90 min` says more than `2 h`. */
const ROUGH_FROM = 2;

/** `1,234,567` */
export function humanCount(count: number): string {
  return Math.round(count)
    .toString()
    .replace(/\B(?=(\d{3})+$)/g, ",");
}

/** `12 %`, never `100 %` before it is all. */
export function humanPercent(share: number): string {
  const percent = share >= 1 ? 100 : Math.min(99, Math.floor(share * 100));
  return `${percent} %`;
}

/** `1 file`, `2 files` */
export function countOf(count: number, noun: string): string {
  return `${humanCount(count)} ${noun}${count === 1 ? "" : "s"}`;
}
