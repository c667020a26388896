import { pathToFileURL } from "node:url";
import { connectSource, type SourceAccess } from "../../src/postgres/connect.ts";
import { openStore } from "../../src/stores/open.ts";
import type { Store } from "../../src/stores/store.ts";
import { verifyTables, type VerifyOptions } from "../../src/verify/verify.ts";
import type { Verdict } from "../../src/verify/result.ts";

export type { Verdict } from "../../src/verify/result.ts";

/** Access to a server on this machine from its URL. */
export function sourceAccess(url: string): SourceAccess {
  const { hostname, port, username, password, pathname } = new URL(url);
  return {
    host: hostname,
    port: Number(port),
    user: decodeURIComponent(username),
    database: decodeURIComponent(pathname.slice(1)),
    auth: "password",
    tls: "disable",
    slot: "pgstage",
    ...(password === "" ? {} : { password: decodeURIComponent(password) }),
  };
}

type Choice = Partial<Omit<VerifyOptions, "store">>;

/**
 * Rebuilds every table of `schemas` (public) from the stage in DuckDB and compares it with the source, row by row;
 * checks the stage's files and log, too. `stage` is a directory or an open store.
 *
 * Does not wait for the daemon unless it is given `timeoutMs`: the source must be quiet and the daemon drained, or
 * the result says `behind`.
 */
export async function compareStageWithSource(
  stage: string | Store,
  sourceUrl: string,
  choice: Choice = {},
): Promise<Verdict> {
  const store = typeof stage === "string" ? await openStore({ url: pathToFileURL(stage).href }) : stage;
  const access = sourceAccess(sourceUrl);
  try {
    return await verifyTables({
      store,
      connect: (kind) => connectSource(access, kind),
      schemas: ["public"],
      timeoutMs: 0,
      ...choice,
    });
  } finally {
    if (store !== stage) store.close();
  }
}

/** What is not as it must be, in lines for an assertion's message; empty if all is well. */
export function differences(verdict: Verdict): string[] {
  const tables = verdict.tables
    .filter(({ outcome }) => outcome !== "equal")
    .map(({ table, outcome, note, rows, missing, extra, different, examples }) =>
      JSON.stringify({ table, outcome, note, rows, missing, extra, different, examples }),
    );
  const stage = verdict.stage.problems.map(({ key, problem }) => `${key} ${problem}`);
  return [...tables, ...stage];
}
