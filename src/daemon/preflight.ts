import { OperatorError } from "../core/errors.ts";
import { readLog, type Reading } from "../delivery/log.ts";
import { applicationName } from "../postgres/connect.ts";
import { publicationsOf } from "../postgres/publication.ts";
import { skip, type Check } from "./preflight/check.ts";
import { checkPublications } from "./preflight/publications.ts";
import { checkServer } from "./preflight/server.ts";
import { asError, failed, openSource, type PreflightOptions, type SourceView } from "./preflight/source.ts";
import { checkLog, checkProbes, checkSnapshotStage, compareSlot } from "./preflight/stage.ts";
import { checkTables } from "./preflight/tables.ts";
import { branchPoint, identifySystem, identityOf } from "./source-facts.ts";

export type { Check, Verdict } from "./preflight/check.ts";
export type { PreflightOptions } from "./preflight/source.ts";

/** Looks at every prerequisite in source and stage, in a few queries and requests, and alters nothing. Does not reject. */
export async function preflight(options: PreflightOptions): Promise<Check[]> {
  const probing = options.store.probe();
  const source = await openSource(options);
  try {
    const probes = checkProbes(await probing);
    const stage = await readStage(options, probes);
    if (source.view === null) return [...source.checks, ...stage.checks, skip("slot", "not connected")];
    const compared = await compare(source.view, options, stage);
    return [...source.checks, ...compared.source, ...stage.checks, compared.slot];
  } catch (error) {
    return [...source.checks, failed("source", error)];
  } finally {
    await source.view?.close();
  }
}

interface StageView {
  readonly checks: Check[];
  /** False: it is not known whether there is a log. */
  readonly isKnown: boolean;
  readonly reading: Reading | null;
}

/** After the slot has been read: a live daemon moves both, and the slot last. */
async function readStage({ store }: PreflightOptions, probes: Check[]): Promise<StageView> {
  if (probes.some(({ verdict }) => verdict === "fail")) {
    return { checks: [...probes, skip("stage log", NO_STAGE)], isKnown: false, reading: null };
  }
  const reading = await readLog(store).catch(asError);
  const checks = [...probes, checkLog(reading)];
  return reading instanceof Error
    ? { checks, isKnown: false, reading: null }
    : { checks, isKnown: true, reading };
}

const NO_STAGE = "the stage cannot be used";

/** A snapshot reads rows, whatever identifies them, and its slot lives for a moment. */
const ONLY_FOR_STREAMS: ReadonlySet<string> = new Set([
  "replica identity",
  "WAL limit",
  "idle slot timeout",
  "synchronous replication",
]);

interface Compared {
  readonly source: Check[];
  readonly slot: Check;
}

async function compare(view: SourceView, options: PreflightOptions, stage: StageView): Promise<Compared> {
  const { reading } = stage;
  const slot = stage.isKnown
    ? await slotCheck(view, options, reading)
    : { check: skip("slot", NO_STAGE), plan: null };
  const state = reading?.state ?? null;
  const isHeld = slot.plan?.slot === "wait";
  const isSnapshot = options.purpose === "snapshot";
  const captured = new Set(view.catalog.tables.map(({ oid }) => oid));
  const copied = Object.values(state?.tables ?? {})
    .filter(({ copy }) => copy.phase === "copied")
    .map(({ catalog }) => catalog.oid);
  const situation = {
    needsSlot: !isSnapshot && view.slot === null,
    needsCopy: isSnapshot || state?.endLsn == null || [...captured].some((oid) => !copied.includes(oid)),
    isHeld,
    workers: options.settings.snapshot.workers,
    applicationName: applicationName(options.settings.source.slot),
    nowMs: view.nowMs,
  };
  const tables = checkTables(tableSituation(view, options, state?.endLsn == null));
  const publications = isSnapshot ? [] : publicationChecks(view, options);
  const all = [...checkServer(view.facts, situation), ...tables, ...publications];
  return {
    source: isSnapshot ? all.filter(({ name }) => !ONLY_FOR_STREAMS.has(name)) : all,
    slot: slot.check,
  };
}

async function slotCheck(
  view: SourceView,
  { settings, purpose }: PreflightOptions,
  reading: Reading | null,
): Promise<ReturnType<typeof compareSlot>> {
  if (view.replication === null) return { check: skip("slot", "no replication connection"), plan: null };
  if (purpose === "snapshot") return { check: checkSnapshotStage(reading), plan: null };
  try {
    const server = await identifySystem(view.replication);
    const identity = identityOf(server, settings.source);
    const branchedAt = await branchPoint(
      view.replication,
      identity.timeline,
      reading?.state.pipeline.timeline ?? identity.timeline,
    );
    // Of several that start at once, one may have made the slot since we looked.
    const slot = view.slot ?? (reading === null ? null : await view.slotNow());
    return compareSlot({
      state: reading?.state ?? null,
      slot,
      identity,
      branchedAt,
      flushedLsn: server.flushedLsn,
      lastKind: reading?.last.kind,
    });
  } catch (error) {
    return { check: failed("slot", error), plan: null };
  }
}

function tableSituation(
  view: SourceView,
  { settings, purpose }: PreflightOptions,
  isFirstStart: boolean,
): Parameters<typeof checkTables>[0] {
  const { facts, schemas, rights, catalog } = view;
  const { tables, notCaptured, rowSecurity } = catalog;
  const about = { user: facts.user, schemas, tables, notCaptured, rights, rowSecurity };
  return {
    ...about,
    metadataPrefix: settings.format.metadataPrefix,
    isFirstStart: isFirstStart || purpose === "snapshot",
  };
}

function publicationChecks(view: SourceView, { settings }: PreflightOptions): Check[] {
  const { facts, rights, catalog, publications } = view;
  const { user, database, isSuperuser, mayCreateInDatabase, version } = facts;
  return checkPublications({
    user,
    database,
    isSuperuser,
    mayCreateInDatabase,
    serverVersion: version,
    manage: settings.source.manage,
    names: publicationsOf(settings.source.publication),
    present: publications,
    tables: catalog.tables,
    rights,
  });
}

/** What keeps the daemon from starting. */
function stopping(checks: readonly Check[]): Check[] {
  return checks.filter(({ verdict, passing }) => verdict === "fail" && passing !== true);
}

/** Throws one OperatorError for all that fails. */
export function refuseFailed(checks: readonly Check[]): void {
  const failing = stopping(checks);
  const [first] = failing;
  if (!first) return;
  if (failing.length === 1) throw new OperatorError(`${first.name}: ${first.found}`, first.mend);
  const list = (of: (check: Check) => string): string =>
    failing.map((check, index) => `(${index + 1}) ${of(check)}`).join("; ");
  throw new OperatorError(
    `${failing.length} prerequisites fail: ${list(({ name, found }) => `${name}: ${found}`)}`,
    list(({ mend }) => mend),
  );
}
