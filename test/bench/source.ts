import { performance } from "node:perf_hooks";
import { Client } from "pg";
import { parseLsn, type Lsn } from "../../src/core/lsn.ts";
import { startPostgres, type EmbeddedPostgres } from "../support/postgres.ts";

/** A database for one benchmark. */
export interface Source {
  readonly pg: EmbeddedPostgres;
  readonly database: string;
  sql(text: string, params?: unknown[]): Promise<Record<string, unknown>[]>;
  lsn(): Promise<Lsn>;
  client(replication: boolean): Client;
}

/** A server as close to a production server as a throw-away one may be; nothing is synced to disk. */
export async function startServer(): Promise<EmbeddedPostgres> {
  return startPostgres({
    settings: {
      shared_buffers: "512MB",
      max_wal_size: "16GB",
      logical_decoding_work_mem: "256MB",
      checkpoint_timeout: "1h",
      autovacuum: "off",
      synchronous_commit: "off",
      max_locks_per_transaction: "4096",
    },
  });
}

export async function openSource(pg: EmbeddedPostgres): Promise<Source> {
  const database = await pg.createDatabase();
  const sql: Source["sql"] = async (text, params) => pg.sql(text, params, { database });
  return {
    pg,
    database,
    sql,
    lsn: async () =>
      parseLsn(String((await sql("SELECT pg_current_wal_insert_lsn()::text AS lsn"))[0]?.["lsn"])),
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

/** Waits for its reader to be gone. */
export async function dropSlot(source: Source, slot: string): Promise<void> {
  await source.sql(
    `DO $$ BEGIN
       FOR i IN 1..300 LOOP
         EXIT WHEN NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = '${slot}' AND active);
         PERFORM pg_sleep(0.05);
       END LOOP;
       PERFORM pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = '${slot}';
     END $$`,
  );
}

/** Drops what a daemon made in the source. */
export async function dropPipeline(source: Source, name: string): Promise<void> {
  await dropSlot(source, name);
  await source.sql(`DROP PUBLICATION IF EXISTS ${name}, ${name}_insert_only`);
}

interface Wire {
  readonly connection: {
    readonly stream: NodeJS.ReadableStream & { removeAllListeners(event: string): void; destroy(): void };
    query(text: string): void;
    sendCopyFromChunk(chunk: Buffer): void;
    once(event: "replicationStart", then: () => void): void;
  };
}

/**
 * The reference: a socket reader that throws every byte away and only looks for the end, in seconds from its
 * connection on. What it takes is what the server takes.
 */
export async function bareReader(
  source: Source,
  slot: string,
  publication: string,
  until: Lsn,
): Promise<number> {
  const client = source.client(true);
  client.on("error", () => {});
  const startedAtMs = performance.now();
  await client.connect();
  const { connection } = client as unknown as Wire;
  const ended = new Promise<number>((resolve) => {
    let tail: Buffer = Buffer.alloc(0);
    connection.once("replicationStart", () => {
      connection.stream.removeAllListeners("data");
      connection.stream.on("data", (chunk: Buffer) => {
        // Only the last message of a chunk can be the keepalive that says so; looking there costs nothing.
        tail = chunk.length >= 64 ? chunk : Buffer.concat([tail, chunk]).subarray(-64);
        if (endsAt(tail, until)) resolve((performance.now() - startedAtMs) / 1000);
      });
    });
    const options = `proto_version '1', publication_names '"${publication}"'`;
    client.query(`START_REPLICATION SLOT "${slot}" LOGICAL 0/0 (${options})`).catch(() => {});
  });
  // Asks for keepalives, which tell how far the server is.
  const timer = setInterval(() => connection.sendCopyFromChunk(statusUpdate()), 100);
  const seconds = await ended;
  clearInterval(timer);
  connection.stream.destroy();
  return seconds;
}

/** Whether the chunk ends in a keepalive (PostgreSQL documentation, "Streaming Replication Protocol") at or after `until`. */
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

/** ReadyForQuery in an idle connection (PostgreSQL documentation, "Message Formats"). */
const READY = Buffer.from([0x5a, 0, 0, 0, 5, 0x49]);

/** Runs COPY statements on `connections` sockets that throw every byte away; resolves with the seconds that it took. */
export async function bareCopies(
  source: Source,
  texts: readonly string[],
  connections: number,
): Promise<number> {
  const left = [...texts];
  const startedAtMs = performance.now();
  const work = async (): Promise<void> => {
    const client = source.client(false);
    client.on("error", () => {});
    await client.connect();
    const { connection } = client as unknown as Wire;
    connection.stream.removeAllListeners("data");
    for (let text = left.shift(); text !== undefined; text = left.shift()) {
      const ended = new Promise<void>((resolve) => {
        const look = (chunk: Buffer): void => {
          if (!chunk.subarray(-READY.length).equals(READY)) return;
          connection.stream.off("data", look);
          resolve();
        };
        connection.stream.on("data", look);
      });
      connection.query(text);
      await ended;
    }
    connection.stream.destroy();
  };
  await Promise.all(Array.from({ length: connections }, work));
  return (performance.now() - startedAtMs) / 1000;
}
