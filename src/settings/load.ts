import * as zlib from "node:zlib";
import { SettingsError } from "../core/errors.ts";
import type { Compression } from "../core/layout.ts";
import { relevantEnvironment, unknownVariables } from "./environment.ts";
import { readSettingsFile, type FileEntry } from "./file.ts";
import { nearest } from "./nearest.ts";
import { ALL_SETTINGS, createConvict, type Config, type SettingKey } from "./schema.ts";
import type { LogLevel, Settings } from "./settings.ts";
import { sourceSettings } from "./source.ts";
import { stageSettings } from "./stage.ts";
import { createValues, type Values } from "./values.ts";

export interface SettingsInput {
  /** A YAML or JSON file; the environment overrides it. */
  readonly file?: string | undefined;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Decides the default of `log.format`. */
  readonly isTerminal?: boolean;
}

/** Reads, merges and checks all settings. Throws a SettingsError that names every problem, and no secret. */
export function loadSettings(input: SettingsInput): Settings {
  const env = relevantEnvironment(input.env);
  const problems: string[] = [];
  const entries = input.file === undefined ? [] : readSettingsFile(input.file);
  const fromFile = knownEntries(entries, input.file ?? "", problems);
  problems.push(...unknownVariables(env, ENV_NAMES).map((name) => unknown(name, ENV_NAMES)));
  const refuse = (key: SettingKey, reason: string): void => {
    problems.push(`${key} (${origin(key, { env, entry: fromFile.get(key), file: input.file })}): ${reason}`);
  };
  const config = createConvict(env);
  config.load(nested(fromFile));
  resetInvalid(config, refuse);
  const settings = build(createValues(config, refuse), env, input.isTerminal ?? false);
  if (problems.length > 0) throw new SettingsError(problems);
  return settings;
}

const KEYS: readonly SettingKey[] = ALL_SETTINGS.map(({ key }) => key);
const ENV_NAMES = ALL_SETTINGS.map(({ env }) => env);

function unknown(name: string, known: readonly string[]): string {
  const suggestion = nearest(name, known);
  return `${name}: there is no such setting${suggestion === undefined ? "" : `; did you mean ${suggestion}?`}`;
}

function knownEntries(
  entries: readonly FileEntry[],
  file: string,
  problems: string[],
): Map<string, FileEntry> {
  const known = new Map<string, FileEntry>();
  for (const entry of entries) {
    const at = `${file} line ${entry.line}`;
    if (!KEYS.includes(entry.key as SettingKey)) problems.push(`${at}: ${unknown(entry.key, KEYS)}`);
    else if (known.has(entry.key)) problems.push(`${at}: ${entry.key} is given twice`);
    else known.set(entry.key, entry);
  }
  return known;
}

/** Where a setting comes from, for the reader of a problem. */
function origin(
  key: SettingKey,
  given: { env: Readonly<Record<string, string>>; entry: FileEntry | undefined; file: string | undefined },
): string {
  const name = ENV_NAMES[KEYS.indexOf(key)] ?? "";
  return given.entry === undefined || name in given.env
    ? name
    : `${given.file} line ${given.entry.line}; ${name}`;
}

function nested(entries: ReadonlyMap<string, FileEntry>): Record<string, Record<string, unknown>> {
  const sections: Record<string, Record<string, unknown>> = {};
  for (const [key, { value }] of entries) {
    const [section = "", name = ""] = key.split(".");
    (sections[section] ??= {})[name] = value;
  }
  return sections;
}

/** Reports every value that its format refuses and puts the default in its place, so that the checks can go on. */
function resetInvalid(config: Config, refuse: (key: SettingKey, reason: string) => void): void {
  try {
    config.validate({ allowed: "strict" });
  } catch (error) {
    // One line a problem, `key: reason`.
    for (const line of (error as Error).message.split("\n")) {
      const key = KEYS.find((candidate) => line.startsWith(`${candidate}: `));
      if (key === undefined) throw error;
      refuse(key, line.slice(key.length + 2));
      config.reset(key);
    }
  }
}

function build(values: Values, env: Readonly<Record<string, string>>, isTerminal: boolean): Settings {
  return {
    source: sourceSettings(values, env),
    stage: stageSettings(values),
    format: { compression: compressionOf(values), metadataPrefix: metadataPrefixOf(values) },
    flush: { intervalMs: values.number("flush.interval"), maxBytes: values.number("flush.maxBytes") },
    file: { maxBytes: values.number("file.maxBytes") },
    snapshot: {
      workers: values.number("snapshot.workers"),
      rangeBytes: values.number("snapshot.rangeBytes"),
      maxAgeMs: values.number("snapshot.maxAge"),
      maxBytesPerSecond: values.number("snapshot.maxBytesPerSecond"),
    },
    memory: { maxBytes: values.number("memory.max") },
    discovery: { intervalMs: values.number("discovery.interval") },
    http: { host: values.text("http.host") ?? "", port: values.number("http.port") },
    log: {
      level: values.text("log.level") as LogLevel,
      format:
        (values.text("log.format") ?? (isTerminal ? "pretty" : "json")) === "pretty" ? "pretty" : "json",
      lagIntervalMs: values.number("log.lagInterval"),
    },
    shutdown: { timeoutMs: values.number("shutdown.timeout") },
  };
}

function compressionOf(values: Values): Compression {
  const compression = values.text("format.compression") as Compression;
  if (compression === "zstd" && !("zstdCompress" in zlib)) {
    values.refuse(
      "format.compression",
      `zstd needs Node 22.15 or later, and this is ${process.version}: take gzip`,
    );
  }
  return compression;
}

function metadataPrefixOf(values: Values): string {
  const prefix = values.text("format.metadataPrefix") ?? "";
  if (!/^[A-Za-z0-9_]{1,32}$/.test(prefix)) {
    values.refuse(
      "format.metadataPrefix",
      `${JSON.stringify(prefix)} is not 1 to 32 letters, digits and underscores`,
    );
  }
  return prefix;
}
