import type { Client } from "pg";
import { connectSource, type SourceAccess } from "../postgres/connect.ts";

/** A connection for a command, and the server's major version. Rejects with an OperatorError or a TransientError. */
export async function withSource<T>(
  source: SourceAccess,
  use: (client: Client, serverVersion: number) => Promise<T>,
): Promise<T> {
  const client = await connectSource(source, "sql");
  try {
    const { rows } = await client.query<{ version: number }>(
      "SELECT pg_catalog.current_setting('server_version_num')::int4 / 10000 AS version",
    );
    return await use(client, rows[0]?.version ?? 0);
  } finally {
    await client.end().catch(() => {});
  }
}
