import type { Notice } from "../core/status.ts";
import { NOTICES, noticeText, type NoticeFacts, type NoticeId, type NoticeKind } from "./notices.ts";
import { humanCount } from "./units.ts";

/** Subjects of one kind (tables, mostly) that are told one by one; more become one notice with their number. */
const TOLD_ONE_BY_ONE = 5;
/** Subjects of a repeated event that are remembered; more are only counted. */
const MAX_SUBJECTS = 200;

interface Entry {
  message: string;
  mend: string;
  readonly sinceMs: number;
  lastMs: number;
  count: number;
}

interface Kind {
  readonly entries: Map<string, Entry>;
  /** Raised beyond MAX_SUBJECTS. */
  unnamed: number;
}

interface Moment {
  readonly nowMs: number;
  /** Tells notices of one kind apart, such as the table. */
  readonly subject?: string;
}

/** What stands now and what happened lately. Bounded, whatever the number of failures. */
export class NoticeBoard {
  readonly #kinds = new Map<NoticeId, Kind>();

  /**
   * Says that something happened (again). Returns the notice if it is worth a line in the log: when it is new, and
   * then each time its count doubles, so that a failure repeated a thousand times is ten lines. Rare events are worth
   * a line each.
   */
  raise<Id extends NoticeId>(id: Id, facts: NoticeFacts<Id>, moment: Moment): Notice | null {
    const kind = this.#kind(id);
    const subject = moment.subject ?? "";
    const entry = kind.entries.get(subject);
    if (entry !== undefined) {
      Object.assign(entry, textsOf(id, facts), { lastMs: moment.nowMs, count: entry.count + 1 });
      const isRare = (NOTICES[id] as NoticeKind).isRare === true;
      return isRare || isPowerOfTwo(entry.count) ? noticeOf(id, entry) : null;
    }
    const added = { ...textsOf(id, facts), sinceMs: moment.nowMs, lastMs: moment.nowMs, count: 1 };
    if (kind.entries.size < MAX_SUBJECTS) kind.entries.set(subject, added);
    else if (!isPowerOfTwo(++kind.unnamed)) return null;
    return noticeOf(id, added);
  }

  /** Says that something is so; saying it again only renews the text. Returns the notice if it is new. */
  hold<Id extends NoticeId>(id: Id, facts: NoticeFacts<Id>, moment: Moment): Notice | null {
    const { entries } = this.#kind(id);
    const subject = moment.subject ?? "";
    const entry = entries.get(subject);
    if (entry !== undefined) {
      Object.assign(entry, textsOf(id, facts), { lastMs: moment.nowMs });
      return null;
    }
    const added = { ...textsOf(id, facts), sinceMs: moment.nowMs, lastMs: moment.nowMs, count: 1 };
    entries.set(subject, added);
    return noticeOf(id, added);
  }

  /** Says of which subjects something is so: exactly of these. Returns the new ones with their subjects. */
  holdExactly<Id extends NoticeId>(
    id: Id,
    facts: ReadonlyMap<string, NoticeFacts<Id>>,
    nowMs: number,
  ): [string, Notice][] {
    const { entries } = this.#kind(id);
    for (const subject of entries.keys()) {
      if (!facts.has(subject)) entries.delete(subject);
    }
    return [...facts].flatMap(([subject, subjectFacts]): [string, Notice][] => {
      const notice = this.hold(id, subjectFacts, { nowMs, subject });
      return notice ? [[subject, notice]] : [];
    });
  }

  /** Says that it is no longer so; without a subject for all of the kind. Returns since when it was so, or null. */
  clear(id: NoticeId, subject?: string): number | null {
    const entries = this.#kinds.get(id)?.entries ?? new Map<string, Entry>();
    const gone =
      subject === undefined ? [...entries.values()] : [entries.get(subject)].filter((e) => e !== undefined);
    if (subject === undefined) this.#kinds.delete(id);
    else entries.delete(subject);
    return gone.length === 0 ? null : earliest(gone);
  }

  has(id: NoticeId): boolean {
    return (this.#kinds.get(id)?.entries.size ?? 0) > 0;
  }

  /** What to show, worst first, then newest first. Events that are past their time are forgotten. */
  list(nowMs: number): Notice[] {
    const notices: Notice[] = [];
    for (const [id, kind] of this.#kinds) {
      forgetOld(kind, NOTICES[id].shownForMs, nowMs);
      if (kind.entries.size === 0) this.#kinds.delete(id);
      else notices.push(...listKind(id, kind));
    }
    return notices.toSorted(
      (a, b) => RANK[a.level] - RANK[b.level] || Date.parse(b.since) - Date.parse(a.since),
    );
  }

  #kind(id: NoticeId): Kind {
    const known = this.#kinds.get(id);
    if (known !== undefined) return known;
    const kind: Kind = { entries: new Map(), unnamed: 0 };
    this.#kinds.set(id, kind);
    return kind;
  }
}

const RANK = { error: 0, warn: 1, info: 2 } as const;

function textsOf<Id extends NoticeId>(id: Id, facts: NoticeFacts<Id>): { message: string; mend: string } {
  return { message: noticeText(NOTICES[id].message, facts), mend: noticeText(NOTICES[id].mend, facts) };
}

function isPowerOfTwo(count: number): boolean {
  return Number.isInteger(Math.log2(count));
}

function forgetOld(kind: Kind, shownForMs: number | "until cleared", nowMs: number): void {
  if (shownForMs === "until cleared") return;
  for (const [subject, entry] of kind.entries) {
    if (entry.lastMs + shownForMs <= nowMs) kind.entries.delete(subject);
  }
}

function listKind(id: NoticeId, kind: Kind): Notice[] {
  const entries = [...kind.entries.values()];
  const [first] = entries;
  const total = entries.length + kind.unnamed;
  if (first === undefined || total <= TOLD_ONE_BY_ONE) return entries.map((entry) => noticeOf(id, entry));
  const names = [...kind.entries.keys()].slice(0, TOLD_ONE_BY_ONE).join(", ");
  return [
    noticeOf(id, {
      ...first,
      message: `${first.message} The same holds for ${humanCount(total)} in all: ${names}, …`,
      sinceMs: earliest(entries),
      count: Math.max(...entries.map(({ count }) => count)),
    }),
  ];
}

function noticeOf(id: NoticeId, entry: Entry): Notice {
  const { message, mend, count } = entry;
  return { id, level: NOTICES[id].level, message, mend, since: new Date(entry.sinceMs).toISOString(), count };
}

function earliest(entries: readonly Entry[]): number {
  return Math.min(...entries.map(({ sinceMs }) => sinceMs));
}
