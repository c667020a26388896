import { countOf } from "../observe/units.ts";
import { connectSource } from "../postgres/connect.ts";
import type { SourceSettings } from "../settings/settings.ts";
import type { Store } from "../stores/store.ts";
import { renderVerdict } from "../verify/report.ts";
import { verifyTables } from "../verify/verify.ts";
import type { Screen } from "./screen.ts";
import { loadWarehouse } from "./warehouse.ts";

/** What is compared with what, and where it is told. */
export interface Sides {
  readonly screen: Screen;
  readonly store: Store;
  readonly source: SourceSettings;
  readonly signal: AbortSignal;
}

/** Resolves with true if every table, rebuilt from the staged files, equals the source's. */
export async function proveStage({ screen, store, source, signal }: Sides): Promise<boolean> {
  screen.line(
    "Every table is rebuilt from the staged files with DuckDB and compared with Postgres, row by row:",
  );
  const verdict = await verifyTables({
    store,
    connect: (kind) => connectSource(source, kind),
    schemas: source.schemas,
    timeoutMs: 0,
    signal,
  });
  screen.line();
  screen.line(renderVerdict(verdict).trimEnd());
  return verdict.ok;
}

/** The same once more, by the way that rows take to Snowflake. `path` is the warehouse's file. */
export async function proveWarehouse({ screen, store, source }: Sides, path: string): Promise<boolean> {
  screen.line();
  screen.line(
    "The files are loaded by Snowpipe's rules (any order, in pieces, some announced twice) into the",
  );
  screen.line("landing tables of `pgstage sql`, played by DuckDB, and its views are compared with Postgres:");
  const client = await connectSource(source, "sql");
  try {
    const verdict = await loadWarehouse(path, store, client);
    for (const problem of verdict.problems) screen.line(`  ${problem}`);
    const loaded = `${countOf(verdict.files, "file")} with ${countOf(verdict.rows, "row")} loaded`;
    const word = verdict.ok ? "Equal" : "NOT EQUAL";
    screen.line(`${word}: ${countOf(verdict.tables, "view")}, ${loaded}. Look: duckdb ${path}`);
    return verdict.ok;
  } finally {
    await client.end();
  }
}
