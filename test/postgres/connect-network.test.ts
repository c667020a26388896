import { once } from "node:events";
import { createServer, type AddressInfo, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { describe, expect, it } from "vitest";
import { OperatorError, TransientError } from "../../src/core/errors.ts";
import { connectSource, type ConnectionKind, type SourceAccess } from "../../src/postgres/connect.ts";

const SOURCE: SourceAccess = {
  host: "127.0.0.1",
  port: 5432,
  user: "postgres",
  database: "postgres",
  auth: "password",
  tls: "verify-full",
  slot: "pgstage",
};

async function failure(
  change: Partial<SourceAccess>,
  kind: ConnectionKind = "sql",
  atStart = true,
): Promise<Error> {
  const error = await connectSource({ ...SOURCE, ...change }, kind, { atStart }).catch(
    (thrown: unknown) => thrown,
  );
  if (error instanceof Error) return error;
  throw new Error("it connected");
}

/** A server that does this with whomever says something, and its port. */
async function listening(
  answer: (socket: Socket) => void,
): Promise<{ port: number; close: () => Promise<unknown> }> {
  const server = createServer((socket) => {
    socket.on("error", () => socket.destroy());
    socket.once("data", () => answer(socket));
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  return { port, close: async () => once(server.close(), "close") };
}

describe("what is no Postgres", () => {
  it.each([
    [true, OperatorError],
    [false, TransientError],
  ])("nothing at all: at start %s", async (atStart, kind) => {
    const { port, close } = await listening(() => undefined);
    await close();
    for (const host of ["127.0.0.1", "localhost"]) {
      const error = await failure({ host, port }, "sql", atStart);
      expect(error).toBeInstanceOf(kind);
      expect(error.message).toContain(`nothing listens at ${host}:${port}`);
    }
  });

  it("a host that does not exist", async () => {
    const error = await failure({ host: "db.invalid" });
    expect(error).toBeInstanceOf(OperatorError);
    expect(error.message).toMatch(/host "db.invalid"/);
  });

  it("a socket that is not there", async () => {
    const error = await failure({ host: tmpdir(), port: 5, tls: "disable" });
    expect(error.message).toBe(`there is no socket ${tmpdir()}/.s.PGSQL.5`);
  });

  it.each([
    ["closes at once", (socket: Socket) => socket.end()],
    ["speaks something else", (socket: Socket) => socket.write("HTTP/1.1 400 Bad Request\r\n\r\n")],
  ])("a server that %s", async (_case, answer) => {
    const { port, close } = await listening(answer);
    try {
      expect(await failure({ port })).toBeInstanceOf(OperatorError);
      expect(await failure({ port }, "replication", false)).toBeInstanceOf(TransientError);
    } finally {
      await close();
    }
  });
});
