#!/usr/bin/env node
import { EXIT, reportText } from "./report.ts";

// The AWS SDK warns once at its start that it will leave Node 20; package.json says which Node it is tested with.
process.env["AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED"] ??= "true";
const { runCli } = await import("./cli.ts");

/** What is still open when a command is done does not keep the process. */
const LINGER_MS = 1000;

const stop = new AbortController();
for (const name of ["SIGTERM", "SIGINT"] as const) {
  process.on(name, () => {
    if (stop.signal.aborted) process.exit(EXIT.unexpected);
    stop.abort(new Error(`stopped by ${name}`));
  });
}
process.on("uncaughtException", (error) => {
  process.stderr.write(reportText(error));
  process.exit(EXIT.unexpected);
});
// `pgstage status | head`: nobody reads any more.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code !== "EPIPE") throw error;
  process.exit();
});

try {
  process.exitCode = await runCli(process.argv.slice(2), {
    env: process.env,
    stdout: process.stdout,
    stderr: process.stderr,
    signal: stop.signal,
  });
} catch (error) {
  process.stderr.write(reportText(error));
  process.exitCode = EXIT.unexpected;
}
setTimeout(() => process.exit(), LINGER_MS).unref();
