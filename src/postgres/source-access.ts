/** How to reach the source and who to be there. The settings' `source` fits. */
export interface SourceAccess {
  /** A host name, an address, or the directory of a Unix socket (starts with `/`). */
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly database: string;
  /** `iam`: a fresh RDS token for every connection. */
  readonly auth: "password" | "iam";
  readonly password?: string;
  /** Read again for every connection, so that a password can be changed while the daemon runs. */
  readonly passwordFile?: string;
  /** In libpq's .pgpass format. */
  readonly passFile?: string;
  /** Region for the IAM token; else the host name's, else AWS's default chain. */
  readonly region?: string;
  /** `require`: encrypted, but to whomever answers. */
  readonly tls: "verify-full" | "require" | "disable";
  /** Path of a PEM file: the only certificates to trust. */
  readonly ca?: string;
  /** Names the connection in pg_stat_activity. */
  readonly slot: string;
}

/**
 * What a connection is for.
 * - `sql`: short statements; bounded, so that a mistake of ours cannot harm the source.
 * - `copy`: reads whole tables, row security refused rather than applied.
 * - `replication`: the walsender's protocol.
 */
export type ConnectionKind = "sql" | "copy" | "replication";

/** The region in `name.id.eu-west-1.rds.amazonaws.com`, or undefined for any other host. */
export function rdsRegion(host: string): string | undefined {
  return /\.([a-z]{2}(?:-[a-z]+)+-\d+)\.rds\.amazonaws\.com(?:\.cn)?$/i.exec(host)?.[1]?.toLowerCase();
}

export function addressOf(source: Pick<SourceAccess, "host" | "port">): string {
  return `${source.host.includes(":") ? `[${source.host}]` : source.host}:${source.port}`;
}
