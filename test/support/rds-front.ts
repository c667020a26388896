import { createHash, createHmac } from "node:crypto";
import { once } from "node:events";
import { connect, createServer, type AddressInfo, type Socket } from "node:net";
import { TLSSocket } from "node:tls";
import type { Identity } from "./certificates.ts";

/**
 * Stands before a Postgres server as RDS does with IAM authentication: TLS only, asks for the password in clear,
 * and takes it only if it is a token that is signed with the secret, for this host, port and user, and still
 * good. Refusals are RDS's: "PAM authentication failed", whatever the reason. Then it passes everything on.
 */
export interface RdsFront {
  readonly port: number;
  /** What the next logins meet; may be changed at any time. */
  readonly rules: RdsRules;
  /** Tokens that were offered, refused ones too. */
  readonly tokens: readonly string[];
  close(): Promise<void>;
}

export interface RdsRules {
  secretAccessKey: string;
  region: string;
  host: string;
  /** Users with rds_iam and rds-db:connect. */
  users: readonly string[];
  /** rds.iam_auth_for_replication. */
  replication: boolean;
  now: () => number;
}

const SSL_REQUEST = 80877103;

export async function startRdsFront(options: {
  identity: Identity;
  serverPort: number;
  rules: RdsRules;
}): Promise<RdsFront> {
  const tokens: string[] = [];
  const open = new Set<Socket>();
  const server = createServer((socket) => {
    open.add(socket);
    socket.on("error", () => socket.destroy()).on("close", () => open.delete(socket));
    void admit(socket).catch(() => socket.destroy());
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;

  async function admit(socket: Socket): Promise<void> {
    const request = await readMessage(socket);
    if (request.readInt32BE(4) !== SSL_REQUEST)
      return refuse(socket, "28000", "no pg_hba.conf entry, no encryption", "ClientAuthentication");
    socket.write("S");
    const secure = new TLSSocket(socket, {
      isServer: true,
      key: options.identity.key,
      cert: options.identity.certificate,
    });
    secure.on("error", () => socket.destroy());
    const startup = await readMessage(secure);
    const parameters = parametersOf(startup);
    // AuthenticationCleartextPassword
    secure.write(Buffer.from([0x52, 0, 0, 0, 8, 0, 0, 0, 3]));
    const token = (await readMessage(secure, 1)).subarray(5, -1).toString();
    tokens.push(token);
    const { user = "" } = parameters;
    const isReplication = parameters["replication"] !== undefined;
    if (isReplication && !options.rules.replication) {
      return refuse(secure, "28P01", `password authentication failed for user "${user}"`, "auth_failed");
    }
    if (!isGood(token, user))
      return refuse(secure, "28000", `PAM authentication failed for user "${user}"`, "auth_failed");
    const upstream = connect(options.serverPort, "127.0.0.1");
    open.add(upstream);
    upstream.on("error", () => secure.destroy()).on("close", () => (open.delete(upstream), secure.destroy()));
    secure.on("close", () => upstream.destroy());
    upstream.write(startup);
    secure.pipe(upstream).pipe(secure);
  }

  function isGood(token: string, user: string): boolean {
    const url = new URL(`https://${token}`);
    const given = url.searchParams;
    const { rules } = options;
    const signedAt = Date.parse(
      (given.get("X-Amz-Date") ?? "").replace(/^(....)(..)(..T..)(..)(..Z)$/, "$1-$2-$3:$4:$5"),
    );
    const age = (rules.now() - signedAt) / 1000;
    return (
      url.host === `${rules.host}:${port}` &&
      given.get("Action") === "connect" &&
      given.get("DBUser") === user &&
      rules.users.includes(user) &&
      age > -300 &&
      age <= Math.min(900, Number(given.get("X-Amz-Expires"))) &&
      given.get("X-Amz-Signature") === signatureOf(url, rules)
    );
  }

  return {
    port,
    rules: options.rules,
    tokens,
    async close() {
      server.close();
      for (const socket of open) socket.destroy();
      await once(server, "close");
    },
  };
}

/** AWS Signature Version 4 of a presigned URL (https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html). */
function signatureOf(url: URL, { secretAccessKey, region }: RdsRules): string {
  const date = url.searchParams.get("X-Amz-Date") ?? "";
  const scope = `${date.slice(0, 8)}/${region}/rds-db/aws4_request`;
  const query = [...url.searchParams]
    .filter(([name]) => name !== "X-Amz-Signature")
    .map(([name, value]) => `${encode(name)}=${encode(value)}`)
    .sort()
    .join("&");
  const canonical = ["GET", "/", query, `host:${url.host}`, "", "host", sha256("")].join("\n");
  const text = ["AWS4-HMAC-SHA256", date, scope, sha256(canonical)].join("\n");
  const key = scope
    .split("/")
    .reduce((secret: string | Buffer, part) => hmac(secret, part), `AWS4${secretAccessKey}`);
  return hmac(key, text).toString("hex");
}

function encode(text: string): string {
  return encodeURIComponent(text).replaceAll(
    /[!'()*]/g,
    (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}

function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

function hmac(key: string | Buffer, text: string): Buffer {
  return createHmac("sha256", key).update(text).digest();
}

/** One message: its length stands first, or behind a type byte. Clients wait for an answer after each of these. */
async function readMessage(socket: Socket, typeBytes = 0): Promise<Buffer> {
  let bytes: Buffer = Buffer.alloc(0);
  while (bytes.length < typeBytes + 4 || bytes.length < typeBytes + bytes.readInt32BE(typeBytes)) {
    const [chunk] = (await once(socket, "data")) as [Buffer];
    bytes = Buffer.concat([bytes, chunk]);
  }
  return bytes;
}

function parametersOf(startup: Buffer): Record<string, string> {
  const texts = startup.subarray(8).toString().split("\0");
  const parameters: Record<string, string> = {};
  for (let index = 0; index + 1 < texts.length; index += 2)
    parameters[texts[index] ?? ""] = texts[index + 1] ?? "";
  return parameters;
}

function refuse(socket: Socket, code: string, message: string, routine: string): void {
  const fields = `SFATAL\0VFATAL\0C${code}\0M${message}\0R${routine}\0\0`;
  const header = Buffer.alloc(5, "E");
  header.writeInt32BE(4 + Buffer.byteLength(fields), 1);
  socket.end(Buffer.concat([header, Buffer.from(fields)]));
}
