import type { Client } from "pg";
import { messageOf, OperatorError, SettingsError } from "../core/errors.ts";
import { formatLsn } from "../core/lsn.ts";
import { tableName } from "../core/table.ts";
import { beginAnew } from "../daemon/resync.ts";
import { resolveTables } from "../daemon/table-names.ts";
import { readLog } from "../delivery/log.ts";
import { patience } from "../delivery/patience.ts";
import { clean } from "../observe/terminal.ts";
import { countOf } from "../observe/units.ts";
import { askResync } from "../postgres/resync-channel.ts";
import { readSlot } from "../postgres/slot.ts";
import { EXIT } from "../report.ts";
import type { Settings } from "../settings/settings.ts";
import { openStore } from "../stores/open.ts";
import type { Store } from "../stores/store.ts";
import type { CommandContext } from "./context.ts";
import { withSource } from "./source.ts";

/** Names in one request to the daemon, in bytes: NOTIFY takes 8,000 with what is around them. */
const NAMES_PER_REQUEST_BYTES = 6_000;

/** Asks the running daemon to copy tables afresh; with --all and no daemon, begins anew. */
export async function run(context: CommandContext): Promise<number> {
  const all = context.options["all"] === true;
  refuseContradiction(context, all);
  const settings = context.settings();
  const store = await openStore(settings.stage);
  try {
    return await withSource(settings.source, async (client, serverVersion) => {
      const slot = await readSlot(client, settings.source.slot, serverVersion);
      const at: Place = { context, settings, store, client, serverVersion };
      if (slot?.active) return askDaemon(at, all);
      if (all) return withoutDaemon(at);
      throw new OperatorError(
        `no daemon holds the slot ${settings.source.slot}, so nobody would copy`,
        "start `pgstage run` and try again; if it does not start because slot and log have parted, run `pgstage resync --all`",
      );
    });
  } finally {
    store.close();
  }
}

function refuseContradiction({ args, options }: CommandContext, all: boolean): void {
  if (!all && args.length === 0)
    throw new SettingsError(["resync: name the tables to copy afresh, or --all"]);
  if (all && args.length > 0)
    throw new SettingsError(["resync: --all is given beside names of tables: choose one"]);
  if (options["newSource"] === true && !all)
    throw new SettingsError(["resync: --new-source goes with --all only"]);
}

interface Place {
  readonly context: CommandContext;
  readonly settings: Settings;
  readonly store: Store;
  readonly client: Client;
  readonly serverVersion: number;
}

async function askDaemon({ context, settings, store, client }: Place, all: boolean): Promise<number> {
  const reading = await readLog(store);
  if (!reading) {
    throw new OperatorError(
      `a daemon holds the slot ${settings.source.slot}, but the stage ${store.url} has no log: it writes to another stage`,
      "set stage.url to the daemon's",
    );
  }
  const tables = Object.values(reading.state.tables).map(({ catalog }) => catalog);
  const { names, unknown } = all
    ? { names: tables.map(tableName), unknown: [] }
    : resolveTables(context.args, tables);
  if (unknown.length > 0) throw unknownTables(unknown);
  const requests = all ? ["all" as const] : chunked(names);
  for (const request of requests) await ask(client, settings.source.slot, request);
  context.stdout.write(
    `The daemon copies ${countOf(names.length, "table")} afresh, while changes go on being staged${all ? "." : `:\n${names.map((name) => `  ${clean(name)}\n`).join("")}`}\n`.replace(
      /\n\n$/,
      "\n",
    ) +
      "Each new copy begins with a t row: what was staged of the table before it no longer counts.\n`pgstage status` shows how far it is.\n",
  );
  return EXIT.done;
}

function unknownTables(unknown: ReturnType<typeof resolveTables>["unknown"]): OperatorError {
  const words = unknown.map(
    ({ asked, nearest }) => `${asked}${nearest === null ? "" : ` (did you mean ${nearest}?)`}`,
  );
  return new OperatorError(
    `no captured table is called ${words.join(", ")}; nothing was asked for`,
    "`pgstage status --json` lists the tables that are captured",
  );
}

/** Lists that fit into a request each. */
function chunked(names: readonly string[]): string[][] {
  const chunks: string[][] = [];
  let bytes = Number.POSITIVE_INFINITY;
  for (const name of names) {
    const size = Buffer.byteLength(JSON.stringify(name)) + 1;
    if (bytes + size > NAMES_PER_REQUEST_BYTES) {
      chunks.push([]);
      bytes = 0;
    }
    chunks.at(-1)?.push(name);
    bytes += size;
  }
  return chunks;
}

async function ask(client: Client, slot: string, tables: readonly string[] | "all"): Promise<void> {
  const answer = await askResync(client, slot, tables);
  if (answer === null) {
    throw new OperatorError(
      `the daemon that holds the slot ${slot} does not answer`,
      "see its log; a version of pgstage without resync has to be replaced first",
    );
  }
  if (answer.error !== undefined) {
    throw new OperatorError(`the daemon could not do it: ${answer.error}`, "see its log, and try again");
  }
  if (answer.unknown.length > 0) {
    throw new OperatorError(
      `the daemon does not capture ${answer.unknown.join(", ")} any more; the other tables are copied afresh`,
      "`pgstage status --json` lists the tables that are captured",
    );
  }
}

async function withoutDaemon({ context, settings, store, client, serverVersion }: Place): Promise<number> {
  const { stdout, signal, options } = context;
  const tell = (line: string): void => void stdout.write(`${line}\n`);
  const patiently = patience(signal, {
    failed: (what, error) => tell(`${what}: ${messageOf(error)}; trying again`),
    succeeded: () => {},
  });
  const newSource = options["newSource"] === true;
  const begun = await beginAnew({
    settings,
    store,
    client,
    serverVersion,
    patiently,
    signal,
    newSource,
    tell,
  });
  if (begun === "nothing") {
    tell(
      "The stage holds no changes of a stream, so the next `pgstage run` copies every table afresh anyway. Nothing was done.",
    );
    return EXIT.done;
  }
  tell(
    `Changes are kept from ${formatLsn(begun.from)} on. Start \`pgstage run\` soon: it copies ${newSource ? "every table" : countOf(begun.tables, "table")} afresh, and the server keeps WAL for it until then.`,
  );
  return EXIT.done;
}
