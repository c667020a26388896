import { describe, expect, it } from "vitest";
import { renderChecks } from "../../src/commands/check-text.ts";
import { checkEndpoint } from "../../src/daemon/preflight/endpoint.ts";
import {
  checkServer,
  checkWalSenderTimeout,
  type ServerSituation,
} from "../../src/daemon/preflight/server.ts";
import { waitsFor } from "../../src/daemon/preflight/standby-names.ts";
import { resolveTables } from "../../src/daemon/table-names.ts";
import type { ServerFacts } from "../../src/postgres/preflight/server-facts.ts";
import { FACTS, SITUATION } from "./server-facts.ts";

describe("endpoints of AWS", () => {
  const id = "cxyzabc12345.eu-west-1.rds.amazonaws.com";
  it.each([
    ["db.example.com", "ok"],
    [`shop.${id}`, "ok"],
    [`shop.cluster-${id}`, "ok"],
    [`proxy-shop.${id}`, "ok"],
    [`shop.proxy-${id}`, "fail"],
    [`shop-ro.endpoint.proxy-${id}`, "fail"],
    [`shop.cluster-ro-${id}`, "fail"],
    [`shop.CLUSTER-RO-${id}`, "fail"],
    [`shop.cluster-custom-${id}`, "warn"],
    [`shop-green-a1b2c3.${id}`, "warn"],
    [`shop.cluster-ro-cxyz.cn-north-1.rds.amazonaws.com.cn`, "fail"],
  ])("%s: %s", (host, verdict) => {
    expect(checkEndpoint(host).verdict).toBe(verdict);
  });

  it("names the writer's endpoint beside a reader's", () => {
    expect(checkEndpoint(`shop.cluster-ro-${id}`).mend).toContain(`shop.cluster-${id}`);
  });
});

describe("synchronous_standby_names", () => {
  it.each([
    ["", "never"],
    ["replica_1, replica_2", "never"],
    ["*", "always"],
    ["pgstage", "always"],
    ['"PGSTAGE"', "always"],
    ["replica_1, *", "perhaps"],
    ["FIRST 2 (replica_1, *)", "always"],
    ["first 1 (replica_1, pgstage)", "perhaps"],
    ["ANY 1 (replica_1, replica_2, *)", "perhaps"],
    ["ANY 2 (replica_1, pgstage)", "always"],
    ["2 (a, b, pgstage)", "perhaps"],
    ['"a ""quoted"" name, pgstage"', "never"],
  ])("%s: commits wait %s", (setting, waits) => {
    expect(waitsFor(setting, "pgstage")).toBe(waits);
  });
});

describe("the server", () => {
  const problems = (facts: Partial<ServerFacts>, situation: Partial<ServerSituation> = {}): string[] =>
    checkServer({ ...FACTS, ...facts }, { ...SITUATION, ...situation })
      .filter(({ verdict }) => verdict !== "ok")
      .map(({ name, verdict, passing }) => `${verdict} ${name}${passing ? " (passing)" : ""}`);

  it("has no problem", () => expect(problems({})).toEqual([]));

  it.each<[string, Partial<ServerFacts>, Partial<ServerSituation>, string[]]>([
    ["is too old", { version: 12, versionText: "12.1" }, {}, ["fail server version"]],
    ["is newer than what was tested", { version: 19 }, {}, ["warn server version"]],
    ["has one slot left at the first start", { slots: { used: 9, max: 10 } }, {}, ["fail replication slots"]],
    [
      "has no slot left to copy with",
      { slots: { used: 10, max: 10 } },
      { needsSlot: false },
      ["fail replication slots (passing)"],
    ],
    [
      "has no slot left, and nothing to copy",
      { slots: { used: 10, max: 10 } },
      { needsSlot: false, needsCopy: false },
      ["warn replication slots"],
    ],
    [
      "has no slot left but the one in use",
      { slots: { used: 10, max: 10 } },
      { isHeld: true },
      ["fail replication slots (passing)"],
    ],
    ["limits the role's connections", { roleConnections: { used: 2, max: 5 } }, {}, ["warn connections"]],
    [
      "has few connections left",
      { connections: { used: 92, max: 100, reserved: 3 } },
      {},
      ["warn connections"],
    ],
    ["does so beside a daemon", { connections: { used: 92, max: 100, reserved: 3 } }, { isHeld: true }, []],
    ["keeps WAL without limit", { maxSlotWalKeepBytes: null }, {}, ["warn WAL limit"]],
    ["has another time", { clockMs: 60_000 }, {}, ["warn clock"]],
    ["drops idle slots after a week", { idleSlotTimeoutSeconds: 7 * 86_400 }, {}, []],
  ])("%s", (_, facts, situation, expected) => {
    expect(problems(facts, situation)).toEqual(expected);
  });

  it("keeps a dead connection's slot busy", () => {
    expect(checkWalSenderTimeout(15).verdict).toBe("ok");
    expect(checkWalSenderTimeout(0).verdict).toBe("warn");
    expect(checkWalSenderTimeout(600).found).toContain("10 min");
  });
});

describe("names of tables", () => {
  const tables = [
    "public.orders",
    "public.Orders",
    "public.order_lines",
    "sales.orders",
    'public.a "b" c',
    "public.x.y",
  ].map((name) => ({ schema: name.slice(0, name.indexOf(".")), name: name.slice(name.indexOf(".") + 1) }));
  it.each([
    ["orders", ["public.orders"]],
    ["Orders", ["public.Orders"]],
    ["ORDERS", ["public.orders"]],
    ["SALES.Orders", ["sales.orders"]],
    ['"Orders"', ["public.Orders"]],
    ['public."a ""b"" c"', ['public.a "b" c']],
    ["x.y", ["public.x.y"]],
    ["public.order*", ["public.orders", "public.order_lines"]],
    ["*.orders", ["public.orders", "sales.orders"]],
    ["order?lines", ["public.order_lines"]],
    ["nothing", []],
    ["public.", []],
    ["", []],
  ])("%s", (asked, names) => {
    expect(resolveTables([asked], tables).names).toEqual(names);
  });

  it("suggests the nearest", () => {
    expect(resolveTables(["sales.order"], tables).unknown).toEqual([
      { asked: "sales.order", nearest: "sales.orders" },
    ]);
    expect(resolveTables(["zzzzzzzz"], tables).unknown).toEqual([{ asked: "zzzzzzzz", nearest: null }]);
  });
});

describe("the text", () => {
  const checks = [
    { name: "login", verdict: "ok", found: "as loader", mend: "" },
    {
      name: "SELECT",
      verdict: "fail",
      found: "loader may not read public.a\u001b[31m",
      mend: "GRANT SELECT ON a TO loader",
    },
    { name: "slot", verdict: "skip", found: "not connected", mend: "" },
    { name: "clock", verdict: "skip", found: "not connected", mend: "" },
  ] as const;

  it("breaks lines at the terminal's width and folds what was skipped", () => {
    expect(renderChecks(checks, { color: false, width: 64 })).toBe(
      [
        "ok    login     as loader",
        "fail  SELECT    loader may not read public.a\\u{1b}[31m",
        "                → GRANT SELECT ON a TO loader",
        "skip  2 others  not connected: slot, clock",
        "",
        "1 check failed. What stands behind → mends it.",
        "",
      ].join("\n"),
    );
    const narrow = renderChecks(
      [{ name: "n", verdict: "warn", found: "word ".repeat(30).trim(), mend: "" }],
      { color: false, width: 60 },
    );
    expect(Math.max(...narrow.split("\n").map(({ length }) => length))).toBeLessThanOrEqual(60);
    expect(narrow.split("\n")[1]).toMatch(/^ {9}word/);
  });

  it("has colours only if asked", () => {
    expect(renderChecks(checks, { color: true })).toContain("\u001b[31mfail\u001b[0m");
  });
});
