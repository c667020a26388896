import { setTimeout as delay } from "node:timers/promises";
import { BusyError, TransientError } from "../core/errors.ts";
import type { Shape } from "../core/shape.ts";
import { formatLsn } from "../core/lsn.ts";
import { tableName, type CatalogTable, type SeenShape } from "../core/table.ts";
import type { Delivery } from "../delivery/delivery.ts";
import type { State } from "../delivery/state.ts";
import { readCatalogAtOnce, type Catalog } from "../postgres/catalog.ts";
import { readPublicationFacts } from "../postgres/preflight/publication-facts.ts";
import {
  hasLostIdentity,
  publicationsOf,
  readMemberships,
  syncMembership,
  type Memberships,
} from "../postgres/publication.ts";
import { FailureLog } from "../observe/failures.ts";
import type { SeenRelation } from "../stream/reader.ts";
import { asBusy } from "../postgres/sql-connection.ts";
import { compareCatalog } from "./discovery.ts";
import { refuseThinner } from "./preflight/publications.ts";
import { pause } from "./pause.ts";
import { onShape, reportDifference, reportTables } from "./reports.ts";
import type { LockParts } from "./slot-lock.ts";

/** A RELATION message in another shape is followed by a look at the catalog, after what else belongs to the same ALTERs. */
const AFTER_SHAPE_MS = 1_000;
/** A look that somebody's lock has ended is made again after this. */
const AFTER_BUSY_MS = 5_000;
/** A table that has lost its identity makes the application's UPDATE fail for this long, and for the look that follows. */
const GUARD_EVERY_MS = 1_000;

/** Tables that stay out of reach, by OID, and who has locked them. */
type Locked = ReadonlyMap<number, string>;

export interface CatalogWatchParts {
  readonly delivery: Delivery;
  readonly captures: (schema: string, table: string) => boolean;
}

/** Keeps publications and log in step with the tables that there are. */
export class CatalogWatch {
  onCopies: () => void = () => {};
  readonly #parts: LockParts;
  readonly #delivery: Delivery;
  readonly #captures: CatalogWatchParts["captures"];
  readonly #failures: FailureLog;
  #poke: () => void = () => {};
  #poked: Promise<void>;
  /** Resolves once every shape that was seen is recorded. */
  #remembered: Promise<void> = Promise.resolve();
  /** Tables whose publication waits for a lock, as they were told. */
  #lockedNames: string[] = [];

  constructor(parts: LockParts, { delivery, captures }: CatalogWatchParts) {
    this.#parts = parts;
    this.#delivery = delivery;
    this.#captures = captures;
    this.#failures = new FailureLog(parts.log, "the catalog could not be read; it is tried again");
    this.#poked = this.#nextPoke();
  }

  /** Looks every discovery.interval, and sooner when something shows that it is needed. Rejects only if nothing helps. */
  async run(signal: AbortSignal): Promise<void> {
    const guard = this.#guard(signal);
    await Promise.all([guard, this.#looks(signal)]);
  }

  async #looks(signal: AbortSignal): Promise<void> {
    const { intervalMs } = this.#parts.settings.discovery;
    while (!signal.aborted) {
      await pause(intervalMs, this.#poked, signal);
      if (signal.aborted) return;
      this.#poked = this.#nextPoke();
      await this.#lookAgain(signal);
    }
  }

  /** A table that somebody alters at this moment, or a connection that is lost, is looked at again. */
  async #lookAgain(signal: AbortSignal): Promise<void> {
    try {
      await this.look();
      this.#failures.recovered();
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof TransientError)) throw error;
      if (error instanceof BusyError) {
        this.#failures.failed(error);
        this.#soon(AFTER_BUSY_MS);
      } else {
        // Whoever watches the source says that it is down.
        this.#parts.log.debug({ err: error }, "the catalog could not be read: the connection was lost");
      }
    }
  }

  /** A table that somebody has locked, perhaps for hours, keeps no change waiting: what the log knows will do. */
  async firstLook(): Promise<void> {
    try {
      await this.look();
    } catch (error) {
      if (!(error instanceof BusyError)) throw error;
      this.#failures.failed(error);
      reportTables(this.#parts, this.#delivery.state, []);
      this.#soon(AFTER_BUSY_MS);
    }
  }

  #soon(ms: number): void {
    setTimeout(() => this.#poke(), ms).unref();
  }

  /** Asks only whether somebody's UPDATE fails because of us; the look at the catalog does the rest. */
  async #guard(signal: AbortSignal): Promise<void> {
    const { sql, settings } = this.#parts;
    const names = publicationsOf(settings.source.publication);
    if (!settings.source.manage) return;
    while (!signal.aborted) {
      await delay(GUARD_EVERY_MS, undefined, { signal }).catch(() => {});
      if (signal.aborted) return;
      const lost = await sql.use((client) => hasLostIdentity(client, names)).catch(() => false);
      if (lost) this.#poke();
    }
  }

  #nextPoke(): Promise<void> {
    return new Promise((resolve) => {
      this.#poke = resolve;
    });
  }

  /** The stream shows a relation in another shape than the log knows: perhaps old rows changed, too. */
  shapeSeen(relation: SeenRelation): void {
    const { shape, root } = relation;
    if (root !== undefined) {
      this.#partitionSeen(relation, root);
      return;
    }
    const known = this.#delivery.state.tables[shape.oid];
    if (known && sameColumns(known.catalog, shape)) return;
    if (!known && !this.#captures(shape.schema, shape.table)) return;
    if (known) {
      onShape(this.#parts, known.catalog, shape);
      this.#remember(shape.oid, relation);
    }
    this.#soon(AFTER_SHAPE_MS);
  }

  /**
   * No event tells that a partition was dropped or detached: the log has to know of each that rows came from. And of
   * each that was a table of its own, or another one's partition: what its rows were sent as is not that table's.
   */
  #partitionSeen(relation: SeenRelation, root: number): void {
    for (const { catalog } of Object.values(this.#delivery.state.tables)) {
      const isPart = catalog.storages.some((storage) => storage.oid === relation.shape.oid);
      if (isPart === (catalog.oid === root)) continue;
      this.#remember(catalog.oid, relation);
      this.#soon(AFTER_SHAPE_MS);
    }
  }

  /** Recorded before the rows of this shape are, so that a start knows of it, too. */
  #remember(oid: number, { shape, commitLsn, root }: SeenRelation): void {
    const { schema, table, key } = shape;
    const columns = shape.columns.map(({ name, typeOid }) => ({ name, typeOid }));
    const leaf = root === undefined ? {} : { leaf: shape.oid, root };
    const seen = { commitLsn: formatLsn(commitLsn), schema, table, columns, key, ...leaf };
    const recorded = this.#delivery.record([{ event: "seen", oid, shape: seen }]);
    // A failure is told to whoever submits next.
    this.#remembered = Promise.all([this.#remembered, recorded]).then(
      () => {},
      () => {},
    );
  }

  /** One look: membership first, committed, and only then the plan to copy what is new. */
  async look(): Promise<void> {
    const startedAtMs = performance.now();
    await this.#remembered;
    // What the stream shows from now on may be newer than what is read: it is for the next look.
    const seen = seenBy(this.#delivery.state);
    const { tables, notCaptured, published, locked } = await this.#readCatalog();
    const known = asBefore(this.#delivery.state, tables, locked);
    for (const oid of locked.keys()) seen.delete(oid);
    const { captured, unpublished } = splitPublished(known, published);
    const difference = compareCatalog(this.#delivery.state, captured, { members: published, seen });
    await this.#delivery.record(difference.events);
    reportDifference(this.#parts, difference);
    this.#tellLocked(tables, locked);
    reportTables(this.#parts, this.#delivery.state, [
      ...notCaptured.filter(({ table }) => this.#wantsName(table)),
      ...unpublished,
    ]);
    const tookMs = Math.round(performance.now() - startedAtMs);
    this.#parts.log.debug(
      { tables: captured.length, copies: difference.copies.length, took_ms: tookMs },
      "catalog read",
    );
    if (difference.events.length > 0) this.onCopies();
  }

  /** The tables that are wanted, with the publications in line with them. */
  async #readCatalog(): Promise<Catalog & { published: Memberships; locked: Locked }> {
    const { sql, settings, serverVersion } = this.#parts;
    const { source } = settings;
    const names = publicationsOf(source.publication);
    return sql
      .use(async (client) => {
        const all = await readCatalogAtOnce(client, source.schemas, serverVersion);
        const tables = all.tables.filter((table) => this.#captures(table.schema, table.name));
        const present = await readPublicationFacts(client, [names.all, names.insertOnly], serverVersion);
        const { manage } = source;
        // A new partitioned table that others publish by its partitions is not captured, which is told; no more.
        const carried = tables.filter(
          (table) => !table.partitioned || this.#delivery.state.tables[table.oid],
        );
        refuseThinner({ names, present, tables: carried, manage, serverVersion, rights: new Map() });
        const locked: Locked = manage ? await syncMembership(client, names, tables) : new Map();
        return { ...all, tables, locked, published: await readMemberships(client, names, serverVersion) };
      })
      .catch((error: unknown) => {
        throw asBusy(error);
      });
  }

  /** Says who is in the way, and takes back what was said of tables that are locked no more. */
  #tellLocked(tables: readonly CatalogTable[], locked: Locked): void {
    const now = new Map(
      tables.flatMap((table) => {
        const holder = locked.get(table.oid);
        return holder === undefined ? [] : [[tableName(table), holder]];
      }),
    );
    for (const table of this.#lockedNames) {
      if (!now.has(table)) this.#parts.observations.clear("publication-waits", table);
    }
    for (const [table, holder] of now) {
      this.#parts.observations.hold("publication-waits", { table, holder }, table);
    }
    this.#lockedNames = [...now.keys()];
    if (now.size > 0) this.#soon(AFTER_BUSY_MS);
  }

  /** Marks tables as to be copied afresh; resolves with the names of those that are not captured. */
  async resync(tables: readonly string[] | "all"): Promise<string[]> {
    const records = Object.values(this.#delivery.state.tables);
    const wanted =
      tables === "all" ? records : records.filter((record) => tables.includes(tableName(record.catalog)));
    const copy = { phase: "pending", reason: "an operator asked for it" } as const;
    await this.#delivery.record(wanted.map((record) => ({ event: "table", table: { ...record, copy } })));
    for (const { catalog } of wanted)
      this.#parts.observations.raise(
        "copied-afresh",
        { table: tableName(catalog), reason: copy.reason },
        tableName(catalog),
      );
    this.onCopies();
    const known = new Set(wanted.map((record) => tableName(record.catalog)));
    return tables === "all" ? [] : tables.filter((table) => !known.has(table));
  }

  #wantsName(table: string): boolean {
    const dot = table.indexOf(".");
    return this.#captures(table.slice(0, dot), table.slice(dot + 1));
  }
}

/** A table whose publication could not be altered: the log keeps what it knows of it, and learns nothing of a new one. */
function asBefore(state: State, tables: readonly CatalogTable[], locked: Locked): CatalogTable[] {
  return tables.flatMap((table) => {
    if (!locked.has(table.oid)) return [table];
    return state.tables[table.oid]?.catalog ?? [];
  });
}

/** With a publication made by a DBA, tables that it does not hold cannot be captured. */
function splitPublished(
  tables: readonly CatalogTable[],
  published: Memberships,
): { captured: CatalogTable[]; unpublished: Catalog["notCaptured"] } {
  const isIn = (table: CatalogTable): boolean =>
    published.has(table.oid) || (table.partitioned && table.storages.length === 0);
  return {
    captured: tables.filter(isIn),
    unpublished: tables
      .filter((table) => !isIn(table))
      .map((table) => ({ table: tableName(table), reason: "it is in no publication of ours" })),
  };
}

function seenBy(state: State): Map<number, readonly SeenShape[]> {
  const records = Object.values(state.tables).filter(({ seen = [] }) => seen.length > 0);
  return new Map(records.map(({ catalog, seen = [] }) => [catalog.oid, seen]));
}

function sameColumns(table: CatalogTable, shape: Shape): boolean {
  if (table.schema !== shape.schema || table.name !== shape.table) return false;
  const text = (columns: readonly { name: string; typeOid: number; typeModifier: number }[]): string =>
    JSON.stringify(columns.map((column) => [column.name, column.typeOid, column.typeModifier]));
  return text(table.columns) === text(shape.columns) && table.key.join("\0") === shape.key.join("\0");
}
