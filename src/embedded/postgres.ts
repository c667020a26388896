import { execFile } from "node:child_process";
import { appendFile, chown, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import pg from "pg";
import { SERVER_ENV, usableBinaries, type PostgresVersion } from "./binaries.ts";
import { freePort } from "./ports.ts";
import { Postmaster, PortTakenError, type StopMode } from "./postmaster.ts";
import { makeScratch, serverUser, type ServerUser } from "./user.ts";
import { watchServer } from "./watchdog.ts";

export type { PostgresVersion } from "./binaries.ts";
export type { StopMode } from "./postmaster.ts";

const run = promisify(execFile);

export interface PostgresOptions {
  /** Major version; 18 if not given. The others are installed for development only. */
  version?: PostgresVersion;
  /** Lines of postgresql.conf. */
  settings?: Record<string, string>;
  /** Content of pg_hba.conf. Without it everything is allowed from this machine, by `auth`. */
  hba?: string;
  /** Authentication method of initdb; `trust` if not given. */
  auth?: "trust" | "scram-sha-256" | "md5" | "password";
  /** Password of the superuser `postgres`. */
  password?: string;
  /** Files for the data directory, readable by the server only: certificates, keys. */
  files?: Record<string, string>;
  /** Where the server's folder is made if its user can use it, else in the system's folder for temporary files. */
  dir?: string;
}

interface Place {
  database?: string;
  user?: string;
}

const PORT_TRIES = 5;

/**
 * Starts a throw-away Postgres server on 127.0.0.1 with logical replication. It ends, and its files go, with
 * destroy() or with this process. Durability is off.
 */
export async function startPostgres(options: PostgresOptions = {}): Promise<EmbeddedPostgres> {
  const user = await serverUser();
  const scratch = await makeScratch(user, options.dir === undefined ? [] : [options.dir]);
  const dataDir = join(scratch, "data");
  const release = watchServer(dataDir, scratch);
  try {
    const native = await usableBinaries({ version: options.version ?? 18, user, scratch });
    await initialise({ native, dataDir, scratch, user, options });
    const postmaster = new Postmaster(join(native, "bin/postgres"), dataDir, user);
    const port = await startOnFreePort(postmaster);
    return new EmbeddedPostgres({ postmaster, port, dataDir, scratch, release, password: options.password });
  } catch (error) {
    release();
    await rm(scratch, { recursive: true, force: true });
    throw error;
  }
}

async function initialise(about: {
  native: string;
  dataDir: string;
  scratch: string;
  user: ServerUser;
  options: PostgresOptions;
}): Promise<void> {
  const { dataDir, scratch, user, options } = about;
  const passwordFile = join(scratch, "password");
  await writeOwned(passwordFile, `${options.password ?? "postgres"}\n`, user);
  const auth = `--auth=${options.auth ?? "trust"}`;
  const args = ["-D", dataDir, "-U", "postgres", auth, `--pwfile=${passwordFile}`];
  args.push("-E", "UTF8", "--no-locale", "--no-sync");
  await run(join(about.native, "bin/initdb"), args, { ...user, env: SERVER_ENV, cwd: scratch });
  await rm(passwordFile);
  await appendFile(join(dataDir, "postgresql.conf"), configuration(options.settings ?? {}));
  if (options.hba !== undefined) await writeFile(join(dataDir, "pg_hba.conf"), options.hba);
  for (const [name, content] of Object.entries(options.files ?? {})) {
    await writeOwned(join(dataDir, name), content, user);
  }
}

function configuration(settings: Record<string, string>): string {
  const all = {
    listen_addresses: "127.0.0.1",
    // A socket below /tmp could clash with another server's, and its folder may not be writable.
    unix_socket_directories: "",
    wal_level: "logical",
    max_wal_senders: "50",
    max_replication_slots: "50",
    max_connections: "200",
    fsync: "off",
    full_page_writes: "off",
    ...settings,
  };
  return `\n${Object.entries(all)
    .map(([key, value]) => `${key} = '${value.replaceAll("'", "''")}'\n`)
    .join("")}`;
}

async function writeOwned(path: string, content: string, user: ServerUser): Promise<void> {
  await writeFile(path, content, { mode: 0o600 });
  if (user.uid !== undefined) await chown(path, user.uid, user.gid);
}

async function startOnFreePort(postmaster: Postmaster): Promise<number> {
  for (let tries = 1; ; tries++) {
    const port = await freePort();
    try {
      await postmaster.start(port);
      return port;
    } catch (error) {
      if (!(error instanceof PortTakenError) || tries === PORT_TRIES) throw error;
    }
  }
}

/** A running server of ours; its superuser is `postgres`. */
export class EmbeddedPostgres {
  readonly port: number;
  readonly dataDir: string;
  readonly #postmaster: Postmaster;
  readonly #scratch: string;
  readonly #release: () => void;
  readonly #password: string | undefined;
  #databases = 0;

  constructor(parts: {
    postmaster: Postmaster;
    port: number;
    dataDir: string;
    scratch: string;
    release: () => void;
    password: string | undefined;
  }) {
    this.port = parts.port;
    this.dataDir = parts.dataDir;
    this.#postmaster = parts.postmaster;
    this.#scratch = parts.scratch;
    this.#release = parts.release;
    this.#password = parts.password;
  }

  /** Process id of the postmaster, or null while it is down. */
  get pid(): number | null {
    return this.#postmaster.pid;
  }

  /** With a password only for `postgres`, if one was set. */
  url(database = "postgres", user = "postgres"): string {
    const secret =
      user === "postgres" && this.#password !== undefined ? `:${encodeURIComponent(this.#password)}` : "";
    return `postgres://${encodeURIComponent(user)}${secret}@127.0.0.1:${this.port}/${encodeURIComponent(database)}`;
  }

  /** A connected client; the caller ends it. */
  async connect({ database, user }: Place = {}): Promise<pg.Client> {
    const client = new pg.Client({ connectionString: this.url(database, user) });
    // A server that goes away under an idle client is no reason for this process to end.
    client.on("error", () => {});
    await client.connect();
    return client;
  }

  /** Runs one statement (or several, without parameters) on a connection of its own; rows of the last one. */
  async sql<Row extends object = Record<string, unknown>>(
    text: string,
    params?: unknown[],
    place: Place = {},
  ): Promise<Row[]> {
    const client = await this.connect(place);
    try {
      const result: pg.QueryResult<Row> | pg.QueryResult<Row>[] = await client.query<Row>(text, params);
      return (Array.isArray(result) ? result.at(-1)?.rows : result.rows) ?? [];
    } finally {
      await client.end();
    }
  }

  /** Makes an empty database and returns its name. */
  async createDatabase(name = `db${++this.#databases}`): Promise<string> {
    await this.sql(`CREATE DATABASE ${pg.escapeIdentifier(name)}`);
    return name;
  }

  /** Starts the server again, on the same port. */
  async start(): Promise<void> {
    await this.#postmaster.start(this.port);
  }

  /** `smart` waits for clients to leave, `fast` disconnects them, `immediate` is a crash. Resolves when it is down. */
  async stop(mode: StopMode = "fast"): Promise<void> {
    await this.#postmaster.stop(mode);
  }

  /** What the server has written so far (a bounded tail of it), over all its runs. */
  log(): string {
    return this.#postmaster.log();
  }

  /** Ends the server at once and removes its files. */
  async destroy(): Promise<void> {
    await this.#postmaster.kill();
    this.#release();
    await rm(this.#scratch, { recursive: true, force: true, maxRetries: 3 });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.destroy();
  }
}
