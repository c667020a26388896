import { runCli } from "../../src/cli.ts";

/** The command line from the sources, with Ctrl-C as main.ts has it: `tsx test/demo/main.ts demo --seconds 8`. */
const stop = new AbortController();
process.on("SIGINT", () => stop.abort(new Error("stopped by SIGINT")));
process.exitCode = await runCli(process.argv.slice(2), {
  env: process.env,
  stdout: process.stdout,
  stderr: process.stderr,
  signal: stop.signal,
  modules: { demo: () => import("../../src/commands/demo.ts") },
});
setTimeout(() => process.exit(), 1000).unref();
