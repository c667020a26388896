import { performance } from "node:perf_hooks";
import { Client } from "pg";
import { startPostgres, type EmbeddedPostgres } from "../support/postgres.ts";
import { parseLsn, type Lsn } from "../../src/core/lsn.ts";

/** A server with a database for the benchmark; as close to a production server as a test may be: fsync is off. */
export interface Source {
  readonly pg: EmbeddedPostgres;
  readonly database: string;
  sql(text: string, params?: readonly unknown[]): Promise<Record<string, unknown>[]>;
  lsn(): Promise<Lsn>;
  client(replication: boolean): Client;
}

export async function openSource(): Promise<Source> {
  const pg = await startPostgres({
    settings: { shared_buffers: "512MB", max_wal_size: "8GB", logical_decoding_work_mem: "256MB", checkpoint_timeout: "1h" },
  });
  const database = await pg.createDatabase();
  const sql: Source["sql"] = async (text, params) => (await pg.sql(text, params as never, { database })) as Record<string, unknown>[];
  return {
    pg,
    database,
    sql,
    lsn: async () => parseLsn(String((await sql("SELECT pg_current_wal_insert_lsn()::text AS lsn"))[0]?.["lsn"])),
    client: (replication) =>
      new Client({
        connectionString: pg.url(database),
        options: "-c TimeZone=UTC -c extra_float_digits=3",
        ...(replication ? { replication: "database" } : {}),
      } as ConstructorParameters<typeof Client>[0]),
  };
}

/** A slot that stands where `slot` stands, so that the same WAL can be read again. */
export async function copySlot(source: Source, from: string, to: string): Promise<void> {
  await source.sql("SELECT pg_copy_logical_replication_slot($1, $2)", [from, to]);
}

export async function dropSlot(source: Source, slot: string): Promise<void> {
  await source.sql("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = $1 AND NOT active", [slot]);
}

interface Wire {
  readonly connection: {
    readonly stream: NodeJS.ReadableStream & { removeAllListeners(event: string): void; destroy(): void };
    sendCopyFromChunk(chunk: Buffer): void;
  };
}

/**
 * The reference: a socket reader that throws every byte away and only looks for the end, in seconds. What it takes is
 * what the server takes.
 */
export async function bareReader(source: Source, slot: string, publication: string, until: Lsn): Promise<number> {
  const client = source.client(true);
  client.on("error", () => {});
  await client.connect();
  const { connection } = client as unknown as Wire;
  const startedAt = performance.now();
  const ended = new Promise<number>((resolve) => {
    let tail: Buffer = Buffer.alloc(0);
    client.query(`START_REPLICATION SLOT "${slot}" LOGICAL 0/0 (proto_version '1', publication_names '"${publication}"')`).catch(() => {});
    (connection as unknown as { once(event: string, then: () => void): void }).once("replicationStart", () => {
      connection.stream.removeAllListeners("data");
      connection.stream.on("data", (chunk: Buffer) => {
        // Only the last message of a chunk can be the commit that we wait for; looking there costs nothing.
        tail = chunk.length >= 64 ? chunk : Buffer.concat([tail, chunk]).subarray(-64);
        if (endsAt(tail, until)) resolve((performance.now() - startedAt) / 1000);
      });
    });
  });
  const timer = setInterval(() => connection.sendCopyFromChunk(statusUpdate()), 1000);
  const seconds = await ended;
  clearInterval(timer);
  connection.stream.destroy();
  return seconds;
}

/** A keepalive at the end of the chunk whose WAL end is at or after `until`. */
function endsAt(chunk: Buffer, until: Lsn): boolean {
  // 'd' int32 length, then 'k' int64 walEnd int64 clock byte reply: 23 bytes.
  const at = chunk.length - 23;
  if (at < 0 || chunk[at] !== 0x64 || chunk[at + 5] !== 0x6b) return false;
  return chunk.readBigUInt64BE(at + 6) >= until;
}

/** Acknowledges nothing and asks for an answer. */
function statusUpdate(): Buffer {
  const message = Buffer.alloc(34);
  message.writeUInt8(0x72, 0);
  message.writeUInt8(1, 33);
  return message;
}
