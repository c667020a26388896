import { OperatorError } from "../../core/errors.ts";
import { tableName, type CatalogTable } from "../../core/table.ts";
import { countOf } from "../../observe/units.ts";
import type { PublicationFacts } from "../../postgres/preflight/publication-facts.ts";
import type { TableRights } from "../../postgres/preflight/table-facts.ts";
import { createStatement, type Publications } from "../../postgres/publication.ts";
import { ident, qualified } from "../../postgres/quote.ts";
import { fail, listed, ok, warn, type Check } from "./check.ts";

const NAME = "publications";

export interface PublicationSituation {
  readonly user: string;
  readonly database: string;
  readonly isSuperuser: boolean;
  readonly mayCreateInDatabase: boolean;
  readonly serverVersion: number;
  /** Setting source.manage. */
  readonly manage: boolean;
  readonly names: Publications;
  /** Those that exist, by name. */
  readonly present: ReadonlyMap<string, PublicationFacts>;
  /** Captured tables. */
  readonly tables: readonly CatalogTable[];
  readonly rights: ReadonlyMap<number, TableRights>;
}

/** Decides whether the stream will carry everything of the captured tables, and who has to do what for it. Pure. */
export function checkPublications(situation: PublicationSituation): Check[] {
  const content = checkContent(situation);
  const work = situation.manage ? checkOwnWork(situation) : checkOthersWork(situation);
  const all = [...content, ...work];
  if (all.some(({ verdict }) => verdict === "fail")) return all.filter(({ verdict }) => verdict !== "ok");
  return all;
}

type ContentSituation = Pick<
  PublicationSituation,
  "serverVersion" | "manage" | "names" | "present" | "tables" | "rights"
>;

/** What an ALTER does not bring back, as a comment, so that all of it can be pasted. */
const THEN_AFRESH =
  "; -- then, if the stage holds anything from before: pgstage resync --all, since what was not published is lost to the stream";

/** While a daemon runs: throws an OperatorError if somebody altered a publication so that it sends less than there is. */
export function refuseThinner(situation: ContentSituation): void {
  const { names, present, manage, serverVersion } = situation;
  for (const name of manage ? [names.all, names.insertOnly] : [names.all]) {
    if (present.has(name)) continue;
    throw new OperatorError(
      `publication ${name} is not there: what it should have sent is lost to the stream`,
      `${createStatement(name, names, serverVersion)}; then \`pgstage resync --all\``,
    );
  }
  const [problem] = checkContent(situation).filter(
    ({ verdict, passing }) => verdict === "fail" && passing !== true,
  );
  if (problem) throw new OperatorError(problem.found, problem.mend);
}

/** What of an existing publication makes the stream thinner than the tables, whoever made it. */
function checkContent(situation: ContentSituation): Check[] {
  const { names, present, tables, manage } = situation;
  const all = present.get(names.all);
  if (!all) return [];
  const checks: Check[] = [];
  const missing = (["insert", "update", "delete", "truncate"] as const).filter(
    (kind) => !all.publishes.includes(kind),
  );
  if (missing.length > 0) {
    checks.push(
      fail(
        NAME,
        `${names.all} does not publish ${missing.join(", ")}`,
        `ALTER PUBLICATION ${ident(names.all)} SET (publish = 'insert, update, delete, truncate')${THEN_AFRESH}`,
      ),
    );
  }
  for (const publication of present.values()) checks.push(...checkMembers(publication, situation));
  const unidentified = tables.filter((table) => table.insertOnly && all.tables.has(table.oid));
  if (unidentified.length > 0 && !manage) {
    const list = unidentified.map((table) => `ONLY ${qualified(table)}`).join(", ");
    const insertOnly = present.has(names.insertOnly)
      ? `ALTER PUBLICATION ${ident(names.insertOnly)} ADD TABLE ${list}`
      : withTables(createStatement(names.insertOnly, names, situation.serverVersion), unidentified);
    checks.push(
      fail(
        NAME,
        `the application cannot UPDATE or DELETE rows of ${listed(unidentified.map(tableName))}: ${names.all} publishes them, and nothing identifies a row`,
        all.reachesAll
          ? `give each a primary key or REPLICA IDENTITY FULL, or make ${ident(names.all)} anew with a list of tables`
          : `ALTER PUBLICATION ${ident(names.all)} DROP TABLE ${list}; ${insertOnly}`,
        true,
      ),
    );
  }
  return checks;
}

function checkMembers(
  publication: PublicationFacts,
  { tables, rights, serverVersion }: ContentSituation,
): Check[] {
  const checks: Check[] = [];
  const partial = tables.filter((table) => publication.partial.has(table.oid));
  if (partial.length > 0) {
    const list = partial.map((table) => `ONLY ${qualified(table)}`).join(", ");
    checks.push(
      fail(
        NAME,
        `${publication.name} has a row filter or a column list for ${listed(partial.map(tableName))}: changes would be missing`,
        `ALTER PUBLICATION ${ident(publication.name)} DROP TABLE ${list}; ALTER PUBLICATION ${ident(publication.name)} ADD TABLE ${list}`,
      ),
    );
  }
  const partitioned = tables.filter((table) => table.partitioned);
  if (!publication.viaRoot && partitioned.length > 0) {
    checks.push(
      fail(
        NAME,
        `${publication.name} publishes partitions under their own names, and ${listed(partitioned.map(tableName))} ${partitioned.length === 1 ? "is" : "are"} partitioned`,
        `ALTER PUBLICATION ${ident(publication.name)} SET (publish_via_partition_root = true)${THEN_AFRESH}`,
      ),
    );
  }
  const generated = tables.filter((table) => rights.get(table.oid)?.hasGenerated);
  if (serverVersion >= 18 && !publication.generated && generated.length > 0) {
    checks.push(
      fail(
        NAME,
        `${publication.name} leaves out stored generated columns, and ${listed(generated.map(tableName))} ${generated.length === 1 ? "has" : "have"} some`,
        `ALTER PUBLICATION ${ident(publication.name)} SET (publish_generated_columns = stored)${THEN_AFRESH}`,
      ),
    );
  }
  return checks;
}

/** source.manage: the publications are ours to make and to keep. */
function checkOwnWork(situation: PublicationSituation): Check[] {
  const { names, present, tables } = situation;
  const reaching = [...present.values()].filter(({ reachesAll }) => reachesAll).map(({ name }) => name);
  if (reaching.length > 0) {
    return [
      fail(
        NAME,
        `${reaching.join(", ")} is FOR ALL TABLES or for whole schemas, which reaches tables without identity, too`,
        "set source.publication to a name of pgstage's own, or source.manage = false to leave this one as it is",
      ),
    ];
  }
  const toAdd = tables.filter(
    (table) => !present.get(table.insertOnly ? names.insertOnly : names.all)?.tables.has(table.oid),
  );
  const missing = situation.isSuperuser ? [] : missingRights(situation, toAdd);
  if (missing.length > 0) {
    const { grants, founds } = {
      grants: missing.map(({ grant }) => grant),
      founds: missing.map(({ found }) => found),
    };
    const statements = dbaStatements(situation);
    const orDba =
      statements.length === 0
        ? ""
        : `; or let a DBA run this, and set source.manage = false:\n${statements.join("\n")}`;
    return [fail(NAME, founds.join("; "), `${grants.join("; ")}${orDba}`)];
  }
  const absent = [names.all, names.insertOnly].filter((name) => !present.has(name));
  if (absent.length === 2)
    return [ok(NAME, `${absent.join(" and ")} will be made, for ${countOf(tables.length, "table")}`)];
  return [
    ok(
      NAME,
      toAdd.length === 0
        ? `${names.all} publishes all of them`
        : `${countOf(toAdd.length, "table")} will be added to ${names.all}`,
    ),
  ];
}

interface MissingRight {
  readonly found: string;
  readonly grant: string;
}

function missingRights(situation: PublicationSituation, toAdd: readonly CatalogTable[]): MissingRight[] {
  const { user, database, names, present, rights } = situation;
  const missing: MissingRight[] = [];
  const absent = [names.all, names.insertOnly].filter((name) => !present.has(name));
  if (absent.length > 0 && !situation.mayCreateInDatabase) {
    const grant = `GRANT CREATE ON DATABASE ${ident(database)} TO ${ident(user)}`;
    missing.push({ found: `${user} may not create ${absent.join(" and ")}`, grant });
  }
  for (const { name, owner, isOwned } of present.values()) {
    if (isOwned) continue;
    const grant = `ALTER PUBLICATION ${ident(name)} OWNER TO ${ident(user)}`;
    missing.push({
      found: `${name} belongs to ${owner}, not to ${user}, who could not keep it up to date`,
      grant,
    });
  }
  const notOurs = toAdd.filter((table) => rights.get(table.oid)?.isOwned === false);
  if (notOurs.length > 0) {
    const owners = [...new Set(notOurs.map((table) => rights.get(table.oid)?.owner ?? ""))];
    const found = `only a table's owner may publish it, and ${user} does not own ${listed(notOurs.map(tableName))}`;
    missing.push({ found, grant: `GRANT ${owners.map(ident).join(", ")} TO ${ident(user)}` });
  }
  return missing;
}

/** source.manage is false: what a DBA has to run, and what does not work by itself. */
function checkOthersWork(situation: PublicationSituation): Check[] {
  const { names, present, tables } = situation;
  if (!present.has(names.all)) {
    return [
      fail(
        NAME,
        `publication ${names.all} does not exist, and source.manage is false`,
        `let a DBA run:\n${dbaStatements(situation).join("\n")}`,
      ),
    ];
  }
  const reached = (table: CatalogTable): boolean =>
    [...present.values()].some((publication) => publication.tables.has(table.oid));
  const unpublished = tables.filter(
    (table) => !reached(table) && !(table.partitioned && table.storages.length === 0),
  );
  const note = ok(
    "source.manage",
    "false, so by itself pgstage does not: publish new tables, move a table that lost its key out of " +
      `${names.all}, or take back in one that gained a key. ${present.get(names.all)?.reachesAll ? "New tables are published at once, also those without a key, whose UPDATE and DELETE then fail." : "`check` says what a DBA must run."}`,
  );
  if (unpublished.length === 0)
    return [ok(NAME, `${[...present.keys()].join(", ")}: all of them are published`), note];
  const found = `${listed(unpublished.map(tableName))}: in no publication, so not captured`;
  return [warn(NAME, found, `let a DBA run:\n${addStatements(situation, unpublished).join("\n")}`), note];
}

/** Everything that makes the publications as pgstage would. */
function dbaStatements(situation: PublicationSituation): string[] {
  const { names, present, tables, serverVersion } = situation;
  return [names.all, names.insertOnly].flatMap((name) => {
    const members = tables.filter((table) => table.insertOnly === (name === names.insertOnly));
    const publication = present.get(name);
    if (publication)
      return addStatements(
        situation,
        members.filter((table) => !publication.tables.has(table.oid)),
      );
    if (name === names.insertOnly && members.length === 0) return [];
    return [`${withTables(createStatement(name, names, serverVersion), members)};`];
  });
}

function addStatements(
  { names, present, serverVersion }: PublicationSituation,
  tables: readonly CatalogTable[],
): string[] {
  return [names.all, names.insertOnly].flatMap((name) => {
    const members = tables.filter((table) => table.insertOnly === (name === names.insertOnly));
    if (members.length === 0) return [];
    if (!present.has(name)) return [`${withTables(createStatement(name, names, serverVersion), members)};`];
    return [
      `ALTER PUBLICATION ${ident(name)} ADD TABLE ${members.map((table) => `ONLY ${qualified(table)}`).join(", ")};`,
    ];
  });
}

/** Puts the tables of a CREATE PUBLICATION where they belong. */
function withTables(create: string, tables: readonly CatalogTable[]): string {
  if (tables.length === 0) return create;
  const list = tables.map((table) => `ONLY ${qualified(table)}`).join(", ");
  return create.replace(" WITH (", () => ` FOR TABLE ${list} WITH (`);
}
