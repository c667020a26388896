import { spawn } from "node:child_process";

/**
 * Runs its arguments' script when its standard input ends without a word, which is when our process dies, in whatever
 * way. A line on standard input tells it to go away.
 */
const WATCH = 'read -r line && exit 0; eval "$PGSTAGE_WHEN_GONE"';

/** Ends the server of `$1` (a data directory) and removes `$2`. */
const END_SERVER = `
  pid=$(head -n 1 "$1/postmaster.pid" 2>/dev/null) && kill -QUIT "$pid" 2>/dev/null
  tries=0
  while [ -n "$pid" ] && kill -0 "$pid" 2>/dev/null && [ $tries -lt 50 ]; do sleep 0.1; tries=$((tries + 1)); done
  [ -n "$pid" ] && kill -KILL "$pid" 2>/dev/null
  cd / && rm -rf -- "$2"
`;

/** Ends the process `$1`: it may drain for `$2` seconds. */
const END_PROCESS = `
  kill -TERM "$1" 2>/dev/null
  tries=0
  while kill -0 "$1" 2>/dev/null && [ $tries -lt "$2" ]; do sleep 1; tries=$((tries + 1)); done
  kill -KILL "$1" 2>/dev/null
`;

/** Keeps a server from outliving this process. Returns the function that lets it go. */
export function watchServer(dataDir: string, scratch: string): () => void {
  return watch(END_SERVER, [dataDir, scratch]);
}

/** Keeps a child process from outliving this one for long. Call the result as soon as it has ended. */
export function watchProcess(pid: number, drainSeconds: number): () => void {
  return watch(END_PROCESS, [String(pid), String(drainSeconds)]);
}

/**
 * Plain sh on a pipe, so it works on every Unix; in a session of its own, so that neither Ctrl-C nor a signal to our
 * process group ends it before us.
 */
function watch(script: string, args: readonly string[]): () => void {
  const child = spawn("/bin/sh", ["-c", WATCH, "pgstage-watchdog", ...args], {
    cwd: "/",
    env: { PATH: process.env["PATH"] ?? "/usr/bin:/bin", PGSTAGE_WHEN_GONE: script },
    stdio: ["pipe", "ignore", "ignore"],
    detached: true,
  });
  child.on("error", () => {});
  child.stdin.on("error", () => {});
  child.unref();
  unrefPipe(child.stdin);
  return () => child.stdin.end("done\n");
}

/** The pipe must stay open without keeping our event loop alive. */
function unrefPipe(pipe: object): void {
  if ("unref" in pipe && typeof pipe.unref === "function") pipe.unref();
}
