import * as zlib from "node:zlib";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parseDuration, parseSize } from "../../src/settings/formats.ts";
import { loadSettings } from "../../src/settings/load.ts";
import { settingsTable } from "../../src/settings/schema.ts";
import { describeSource } from "../../src/settings/settings.ts";
import { BASE, problemsBeside, problemsOf } from "./settings-support.ts";

describe("defaults", () => {
  it("are the contract's", () => {
    expect(loadSettings({ env: BASE })).toEqual({
      source: {
        host: "db.example.com",
        port: 5432,
        user: "me",
        password: "pw",
        database: "app",
        auth: "password",
        tls: "verify-full",
        slot: "pgstage",
        publication: "pgstage",
        schemas: ["public"],
        include: [],
        exclude: [],
        manage: true,
      },
      stage: { url: "s3://bucket/prefix" },
      format: { compression: "gzip", metadataPrefix: "_" },
      flush: { intervalMs: 60_000, maxBytes: 256 * 2 ** 20 },
      file: { maxBytes: 512 * 2 ** 20 },
      snapshot: { workers: 4, rangeBytes: 256 * 2 ** 20, maxAgeMs: 30 * 60_000, maxBytesPerSecond: 0 },
      memory: { maxBytes: 256 * 2 ** 20 },
      discovery: { intervalMs: 60_000 },
      http: { host: "127.0.0.1", port: 8080 },
      log: { level: "info", format: "json", lagIntervalMs: 10_000 },
      shutdown: { timeoutMs: 25_000 },
    });
  });

  it("make the log pretty on a terminal only", () => {
    expect(loadSettings({ env: BASE, isTerminal: true }).log.format).toBe("pretty");
    expect(loadSettings({ env: { ...BASE, PGSTAGE_LOG_FORMAT: "json" }, isTerminal: true }).log.format).toBe(
      "json",
    );
  });
});

describe("names", () => {
  it("follow one rule in the environment", () => {
    for (const { key, env } of settingsTable()) {
      expect(env).toBe(`PGSTAGE_${key.replace(".", "_").replaceAll(/[A-Z]/g, "_$&").toUpperCase()}`);
    }
    const names = settingsTable().map(({ env }) => env);
    expect(names).toContain("PGSTAGE_FLUSH_INTERVAL");
    expect(names).toContain("PGSTAGE_SNAPSHOT_RANGE_BYTES");
    expect(new Set(names).size).toBe(names.length);
  });

  it("are not those that Kubernetes gives to a service called pgstage", () => {
    const links = {
      PGSTAGE_SERVICE_HOST: "10.0.0.1",
      PGSTAGE_SERVICE_PORT: "8080",
      PGSTAGE_SERVICE_PORT_METRICS: "8080",
      PGSTAGE_PORT: "tcp://10.0.0.1:8080",
      PGSTAGE_PORT_8080_TCP: "tcp://10.0.0.1:8080",
      PGSTAGE_PORT_8080_TCP_ADDR: "10.0.0.1",
      PGSTAGE_HTTP_PORT: "tcp://10.0.0.1:8080",
    };
    expect(loadSettings({ env: { ...BASE, ...links } }).http.port).toBe(8080);
  });
});

describe("formats", () => {
  it.each([
    ["500ms", 500],
    ["60s", 60_000],
    ["1.5m", 90_000],
    ["1h", 3_600_000],
    ["2 d", 172_800_000],
    ["60", undefined],
    ["-1s", undefined],
    ["1w", undefined],
    ["1e3s", undefined],
    ["", undefined],
    ["constructor", undefined],
    ["1toString", undefined],
  ])("the duration %j is %s ms", (text, ms) => {
    expect(parseDuration(text)).toBe(ms);
  });

  it.each([
    ["64MiB", 64 * 2 ** 20],
    ["64 mib", 64 * 2 ** 20],
    ["1GB", 1e9],
    ["1kB", 1000],
    ["1KiB", 1024],
    ["0.5GiB", 2 ** 29],
    ["123", 123],
    ["0", 0],
    ["1Mi", undefined],
    ["9999999TiB", undefined],
    ["1e3", undefined],
    ["-1", undefined],
  ])("the size %j is %s bytes", (text, bytes) => {
    expect(parseSize(text)).toBe(bytes);
  });

  it("no text makes a number that is not whole and safe", () => {
    fc.assert(
      fc.property(
        fc.oneof(fc.string(), fc.stringMatching(/^\d{1,30}(\.\d{1,30})?(ms|s|m|h|d|B|kB|MiB|TiB)?$/)),
        (text) => {
          for (const value of [parseDuration(text), parseSize(text)]) {
            if (value !== undefined) expect(Number.isSafeInteger(value) && value >= 0).toBe(true);
          }
        },
      ),
    );
  });

  it.each([
    ["PGSTAGE_FLUSH_INTERVAL", "60", '"60" is not a duration such as 500ms, 60s, 15m or 1h'],
    ["PGSTAGE_FLUSH_INTERVAL", "1ms", "1ms is too small: at least 100ms"],
    ["PGSTAGE_FLUSH_INTERVAL", "30d", "30d is too large: at most 24d"],
    ["PGSTAGE_FILE_MAX_BYTES", "lots", '"lots" is not a size such as 64MiB'],
    ["PGSTAGE_FILE_MAX_BYTES", "1KiB", "1KiB is too small: at least 64KiB (smaller files"],
    ["PGSTAGE_FILE_MAX_BYTES", "1TiB", "1TiB is too large: at most 16GiB"],
    ["PGSTAGE_FLUSH_MAX_BYTES", "0", "0B is too small: at least 64KiB"],
    ["PGSTAGE_SNAPSHOT_WORKERS", "0", "0 is too small: at least 1"],
    ["PGSTAGE_SNAPSHOT_WORKERS", "1e3", '"1e3" is not a whole number'],
    ["PGSTAGE_SNAPSHOT_WORKERS", "1.5", '"1.5" is not a whole number'],
    ["PGSTAGE_MEMORY_MAX", "64MiB", "64MiB is too small: at least 128MiB (Node with its libraries"],
    ["PGSTAGE_HTTP_PORT", "65536", "65536 is too large: at most 65535"],
    ["PGSTAGE_SOURCE_MANAGE", "maybe", '"maybe" is not true or false'],
    ["PGSTAGE_LOG_LEVEL", "loud", '"loud" is not one of trace, debug, info, warn, error'],
    ["PGSTAGE_SOURCE_TLS", "prefer", '"prefer" is not one of verify-full, require, disable'],
    ["PGSTAGE_FORMAT_COMPRESSION", "bzip2", '"bzip2" is not one of gzip, zstd, none'],
    ["PGSTAGE_FORMAT_METADATA_PREFIX", "a b", '"a b" is not 1 to 32 letters'],
    ["PGSTAGE_SOURCE_SLOT", "My-Slot", '"My-Slot" is not a slot name'],
    ["PGSTAGE_SOURCE_SLOT", "s".repeat(64), "is not a slot name"],
    ["PGSTAGE_SOURCE_PUBLICATION", "ä".repeat(30), "is not a name of 1 to 48 bytes"],
    ["PGSTAGE_SOURCE_SCHEMAS", " , ", "names no schema"],
    [
      "PGSTAGE_SOURCE_INCLUDE",
      "orders",
      '"orders" matches no table: write schema.table, for instance public.orders',
    ],
  ])("%s=%s is refused", (env, value, expected) => {
    const found = problemsBeside({ [env]: value });
    expect(found).toContain(expected);
    expect(found).toContain(env);
    expect(found).toContain(settingsTable().find((row) => row.env === env)?.key ?? "no such setting");
  });

  it.each([
    ["no", false],
    ["OFF", false],
    ["0", false],
    ["Yes", true],
    ["1", true],
  ])("the flag %j is %s", (text, value) => {
    expect(loadSettings({ env: { ...BASE, PGSTAGE_SOURCE_MANAGE: text } }).source.manage).toBe(value);
  });

  it("reports all problems at once, in the order of the settings", () => {
    const found = problemsOf({
      PGSTAGE_FLUSH_INTERVAL: "x",
      PGSTAGE_HTTP_PORT: "y",
      PGSTAGE_SOURCE_SLOT: "Z",
      PGSTAGE_X: "1",
    });
    expect(found.map((problem) => problem.split(/[ :]/, 1)[0])).toEqual([
      "PGSTAGE_X",
      "flush.interval",
      "http.port",
      "source.url",
      "source.slot",
      "stage.url",
    ]);
  });
});

describe("zstd", () => {
  it("is allowed exactly where Node has it", () => {
    const found = problemsBeside({ PGSTAGE_FORMAT_COMPRESSION: "zstd" });
    if ("zstdCompress" in zlib) expect(found).toBe("");
    else expect(found).toContain(`zstd needs Node 22.15 or later, and this is ${process.version}: take gzip`);
  });
});

it("describeSource says neither user nor password", () => {
  const { source } = loadSettings({ env: BASE });
  expect(describeSource({ source })).toBe("db.example.com:5432/app");
  expect(describeSource({ source: { ...source, host: "::1" } })).toBe("[::1]:5432/app");
});
