import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { OperatorError, TransientError } from "../../src/core/errors.ts";
import type { Check } from "../../src/daemon/preflight/check.ts";
import { checkConnected } from "../../src/daemon/preflight/connection.ts";
import { checkEndpoint } from "../../src/daemon/preflight/endpoint.ts";
import { checkServer, checkWalSenderTimeout } from "../../src/daemon/preflight/server.ts";
import { checkLog } from "../../src/daemon/preflight/stage.ts";
import { probeStore } from "../../src/stores/probe.ts";
import type { Reading } from "../../src/delivery/log.ts";
import type { ServerFacts } from "../../src/postgres/preflight/server-facts.ts";
import { MemoryStage, MemoryStore } from "../support/memory-store.ts";
import { ROOT } from "../docs/readme.ts";
import { FACTS, SITUATION } from "./server-facts.ts";

const RDS = "cxyzabc12345.eu-west-1.rds.amazonaws.com";
const SOURCE = {
  host: "db.example.com",
  port: 5432,
  user: "loader",
  database: "app",
  slot: "pgstage",
  auth: "password",
} as const;
const SESSION = { user: "loader", database: "app", tlsVersion: null };

/** A server with this wrong, and what one check says of it. */
function server(name: string, facts: Partial<ServerFacts>): () => Check | undefined {
  return () => checkServer({ ...FACTS, ...facts }, SITUATION).find((check) => check.name === name);
}

function tls(mode: "require" | "disable"): () => Check | undefined {
  return () => checkConnected({ ...SOURCE, tls: mode }, SESSION).find(({ name }) => name === "TLS");
}

function probe(name: string, spoil: (store: MemoryStore) => void): () => Promise<Check | undefined> {
  return async () => {
    const store = new MemoryStore(new MemoryStage());
    spoil(store);
    return (await probeStore(store)).find((check) => check.name === name);
  };
}

const denied = (): Promise<never> => Promise.reject(new OperatorError("access denied", "allow it"));

type Case = readonly [
  name: string,
  verdict: string,
  found: string,
  mend: string,
  check: () => Check | undefined | Promise<Check | undefined>,
];

const CASES: readonly Case[] = [
  [
    "endpoint",
    "fail",
    "is an RDS Proxy",
    "the endpoint of the instance",
    () => checkEndpoint(`a.proxy-${RDS}`),
  ],
  [
    "endpoint",
    "fail",
    "is a reader endpoint",
    `a.cluster-${RDS}`,
    () => checkEndpoint(`a.cluster-ro-${RDS}`),
  ],
  [
    "endpoint",
    "warn",
    "is a custom endpoint",
    "writer endpoint",
    () => checkEndpoint(`a.cluster-custom-${RDS}`),
  ],
  [
    "endpoint",
    "warn",
    "the green side",
    "resync --all --new-source",
    () => checkEndpoint(`a-green-1b2c3d.${RDS}`),
  ],
  ["TLS", "warn", "to whoever answers", "set source.tls to verify-full", tls("require")],
  ["TLS", "warn", "in the clear", "set source.tls to verify-full", tls("disable")],
  [
    "WAL sender timeout",
    "warn",
    "wal_sender_timeout is off",
    "startup options",
    () => checkWalSenderTimeout(0),
  ],
  [
    "server version",
    "fail",
    "12.1: older than 13",
    "upgrade",
    server("server version", { version: 12, versionText: "12.1" }),
  ],
  ["server version", "warn", "tested up to 18", "on a copy", server("server version", { version: 19 })],
  ["primary", "fail", "is a standby", "to the primary", server("primary", { inRecovery: true })],
  [
    "wal_level",
    "fail",
    "replica: changes cannot be decoded",
    "wal_level = 'logical'",
    server("wal_level", { walLevel: "replica" }),
  ],
  [
    "replication slots",
    "fail",
    "1 of 10 free, 2 needed",
    "max_replication_slots = '12'",
    server("replication slots", { slots: { used: 9, max: 10 } }),
  ],
  [
    "WAL senders",
    "fail",
    "1 of 10 free, 2 needed",
    "max_wal_senders = '12'",
    server("WAL senders", { walSenders: { used: 9, max: 10 } }),
  ],
  [
    "connections",
    "warn",
    "loader may have 3 more, and a copy takes up to 9",
    "CONNECTION LIMIT 11",
    server("connections", { roleConnections: { used: 2, max: 5 } }),
  ],
  [
    "connections",
    "warn",
    "5 of 100 free, and a copy takes up to 9",
    "raise max_connections",
    server("connections", { connections: { used: 92, max: 100, reserved: 3 } }),
  ],
  [
    "WAL limit",
    "warn",
    "until the disk is full",
    "max_slot_wal_keep_size",
    server("WAL limit", { maxSlotWalKeepBytes: null }),
  ],
  [
    "WAL limit",
    "warn",
    "Aurora keeps WAL",
    "",
    server("WAL limit", { maxSlotWalKeepBytes: null, platform: "aurora" }),
  ],
  [
    "WAL limit",
    "warn",
    "is 64 MiB: the slot is lost",
    "as much as the disk can spare",
    server("WAL limit", { maxSlotWalKeepBytes: 64 * 1024 ** 2 }),
  ],
  [
    "idle slot timeout",
    "warn",
    "idle_replication_slot_timeout is 1 h",
    "idle_replication_slot_timeout = '0'",
    server("idle slot timeout", { idleSlotTimeoutSeconds: 3600 }),
  ],
  [
    "synchronous replication",
    "fail",
    "commits wait until pgstage",
    "name the standbys",
    server("synchronous replication", { synchronousStandbyNames: "*" }),
  ],
  [
    "synchronous replication",
    "warn",
    "commits may wait",
    "name the standbys",
    server("synchronous replication", { synchronousStandbyNames: "a, *" }),
  ],
  ["clock", "warn", "the server's is 1 min ahead of", "NTP", server("clock", { clockMs: 60_000 })],
  ["clock", "warn", "behind this machine's", "NTP", server("clock", { clockMs: -60_000 })],
  [
    "stage list",
    "fail",
    "access denied",
    "allow it",
    probe("stage list", (store) => (store.listFolders = denied)),
  ],
  ["stage write", "fail", "access denied", "allow it", probe("stage write", (store) => (store.put = denied))],
  [
    "stage write",
    "fail",
    "was not read back",
    "not a cache's",
    probe("stage write", (store) => (store.get = () => Promise.resolve(null))),
  ],
  [
    "stage conditional write",
    "fail",
    "ignores If-None-Match",
    "two daemons",
    probe("stage conditional write", (store) => (store.putIfAbsent = () => Promise.resolve("created"))),
  ],
  [
    "stage upload",
    "fail",
    "access denied",
    "allow it",
    probe("stage upload", (store) => (store.begin = denied)),
  ],
  [
    "stage conditional publish",
    "warn",
    "lets an upload replace a file",
    "nobody else writes",
    probe("stage conditional publish", (store) => (store.publish = () => Promise.resolve("published"))),
  ],
  [
    "stage uploads",
    "fail",
    "access denied",
    "allow it",
    probe("stage uploads", (store) => (store.discardUploads = denied)),
  ],
  [
    "stage delete",
    "fail",
    "access denied",
    "allow it",
    probe("stage delete", (store) => (store.delete = denied)),
  ],
  [
    "stage log",
    "fail",
    "has format 99",
    "a newer",
    () => checkLog(new OperatorError("x has format 99", "run a newer one")),
  ],
  ["stage log", "fail", "late", "can be reached", () => checkLog(new TransientError("it is late"))],
  [
    "stage log",
    "warn",
    "documents are missing",
    "copies all tables afresh",
    () => checkLog({ damage: "documents are missing" } as Reading),
  ],
];

/** Checks whose failure needs a server, a role or a disk: where each is seen. */
const SEEN_ELSEWHERE: Readonly<Record<string, readonly [file: string, there: string]>> = {
  reachable: ["check-rights.test.ts", 'of("reachable")).toMatchObject({\n      verdict: "fail"'],
  login: ["check-rights.test.ts", 'of("login")).toMatchObject({ verdict: "fail"'],
  replication: ["check-rights.test.ts", 'of("replication")).toMatchObject({ verdict: "fail"'],
  "running transactions": ["check-rights.test.ts", "prepared transaction 'two phase' of postgres"],
  schemas: ["check-rights.test.ts", 'of("schemas")).toMatchObject({\n      verdict: "fail"'],
  tables: ["check-rights.test.ts", 'of("tables")).toMatchObject({ verdict: "warn"'],
  names: ["check-rights.test.ts", 'of("names")).toMatchObject({\n      verdict: "fail"'],
  SELECT: ["check-rights.test.ts", 'of("SELECT")).toMatchObject({ verdict: "fail"'],
  "row security": ["check-rights.test.ts", 'of("row security")).toMatchObject({ verdict: "fail"'],
  "replica identity": ["check-rights.test.ts", "nothing identifies a row of public.bag"],
  "not captured": ["check-rights.test.ts", "public.fast: unlogged"],
  publications: ["check-rights.test.ts", 'of("publications")).toMatchObject({ verdict: "fail"'],
  "source.manage": ["check-rights.test.ts", "by itself pgstage does not: publish new tables"],
  slot: ["check-rights.test.ts", 'of("slot")).toMatchObject({ verdict: "fail"'],
};

describe("check", () => {
  it.each(CASES)("%s: %s, %s", async (...given: Case) => {
    const [name, verdict, found, mend, check] = given;
    const result = await check();
    expect(result).toMatchObject({ name, verdict });
    expect(`${result?.found} ${result?.mend}`).toContain(found);
    expect(result?.mend).toContain(mend);
  });

  it("has no check that no test makes fail", () => {
    const folder = join(ROOT, "src/daemon/preflight");
    const files = [
      ...readdirSync(folder).map((name) => join(folder, name)),
      join(ROOT, "src/stores/probe.ts"),
    ];
    const source = files.map((file) => readFileSync(file, "utf8")).join("\n");
    const named = [
      ...source.matchAll(/const (?:name|NAME) = "([^"]+)"|\b(?:ok|warn|fail|probeStep)\("([^"]+)"/g),
    ].map(([, one, other]) => one ?? other ?? "");
    expect(new Set(named).size).toBeGreaterThan(30);
    const failed = new Set([...CASES.map(([name]) => name), ...Object.keys(SEEN_ELSEWHERE)]);
    expect([...new Set(named)].filter((name) => !failed.has(name))).toEqual([]);
  });

  it.each(Object.entries(SEEN_ELSEWHERE))("%s is made to fail elsewhere", (_name, [file, there]) => {
    const text = readFileSync(join(import.meta.dirname, file), "utf8");
    expect(there.split("|").some((part) => text.includes(part))).toBe(true);
  });
});
