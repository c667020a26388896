/** What was found about one prerequisite, and what to do about it. */
export interface Check {
  readonly name: string;
  readonly verdict: Verdict;
  readonly found: string;
  /** Commands or settings; empty if there is nothing to do. */
  readonly mend: string;
  /** It fails, but the daemon starts nevertheless: it may pass, or concerns one table of many that work. */
  readonly passing?: boolean;
}

/** `skip`: could not be looked at, because something before it failed. */
export type Verdict = "ok" | "warn" | "fail" | "skip";

export function ok(name: string, found: string): Check {
  return { name, verdict: "ok", found, mend: "" };
}

export function warn(name: string, found: string, mend: string): Check {
  return { name, verdict: "warn", found, mend };
}

export function fail(name: string, found: string, mend: string, passing = false): Check {
  return { name, verdict: "fail", found, mend, ...(passing ? { passing } : {}) };
}

export function skip(name: string, why: string): Check {
  return { name, verdict: "skip", found: why, mend: "" };
}

const NAMED = 8;

/** `a, b, c`, or `a, b … and 40 more`. */
export function listed(names: readonly string[], shown = NAMED): string {
  if (names.length <= shown) return names.join(", ");
  return `${names.slice(0, shown).join(", ")} … and ${names.length - shown} more`;
}
