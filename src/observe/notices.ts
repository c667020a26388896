import type { Notice } from "../core/status.ts";

/**
 * Everything that an operator should know or do, as a catalogue: the log, `/status`, the page and `status` say it
 * in the same words, and the operations chapter of the README has an entry for each id.
 */

export interface NoticeKind {
  readonly level: Notice["level"];
  /** Constant `msg` of the log line, and the heading in the README. */
  readonly title: string;
  /** With `{facts}`. */
  readonly message: string;
  /** What to do, with `{facts}`; empty if there is nothing to do. */
  readonly mend: string;
  /** A condition stands until it is cleared; an event is shown for this long. */
  readonly shownForMs: number | "until cleared";
  /** An event that is logged each time, and not ever more rarely when it repeats. */
  readonly isRare?: boolean;
}

const HOUR = 3_600_000;
const DAY = 24 * HOUR;

export const NOTICES = {
  blocked: {
    level: "error",
    title: "blocked",
    message: "{problem}",
    mend: "{todo}",
    shownForMs: "until cleared",
  },
  standby: {
    level: "info",
    title: "standby",
    message: "Another daemon holds the slot {slot}; this one takes over when that one ends.",
    mend: "",
    shownForMs: "until cleared",
  },
  "source-unreachable": {
    level: "error",
    title: "source unreachable",
    message: "The database does not answer: {problem}",
    mend: "See whether the server is up and reachable from here; pgstage keeps trying and goes on where it was.",
    shownForMs: "until cleared",
  },
  "store-failing": {
    level: "error",
    title: "stage unreachable",
    message: "The stage cannot be used: {problem}",
    mend: "See to the bucket or directory, its permissions and the network; pgstage keeps trying, and WAL waits at the source meanwhile.",
    shownForMs: "until cleared",
  },
  "store-silent": {
    level: "warn",
    title: "stage silent",
    message: "The stage has been asked and does not answer: {what}.",
    mend: "See whether the network or the bucket is slow or cut off; pgstage keeps waiting, and asks again when the request times out.",
    shownForMs: "until cleared",
  },
  "store-slow": {
    level: "warn",
    title: "stage slow",
    message:
      "Publishing the last batch took {took}, longer than flush.interval ({interval}); lag grows with it.",
    mend: "See whether the network or the bucket is slow, or raise flush.interval for fewer and larger files.",
    shownForMs: "until cleared",
  },
  "wal-50": {
    level: "warn",
    title: "WAL budget half used",
    message:
      "The slot keeps {retained} of WAL, {percent} of what max_slot_wal_keep_size allows; {budget} left{exhaustion}.",
    mend: "Find out what holds the WAL, a stage that is behind or a long transaction, before the slot is lost.",
    shownForMs: "until cleared",
  },
  "wal-75": {
    level: "warn",
    title: "WAL budget three quarters used",
    message:
      "The slot keeps {retained} of WAL, {percent} of what max_slot_wal_keep_size allows; {budget} left{exhaustion}.",
    mend: "Mend the stage or end the transaction that holds the WAL, or raise max_slot_wal_keep_size if the disk has room.",
    shownForMs: "until cleared",
  },
  "wal-90": {
    level: "error",
    title: "WAL budget nearly used up",
    message:
      "The slot keeps {retained} of WAL, {percent} of what max_slot_wal_keep_size allows; {budget} left{exhaustion}.",
    mend: "Raise max_slot_wal_keep_size now (it takes a reload, no restart), mend the stage, or end the transaction that holds the WAL: a lost slot means copying everything afresh.",
    shownForMs: "until cleared",
  },
  "wal-unlimited": {
    level: "warn",
    title: "WAL grows without a limit",
    message:
      "The slot keeps {retained} of WAL and max_slot_wal_keep_size sets no limit: the source's disk may fill up.",
    mend: "Mend what holds the stage back, and set max_slot_wal_keep_size to what the disk can spare.",
    shownForMs: "until cleared",
  },
  "wal-held-by-transaction": {
    level: "warn",
    title: "WAL held by a transaction of the application",
    message:
      "The stage is current, but {retained} of WAL stay at the source because a transaction that began long ago is still open: {holder}.",
    mend: "End that transaction: commit it, or SELECT pg_terminate_backend(pid). Prepared ones: SELECT * FROM pg_prepared_xacts.",
    shownForMs: "until cleared",
  },
  "slot-creation-waits": {
    level: "warn",
    title: "slot creation waits",
    message:
      "A copy or the stream cannot begin: Postgres makes a slot only when every transaction that runs now has ended. It waits for {holder}.",
    mend: "End that transaction: commit it, or SELECT pg_terminate_backend(pid).",
    shownForMs: "until cleared",
  },
  "copies-wait": {
    level: "error",
    title: "copies wait",
    message: "No copy can begin, which is tried again; the stream goes on: {problem}",
    mend: "{todo}",
    shownForMs: "until cleared",
  },
  "lock-waits": {
    level: "warn",
    title: "lock waits",
    message: "The copy of {table} waits for a lock that {holder} holds; it gives way and tries again.",
    mend: "Nothing, if it passes. Otherwise end that session: SELECT pg_terminate_backend(pid).",
    shownForMs: "until cleared",
  },
  "publication-waits": {
    level: "warn",
    title: "publication waits",
    message:
      "{table} cannot enter or leave its publication while {holder} has locked it: a new table is not captured until then.",
    mend: "Nothing, if it passes. Otherwise end that session: SELECT pg_terminate_backend(pid).",
    shownForMs: "until cleared",
  },
  "table-without-identity": {
    level: "warn",
    title: "table without identity",
    message:
      "Nothing identifies a row of {table}: its inserts and truncates are captured, updates and deletes are not.",
    mend: "ALTER TABLE {name} ADD PRIMARY KEY (…), or ALTER TABLE {name} REPLICA IDENTITY FULL; pgstage then copies it afresh by itself.",
    shownForMs: "until cleared",
  },
  "table-not-captured": {
    level: "warn",
    title: "table not captured",
    message: "{table} is not captured: {reason}.",
    mend: "Change the table, or name it in source.exclude to say that it is meant so.",
    shownForMs: "until cleared",
  },
  "copy-refused": {
    level: "error",
    title: "copy refused",
    message: "{table} cannot be copied: {problem}",
    mend: "Give the user of source.url SELECT on the table, and BYPASSRLS if it has row-level security; correct a value that the message is about; or name the table in source.exclude. It is tried again every minute.",
    shownForMs: HOUR,
  },
  "shape-changed": {
    level: "info",
    title: "shape changed",
    message: "The columns of {table} changed: {change}. Its next files have the new header.",
    mend: "",
    shownForMs: DAY,
    isRare: true,
  },
  "copied-afresh": {
    level: "info",
    title: "table copied afresh",
    message: "{table} is copied afresh: {reason}.",
    mend: "",
    shownForMs: DAY,
    isRare: true,
  },
  "value-too-large": {
    level: "warn",
    title: "value too large for Snowflake's default",
    message:
      "{table} has a value of {size} in {column}; a Snowflake VARCHAR without a length ends at 16 MiB.",
    mend: "Declare the landing column VARCHAR(134217728), as `pgstage sql` does; a value over 128 MiB cannot be loaded at all.",
    shownForMs: DAY,
  },
  "row-large": {
    level: "warn",
    title: "large row",
    message: "{table} has a row of {size}; memory grows in proportion to rows over 16 MiB.",
    mend: "Give the container room for it (several times the row), or keep such values out of the table.",
    shownForMs: DAY,
  },
  quiet: {
    level: "info",
    title: "no commit for an hour",
    message: "No captured table has changed for {quiet}.",
    mend: "Nothing, if the application is idle. Otherwise see whether it writes to the tables that `pgstage status` lists.",
    shownForMs: "until cleared",
  },
} as const satisfies Record<string, NoticeKind>;

export type NoticeId = keyof typeof NOTICES;

type Placeholders<T extends string> = T extends `${string}{${infer Name}}${infer Rest}`
  ? Name | Placeholders<Rest>
  : never;

/** What the texts of a kind need to know. */
export type NoticeFacts<Id extends NoticeId> = Readonly<
  Record<Placeholders<(typeof NOTICES)[Id]["message"] | (typeof NOTICES)[Id]["mend"]>, string>
>;

export function noticeText(template: string, facts: Readonly<Record<string, string>>): string {
  return template.replace(/\{(\w+)\}/g, (whole, name: string) => facts[name] ?? whole);
}
