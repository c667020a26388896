import { countOf, humanBytes, humanSeconds } from "../../observe/units.ts";
import { fail, ok, warn, type Check } from "./check.ts";
import type { RunningTransaction, ServerFacts } from "../../postgres/preflight/server-facts.ts";
import { waitsFor } from "./standby-names.ts";

/** The oldest and the newest major version that pgstage is tested with. */
const OLDEST = 13;
const NEWEST = 18;

/** What of the server's state matters for what is about to be done. */
export interface ServerSituation {
  /** A slot of ours is still to be made, so that transactions that run hold it up. */
  readonly needsSlot: boolean;
  /** Tables are still to be copied: each copy needs a temporary slot for a moment. */
  readonly needsCopy: boolean;
  /** Another daemon holds the slot at this moment; what it uses will be ours. */
  readonly isHeld: boolean;
  /** Connections for a copy. */
  readonly workers: number;
  /** What our connections are called. */
  readonly applicationName: string;
  /** Our clock, in milliseconds since 1970, halfway through the question for the server's. */
  readonly nowMs: number;
}

/** Decides about everything that is the server's, not a table's. Pure. */
export function checkServer(facts: ServerFacts, situation: ServerSituation): Check[] {
  return [
    checkVersion(facts),
    checkPrimary(facts),
    checkWalLevel(facts),
    checkSlots(facts, situation),
    checkWalSenders(facts, situation),
    checkConnections(facts, situation),
    checkWalLimit(facts),
    ...checkIdleTimeout(facts),
    checkSynchronous(facts, situation),
    checkTransactions(facts),
    checkClock(facts, situation),
  ];
}

/** How a parameter is set there. */
function setting(facts: ServerFacts, name: string, value: string, restart = false): string {
  switch (facts.platform) {
    case "rds":
      return `set ${name} = ${value} in the DB parameter group${restart ? " and reboot the instance" : ""}`;
    case "aurora":
      return `set ${name} = ${value} in the DB cluster parameter group${restart ? " and reboot the writer" : ""}`;
    case "other":
      return `ALTER SYSTEM SET ${name} = '${value}'; then ${restart ? "restart the server" : "SELECT pg_reload_conf()"}`;
    default:
      return facts.platform satisfies never;
  }
}

const PLATFORMS = { rds: " on RDS", aurora: " on Aurora", other: "" } as const;

function checkVersion(facts: ServerFacts): Check {
  const name = "server version";
  const found = `Postgres ${facts.versionText}${PLATFORMS[facts.platform]}`;
  if (facts.version < OLDEST) {
    return fail(name, `${found}: older than ${OLDEST}`, `upgrade to Postgres ${OLDEST} or later`);
  }
  if (facts.version > NEWEST) {
    return warn(
      name,
      `${found}: pgstage is tested up to ${NEWEST}`,
      "try it on a copy of the database first, or use a newer pgstage",
    );
  }
  return ok(name, found);
}

function checkPrimary(facts: ServerFacts): Check {
  const name = "primary";
  if (!facts.inRecovery) return ok(name, "the server takes writes");
  return fail(
    name,
    "the server is a standby: pgstage needs the primary, where publications and slots are made",
    "set source.url to the primary; on Aurora to the cluster's writer endpoint",
  );
}

function checkWalLevel(facts: ServerFacts): Check {
  const name = "wal_level";
  if (facts.walLevel === "logical") return ok(name, "logical");
  const mend =
    facts.platform === "other"
      ? setting(facts, "wal_level", "logical", true)
      : setting(facts, "rds.logical_replication", "1", true);
  return fail(name, `${facts.walLevel}: changes cannot be decoded`, mend);
}

/** Two at the first start: the pipeline's, and a temporary one for the copy's consistent point. */
function checkSlots(facts: ServerFacts, { needsSlot, needsCopy, isHeld }: ServerSituation): Check {
  const name = "replication slots";
  const { used, max } = facts.slots;
  const free = Math.max(0, max - used);
  const needed = Number(needsSlot) + Number(needsCopy);
  const found = `${free} of ${max} free`;
  const mend = `${setting(facts, "max_replication_slots", String(max + needed), true)}; or drop one that nobody needs: SELECT slot_name, active FROM pg_replication_slots`;
  if (free >= Math.max(1, needed)) return ok(name, found);
  const what =
    needed > 1
      ? "one for the pipeline, and one for a moment while tables are copied"
      : needsSlot
        ? "one for the pipeline"
        : "one for a moment whenever a table is copied";
  if (needed === 0) return warn(name, `${found}: ${what} is needed`, mend);
  return fail(name, `${found}, ${needed} needed: ${what}`, mend, !needsSlot || isHeld);
}

/** One for the stream, one for the moment in which a copy's slot is made. */
function checkWalSenders(facts: ServerFacts, { isHeld }: ServerSituation): Check {
  const name = "WAL senders";
  const { used, max } = facts.walSenders;
  const free = Math.max(0, max - used);
  const needed = isHeld ? 1 : 2;
  const found = `${free} of ${max} free`;
  if (free >= needed) return ok(name, found);
  return fail(
    name,
    `${found}, ${needed} needed: for the stream, and for a moment while tables are copied`,
    setting(facts, "max_wal_senders", String(max + 2), true),
    true,
  );
}

/** Beside the workers: statements, requests of `resync`, a second copy session, and for each session who waits behind it. */
const OTHER_CONNECTIONS = 5;

function checkConnections(facts: ServerFacts, { workers, isHeld }: ServerSituation): Check {
  const name = "connections";
  const needed = isHeld ? 0 : workers + OTHER_CONNECTIONS;
  const { used, max, reserved } = facts.connections;
  const role = facts.roleConnections;
  const free = Math.max(0, max - reserved - used);
  const roleFree = role.max < 0 ? Number.POSITIVE_INFINITY : Math.max(0, role.max - role.used);
  if (roleFree < needed) {
    return warn(
      name,
      `${facts.user} may have ${roleFree} more, and a copy takes up to ${needed}`,
      `ALTER ROLE "${facts.user}" CONNECTION LIMIT ${role.used + needed}, or lower snapshot.workers`,
    );
  }
  if (free < needed) {
    return warn(
      name,
      `${free} of ${max} free, and a copy takes up to ${needed}`,
      "raise max_connections, or lower snapshot.workers",
    );
  }
  return ok(name, `${free} of ${max} free`);
}

/** Less is used up by a busy server while pgstage is redeployed. */
const LITTLE_WAL_BYTES = 1024 ** 3;

function checkWalLimit(facts: ServerFacts): Check {
  const name = "WAL limit";
  const bytes = facts.maxSlotWalKeepBytes;
  if (bytes === null) {
    return warn(
      name,
      "max_slot_wal_keep_size is not set: while pgstage is down, WAL piles up until the disk is full",
      facts.platform === "aurora"
        ? "watch pgstage's WAL metrics, and the volume: Aurora keeps WAL in its own storage"
        : `${setting(facts, "max_slot_wal_keep_size", "50GB")}: as much as the disk can spare`,
    );
  }
  if (bytes < LITTLE_WAL_BYTES) {
    return warn(
      name,
      `max_slot_wal_keep_size is ${humanBytes(bytes)}: the slot is lost once pgstage is so far behind, and everything is copied afresh`,
      `${setting(facts, "max_slot_wal_keep_size", "50GB")}: as much as the disk can spare`,
    );
  }
  return ok(name, `max_slot_wal_keep_size is ${humanBytes(bytes)}`);
}

const DAY_SECONDS = 86_400;

function checkIdleTimeout(facts: ServerFacts): Check[] {
  const name = "idle slot timeout";
  const seconds = facts.idleSlotTimeoutSeconds;
  if (seconds === null) return [];
  if (seconds === 0) return [ok(name, "off: a slot that nobody reads is kept")];
  const found = `idle_replication_slot_timeout is ${humanSeconds(seconds)}: the slot is lost when pgstage is down for longer`;
  if (seconds >= 3 * DAY_SECONDS) return [ok(name, found)];
  return [
    warn(
      name,
      found,
      `${setting(facts, "idle_replication_slot_timeout", "0")}; max_slot_wal_keep_size bounds what a forgotten slot costs`,
    ),
  ];
}

function checkSynchronous(facts: ServerFacts, { applicationName }: ServerSituation): Check {
  const name = "synchronous replication";
  const value = facts.synchronousStandbyNames;
  const waits = waitsFor(value, applicationName);
  if (waits === "never") return ok(name, value === "" ? "off" : "does not wait for pgstage");
  const found = `synchronous_standby_names = '${value}' matches ${applicationName}: the application's commits ${waits === "always" ? "" : "may "}wait until pgstage has staged them`;
  const mend = `name the standbys in synchronous_standby_names, so that '*' or "${applicationName}" does not stand there`;
  return waits === "always" ? fail(name, found, mend) : warn(name, found, mend);
}

function checkTransactions(facts: ServerFacts): Check {
  const name = "running transactions";
  const known = facts.transactions.filter((one) => one.ageSeconds !== null);
  const unknown = facts.transactions.length - known.length;
  if (known.length > 0) {
    return warn(
      name,
      `a new slot and every copy wait for ${known.map(transactionWords).join("; ")}`,
      `end them: commit, or ${known.map(({ end }) => end).join("; ")}`,
    );
  }
  if (unknown > 0 || !facts.seesActivity) {
    const found =
      unknown > 0
        ? `${countOf(unknown, "transaction")} of other roles; for how long cannot be seen`
        : "none is seen to run long";
    return {
      name,
      verdict: "ok",
      found,
      mend: `GRANT pg_read_all_stats TO "${facts.user}" shows since when others' transactions run`,
    };
  }
  return ok(name, "none runs long");
}

function transactionWords({ who, ageSeconds }: RunningTransaction): string {
  return `${who}, for ${humanSeconds(ageSeconds ?? 0)}`;
}

/** Lag is told by commit times; S3 refuses requests that are off by 15 minutes. */
const CLOCK_SKEW_MS = 30_000;

function checkClock(facts: ServerFacts, { nowMs }: ServerSituation): Check {
  const name = "clock";
  const skewMs = facts.clockMs - nowMs;
  if (Math.abs(skewMs) < CLOCK_SKEW_MS) return ok(name, "this machine's and the server's agree");
  const found = `the server's is ${humanSeconds(Math.abs(skewMs) / 1000)} ${skewMs > 0 ? "ahead of" : "behind"} this machine's`;
  return warn(name, found, "set both by NTP; S3 refuses requests of a machine that is off by 15 minutes");
}

/** The walsender's timeout is set by our own connections; `seconds` is what came of it. */
export function checkWalSenderTimeout(seconds: number): Check {
  const name = "WAL sender timeout";
  if (seconds > 0 && seconds <= 120) return ok(name, `${humanSeconds(seconds)} for pgstage's connections`);
  return warn(
    name,
    `wal_sender_timeout is ${seconds === 0 ? "off" : humanSeconds(seconds)} for pgstage's connections: the server keeps the slot busy when a machine of ours vanishes`,
    "see that nothing between here and the server removes startup options",
  );
}
