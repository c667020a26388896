import convict from "convict";
import { registerFormats, type SettingDefinition } from "./formats.ts";
import { LOG_LEVELS } from "./settings.ts";

/** setTimeout takes no more than 2^31 - 1 ms. */
const LONGEST_TIMER_MS = 24 * 86_400_000;
const KIB = 1024;
const MIB = 1024 * KIB;
const GIB = 1024 * MIB;

const optionalText = { format: "text", default: null } as const;
const interval = { format: "duration", min: 100, max: LONGEST_TIMER_MS } as const;

/** Every setting there is. `settingsTable` turns it into README's table, and tests hold config/pgstage.yaml to it. */
const DEFINITIONS = {
  source: {
    url: {
      doc: "where the data is: `postgres://user:password@host:5432/db`. What it leaves out is taken from libpq's `PG*` variables",
      format: "secret",
      default: null,
      shownDefault: "libpq's `PG*` variables",
      sensitive: true,
    },
    auth: {
      doc: "`password`, or `iam`: a fresh RDS token for every connection",
      format: "choice",
      choices: ["password", "iam"],
      default: "password",
    },
    password: {
      doc: "instead of one in the URL",
      format: "secret",
      default: null,
      sensitive: true,
    },
    passwordFile: {
      doc: "file that holds the password; read again for every connection",
      ...optionalText,
    },
    region: {
      doc: "region for the IAM token",
      ...optionalText,
      shownDefault: "the RDS host name's, else AWS's default chain",
    },
    tls: {
      doc: "`verify-full`, `require` (encrypted, but the server is not verified), `disable`",
      format: "choice",
      choices: ["verify-full", "require", "disable"],
      default: null,
      shownDefault: "`verify-full`; `disable` on loopback and sockets",
    },
    ca: {
      doc: "PEM file with the certificates to trust",
      ...optionalText,
      shownDefault: "Amazon's RDS roots and the system's",
    },
    slot: {
      doc: "name of the replication slot",
      format: "text",
      default: "pgstage",
    },
    publication: {
      doc: "name of the publication; the one for tables without a replica identity begins with it",
      format: "text",
      default: "pgstage",
    },
    schemas: {
      doc: "schemas whose tables are captured, comma-separated",
      format: "names",
      default: "public",
    },
    include: {
      doc: "globs on `schema.table`, comma-separated: only these",
      format: "names",
      default: "",
      shownDefault: "all",
    },
    exclude: {
      doc: "globs on `schema.table`, comma-separated: not these",
      format: "names",
      default: "",
      shownDefault: "none",
    },
    manage: {
      doc: "`false`: nothing in the database is ever altered; a DBA makes the publications",
      format: "flag",
      default: "true",
    },
  },
  stage: {
    url: {
      doc: "where the files go: `s3://bucket/prefix` or `file:///directory`",
      ...optionalText,
      shownDefault: "required",
    },
    endpoint: {
      doc: "URL of an S3-compatible store",
      ...optionalText,
      shownDefault: "AWS's",
    },
    region: {
      doc: "region of the bucket",
      ...optionalText,
      shownDefault: "AWS's default chain",
    },
    forcePathStyle: {
      doc: "`true`: the bucket's name goes into the path and not into the host name",
      format: "flag",
      default: null,
      shownDefault: "`true` with `stage.endpoint`, else `false`",
    },
    sse: {
      doc: "encryption at rest: `AES256`, `aws:kms`, `aws:kms:dsse`",
      format: "choice",
      choices: ["AES256", "aws:kms", "aws:kms:dsse"],
      default: null,
      shownDefault: "bucket's default",
    },
    kmsKeyId: {
      doc: "key for `aws:kms`",
      ...optionalText,
      shownDefault: "bucket's default",
    },
    storageClass: {
      doc: "storage class of the files; none that Snowpipe would have to restore first",
      ...optionalText,
      shownDefault: "bucket's default",
    },
  },
  format: {
    compression: {
      doc: "`gzip`, `zstd` (Node 22.15 and later), `none`",
      format: "choice",
      choices: ["gzip", "zstd", "none"],
      default: "gzip",
    },
    metadataPrefix: {
      doc: "first characters of the five metadata columns",
      format: "text",
      default: "_",
    },
  },
  flush: {
    interval: {
      ...interval,
      doc: "the oldest unpublished change is never older than this",
      default: "60s",
    },
    maxBytes: {
      doc: "CSV bytes after which a batch closes at the next commit",
      format: "size",
      default: "256MiB",
      min: 64 * KIB,
      boundReason: "smaller files load slower than they are written",
    },
  },
  file: {
    maxBytes: {
      doc: "CSV bytes after which a file rolls",
      format: "size",
      default: "512MiB",
      min: 64 * KIB,
      max: 16 * GIB,
      boundReason:
        "smaller files load slower than they are written, larger ones exceed the parts of one upload",
    },
  },
  snapshot: {
    workers: {
      doc: "connections that copy",
      format: "integer",
      default: "4",
      min: 1,
      max: 64,
    },
    rangeBytes: {
      doc: "table bytes per copied range, and so per file",
      format: "size",
      default: "256MiB",
      min: 64 * KIB,
      boundReason: "a range is at least a few pages of the table",
    },
    maxAge: {
      doc: "longest time a copy's transaction is held open",
      format: "duration",
      default: "30m",
      min: 1000,
      max: LONGEST_TIMER_MS,
    },
    maxBytesPerSecond: {
      doc: "limit on what copies read from the source; `0`: none",
      format: "size",
      default: "0",
    },
  },
  memory: {
    max: {
      doc: "memory that the daemon stays under, for rows up to 16 MiB",
      format: "size",
      default: "256MiB",
      min: 128 * MIB,
      boundReason: "Node with its libraries and one part of an upload needs about 100 MiB",
    },
  },
  discovery: {
    interval: {
      ...interval,
      doc: "how often new tables are looked for; they are published and copied without a restart",
      default: "60s",
    },
  },
  http: {
    host: {
      doc: "address that health, metrics and the page are served on",
      format: "text",
      default: "127.0.0.1",
    },
    port: {
      doc: "their port; `0`: off",
      format: "integer",
      default: "8080",
      max: 65_535,
    },
  },
  log: {
    level: {
      doc: "`trace`, `debug`, `info`, `warn`, `error`",
      format: "choice",
      choices: LOG_LEVELS,
      default: "info",
    },
    format: {
      doc: "`json`: one object a line; `pretty`: for people",
      format: "choice",
      choices: ["json", "pretty"],
      default: null,
      shownDefault: "`json`; `pretty` on a terminal",
    },
    lagInterval: {
      ...interval,
      doc: "how often the lag is logged",
      default: "10s",
    },
  },
  shutdown: {
    timeout: {
      doc: "how long SIGTERM may drain",
      format: "duration",
      default: "25s",
      min: 1000,
      max: LONGEST_TIMER_MS,
    },
  },
} as const satisfies Record<string, Record<string, SettingDefinition>>;

type Sections = typeof DEFINITIONS;

/** `source.url` and all the others. */
export type SettingKey = {
  [S in keyof Sections]: `${S}.${keyof Sections[S] & string}`;
}[keyof Sections];

export interface NamedSetting {
  readonly key: SettingKey;
  readonly env: string;
  readonly definition: SettingDefinition;
}

export const ALL_SETTINGS: readonly NamedSetting[] = Object.entries(DEFINITIONS).flatMap(
  ([section, settings]) =>
    Object.entries(settings).map(([name, definition]) => ({
      key: `${section}.${name}` as SettingKey,
      env: envName(section, name),
      definition,
    })),
);

/** `snapshot.rangeBytes` as `PGSTAGE_SNAPSHOT_RANGE_BYTES`. */
function envName(section: string, name: string): string {
  return `PGSTAGE_${section}_${name.replaceAll(/[A-Z]/g, "_$&")}`.toUpperCase();
}

registerFormats();

/** The schema as convict takes it. */
const SCHEMA: Record<string, Record<string, convict.SchemaObj>> = {};
for (const { key, env, definition } of ALL_SETTINGS) {
  const [section = "", name = ""] = key.split(".");
  (SCHEMA[section] ??= {})[name] = { ...definition, env, nullable: definition.default === null };
}

export type Config = convict.Config<Record<string, unknown>>;

/** A convict with the schema's defaults, and over them what `env` holds. */
export function createConvict(env: Readonly<Record<string, string>>): Config {
  return convict<Record<string, unknown>>(SCHEMA, { env: { ...env }, args: [] });
}

export interface SettingRow {
  readonly key: string;
  readonly env: string;
  /** For people; Markdown. Empty: not set. */
  readonly default: string;
  readonly doc: string;
  readonly sensitive: boolean;
}

/** One row a setting, in the order of the contract. */
export function settingsTable(): SettingRow[] {
  return ALL_SETTINGS.map(({ key, env, definition }) => ({
    key,
    env,
    default: definition.shownDefault ?? (definition.default === null ? "" : `\`${definition.default}\``),
    doc: definition.doc,
    sensitive: definition.sensitive ?? false,
  }));
}
