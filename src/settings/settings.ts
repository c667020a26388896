import type { Compression } from "../core/layout.ts";

/**
 * All settings, checked, in plain units: names end in `Ms` (milliseconds) or `Bytes`. README's table gives the
 * meaning of each; `schema.ts` their names, defaults and bounds.
 */
export interface Settings {
  readonly source: SourceSettings;
  readonly stage: StageSettings;
  readonly format: { readonly compression: Compression; readonly metadataPrefix: string };
  readonly flush: { readonly intervalMs: number; readonly maxBytes: number };
  readonly file: { readonly maxBytes: number };
  readonly snapshot: {
    readonly workers: number;
    readonly rangeBytes: number;
    readonly maxAgeMs: number;
    /** 0: not limited. */
    readonly maxBytesPerSecond: number;
  };
  readonly memory: { readonly maxBytes: number };
  readonly discovery: { readonly intervalMs: number };
  /** Port 0: off. */
  readonly http: { readonly host: string; readonly port: number };
  readonly log: { readonly level: LogLevel; readonly format: LogFormat; readonly lagIntervalMs: number };
  readonly shutdown: { readonly timeoutMs: number };
}

export interface SourceSettings {
  /** A host name, an address, or the directory of a Unix socket (starts with `/`). */
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly database: string;
  readonly auth: "password" | "iam";
  /** At most one of these three; none for a server that asks for no password. */
  readonly password?: string;
  readonly passwordFile?: string;
  /** A file in libpq's .pgpass format. */
  readonly passFile?: string;
  /** Region for the IAM token. */
  readonly region?: string;
  readonly tls: "verify-full" | "require" | "disable";
  /** Path of a PEM file. */
  readonly ca?: string;
  readonly slot: string;
  readonly publication: string;
  readonly schemas: readonly string[];
  /** Globs on `schema.table`; empty: all. */
  readonly include: readonly string[];
  /** Globs on `schema.table`; empty: none. */
  readonly exclude: readonly string[];
  /** False: nothing in the database is ever altered. */
  readonly manage: boolean;
}

export interface StageSettings {
  /** `s3://bucket/prefix` or `file:///directory`, without a closing slash. */
  readonly url: string;
  readonly endpoint?: string;
  readonly region?: string;
  readonly forcePathStyle?: boolean;
  readonly sse?: "AES256" | "aws:kms" | "aws:kms:dsse";
  readonly kmsKeyId?: string;
  readonly storageClass?: string;
}

export const LOG_LEVELS = ["trace", "debug", "info", "warn", "error"] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];
type LogFormat = "json" | "pretty";

/** `host:port/database`: what logs and pages show of the source. */
export function describeSource(settings: {
  readonly source: Pick<SourceSettings, "host" | "port" | "database">;
}): string {
  const { host, port, database } = settings.source;
  return `${host.includes(":") ? `[${host}]` : host}:${port}/${database}`;
}
