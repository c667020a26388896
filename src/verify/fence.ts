import { randomBytes } from "node:crypto";
import { escapeIdentifier, escapeLiteral, type Client } from "pg";
import type { PipelineIdentity } from "../core/document.ts";
import { messageOf, OperatorError } from "../core/errors.ts";
import { parseLsn, type Lsn } from "../core/lsn.ts";

/** Opens a connection to the source, set up like the daemon's. */
export type Connect = (kind: "copy" | "replication") => Promise<Client>;

/**
 * A moment of the source that is a place in its log, too.
 *
 * The snapshot of an ordinary transaction is no such place: transactions become visible in another order than that
 * of their commit records. The snapshot that comes with a new logical slot is: it shows exactly the transactions
 * that committed before `lsn`, the slot's consistent point.
 * https://www.postgresql.org/docs/current/protocol-replication.html#PROTOCOL-REPLICATION-CREATE-REPLICATION-SLOT
 */
export interface Fence {
  readonly lsn: Lsn;
  /** Connections inside a transaction with that snapshot. */
  readonly clients: readonly Client[];
  close(): Promise<void>;
}

export interface FenceOptions {
  readonly connect: Connect;
  /** How many connections. */
  readonly clients: number;
  /** How long to wait for transactions that are running; a slot can only be made when they are over. */
  readonly waitMs: number;
  /** Whose log the stage has. */
  readonly pipeline: PipelineIdentity;
}

export async function openFence(options: FenceOptions): Promise<Fence> {
  const clients: Client[] = [];
  const close = async (): Promise<void> => {
    await Promise.all(clients.splice(0).map((client) => client.end().catch(() => {})));
  };
  const creator = await options.connect("replication");
  try {
    await checkIdentity(creator, options.pipeline);
    const { lsn, snapshot } = await createSlot(creator, options);
    for (let count = 0; count < options.clients; count++) {
      const client = await options.connect("copy");
      clients.push(client);
      await client.query("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
      await client.query(`SET TRANSACTION SNAPSHOT ${escapeLiteral(snapshot)}`);
    }
    return { lsn, clients, close };
  } catch (error) {
    await close();
    throw error;
  } finally {
    // The slot is temporary: it would keep WAL, and goes with its connection.
    await creator.end().catch(() => {});
  }
}

async function checkIdentity(client: Client, pipeline: PipelineIdentity): Promise<void> {
  const { rows } = await client.query<{ systemid: string; dbname: string }>("IDENTIFY_SYSTEM");
  const found = rows[0];
  if (found?.systemid === pipeline.systemIdentifier && found.dbname === pipeline.database) return;
  throw new OperatorError(
    `the stage holds database ${pipeline.database} of the server with system identifier ` +
      `${pipeline.systemIdentifier}; the source is ${found?.dbname} of ${found?.systemid}`,
    "set source.url and stage.url to the same pipeline's",
  );
}

async function createSlot(client: Client, options: FenceOptions): Promise<{ lsn: Lsn; snapshot: string }> {
  const name = `pgstage_verify_${randomBytes(6).toString("hex")}`;
  try {
    await client.query(`SET lock_timeout = ${Math.max(1, Math.ceil(options.waitMs))}`);
    const { rows } = await client.query<{ consistent_point: string; snapshot_name: string }>(
      `CREATE_REPLICATION_SLOT ${escapeIdentifier(name)} TEMPORARY LOGICAL pgoutput EXPORT_SNAPSHOT`,
    );
    const slot = rows[0];
    if (!slot) throw new Error("CREATE_REPLICATION_SLOT gave no row");
    return { lsn: parseLsn(slot.consistent_point), snapshot: slot.snapshot_name };
  } catch (error) {
    throw await explain(error, options.connect);
  }
}

async function explain(error: unknown, connect: Connect): Promise<unknown> {
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  if (code === "53400") {
    return new OperatorError(
      "verify needs a temporary replication slot for a moment, and all are in use",
      "raise max_replication_slots, or drop a slot that nobody uses (SELECT * FROM pg_replication_slots)",
      { cause: error },
    );
  }
  if (code !== "55P03") return error;
  return new OperatorError(
    `a transaction that writes has been running too long to compare meanwhile: ${await longestWriter(connect)}`,
    "wait until it ends, or end it with SELECT pg_terminate_backend(pid), and run verify again",
    { cause: error },
  );
}

async function longestWriter(connect: Connect): Promise<string> {
  try {
    const client = await connect("copy");
    try {
      const { rows } = await client.query<{ who: string }>(
        `SELECT 'pid ' || pid || ' since ' || xact_start::timestamptz(0) AS who FROM pg_stat_activity
         WHERE backend_xid IS NOT NULL ORDER BY xact_start LIMIT 1`,
      );
      return rows[0]?.who ?? "it has just ended";
    } finally {
      await client.end();
    }
  } catch (error) {
    return messageOf(error);
  }
}
