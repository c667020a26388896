import type { Client } from "pg";
import type { PipelineIdentity } from "../core/document.ts";
import { TransientError } from "../core/errors.ts";
import { parseLsn, type Lsn } from "../core/lsn.ts";

/** What a start has to know about the server. */
export interface ServerFacts {
  readonly systemIdentifier: string;
  readonly timeline: number;
  readonly database: string;
  /** How far its WAL is flushed; nothing that was ever streamed is beyond. */
  readonly flushedLsn: Lsn;
}

/** On a replication connection. Source: PostgreSQL, "Streaming Replication Protocol", IDENTIFY_SYSTEM. */
export async function identifySystem(replication: Client): Promise<ServerFacts> {
  const { rows } = await replication.query<{
    systemid: string;
    timeline: number;
    dbname: string;
    xlogpos: string;
  }>("IDENTIFY_SYSTEM");
  const [row] = rows;
  if (!row) throw new TransientError("IDENTIFY_SYSTEM gave no row");
  return {
    systemIdentifier: String(row.systemid),
    timeline: Number(row.timeline),
    database: row.dbname,
    flushedLsn: parseLsn(row.xlogpos),
  };
}

/** Where the server's timeline left `timeline`; null if they are one. 0 if the history does not know it. */
export async function branchPoint(replication: Client, now: number, timeline: number): Promise<Lsn | null> {
  if (now === timeline) return null;
  const { rows } = await replication.query<{ content: Buffer | string }>(`TIMELINE_HISTORY ${now}`);
  const content = rows[0]?.content ?? "";
  const text = Buffer.isBuffer(content) ? content.toString("utf8") : decodeBytea(content);
  for (const line of text.split("\n")) {
    const match = /^\s*(\d+)\s+([0-9A-Fa-f]+\/[0-9A-Fa-f]+)/.exec(line);
    if (match && Number(match[1]) === timeline) return parseLsn(match[2] as string);
  }
  return 0n as Lsn;
}

/** The content comes as the file's bytes, or as bytea text. */
function decodeBytea(text: string): string {
  return text.startsWith("\\x") ? Buffer.from(text.slice(2), "hex").toString("utf8") : text;
}

export function identityOf(
  facts: ServerFacts,
  names: { slot: string; publication: string },
): PipelineIdentity {
  const { systemIdentifier, timeline, database } = facts;
  return { systemIdentifier, timeline, database, slot: names.slot, publication: names.publication };
}
