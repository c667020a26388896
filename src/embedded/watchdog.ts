import { spawn } from "node:child_process";
import type { ServerUser } from "./user.ts";

/**
 * Ends the server of `$1` (a data directory) and removes `$2` when its standard input ends without a word, which
 * is when our process dies, in whatever way. A line on standard input tells it to go away.
 */
const SCRIPT = `
  read -r line && exit 0
  pid=$(head -n 1 "$1/postmaster.pid" 2>/dev/null) && kill -QUIT "$pid" 2>/dev/null
  tries=0
  while [ -n "$pid" ] && kill -0 "$pid" 2>/dev/null && [ $tries -lt 50 ]; do sleep 0.1; tries=$((tries + 1)); done
  [ -n "$pid" ] && kill -KILL "$pid" 2>/dev/null
  cd / && rm -rf -- "$2"
`;

/**
 * Keeps a server from outliving this process. Plain sh on a pipe, so it works on every Unix; in a session of its
 * own, so that neither Ctrl-C nor a signal to our process group ends it before us.
 * Returns the function that lets it go.
 */
export function watchOver(dataDir: string, scratch: string, user: ServerUser): () => void {
  const child = spawn("/bin/sh", ["-c", SCRIPT, "pgstage-watchdog", dataDir, scratch], {
    ...user,
    cwd: "/",
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
