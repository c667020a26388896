import type { ServerSituation } from "../../src/daemon/preflight/server.ts";
import type { ServerFacts } from "../../src/postgres/preflight/server-facts.ts";

/** A server that is as it should be. */
export const FACTS: ServerFacts = {
  version: 16,
  versionText: "16.4",
  platform: "other",
  inRecovery: false,
  walLevel: "logical",
  user: "loader",
  database: "app",
  isSuperuser: false,
  seesActivity: true,
  mayCreateInDatabase: true,
  tlsVersion: null,
  slots: { used: 0, max: 10 },
  walSenders: { used: 1, max: 10 },
  connections: { used: 5, max: 100, reserved: 3 },
  roleConnections: { used: 2, max: -1 },
  maxSlotWalKeepBytes: 50 * 1024 ** 3,
  idleSlotTimeoutSeconds: null,
  synchronousStandbyNames: "",
  clockMs: 0,
  transactions: [],
};

/** A first start. */
export const SITUATION: ServerSituation = {
  needsSlot: true,
  needsCopy: true,
  isHeld: false,
  workers: 4,
  applicationName: "pgstage",
  nowMs: 0,
};
