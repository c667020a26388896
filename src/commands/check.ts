import { preflight } from "../daemon/preflight.ts";
import { wantsColor } from "../observe/terminal.ts";
import { EXIT } from "../report.ts";
import { openStore } from "../stores/open.ts";
import { renderChecks } from "./check-text.ts";
import type { CommandContext } from "./context.ts";

/** Every prerequisite, and what to do about it. */
export async function run(context: CommandContext): Promise<number> {
  const settings = context.settings();
  const { stdout, env } = context;
  const store = await openStore(settings.stage);
  try {
    const checks = await preflight({ settings, store, purpose: "run" });
    if (context.options["json"] === true) stdout.write(`${JSON.stringify(checks, null, 2)}\n`);
    else stdout.write(renderChecks(checks, { color: wantsColor(stdout, env), width: stdout.columns }));
    return checks.some(({ verdict }) => verdict === "fail") ? EXIT.operator : EXIT.done;
  } finally {
    store.close();
  }
}
