import type { CatalogTable } from "../../core/table.ts";
import { tableName } from "../../core/table.ts";
import { metadataColumns } from "../../csv/header.ts";
import { countOf } from "../../observe/units.ts";
import type { NotCaptured } from "../../postgres/catalog.ts";
import type { SchemaRights, TableRights } from "../../postgres/preflight/table-facts.ts";
import { ident, qualified } from "../../postgres/quote.ts";
import { fail, listed, ok, warn, type Check } from "./check.ts";

/** What is known of the tables that the settings ask for. */
export interface TableSituation {
  readonly user: string;
  readonly schemas: readonly SchemaRights[];
  /** Captured tables. */
  readonly tables: readonly CatalogTable[];
  readonly notCaptured: readonly NotCaptured[];
  /** By OID, of tables and of their partitions. */
  readonly rights: ReadonlyMap<number, TableRights>;
  /** OIDs of relations whose row-level security applies to us. */
  readonly rowSecurity: ReadonlySet<number>;
  readonly metadataPrefix: string;
  /** Nothing is staged yet: then a table that cannot be read is no reason to begin without it. */
  readonly isFirstStart: boolean;
}

/** Decides about everything that concerns single tables. Pure. */
export function checkTables(situation: TableSituation): Check[] {
  return [
    checkSchemas(situation),
    checkCount(situation),
    checkNames(situation),
    checkSelect(situation),
    checkRowSecurity(situation),
    checkIdentity(situation),
    checkNotCaptured(situation),
  ];
}

function checkSchemas({ schemas, user }: TableSituation): Check {
  const name = "schemas";
  const missing = schemas.filter(({ exists }) => !exists).map(({ schema }) => schema);
  const closed = schemas.filter(({ exists, mayUse }) => exists && !mayUse).map(({ schema }) => schema);
  if (closed.length > 0) {
    const mend = `GRANT USAGE ON SCHEMA ${closed.map(ident).join(", ")} TO ${ident(user)}`;
    return fail(name, `${user} may not use ${listed(closed)}`, mend);
  }
  if (missing.length === schemas.length) {
    return fail(name, `${listed(missing)}: there is no such schema`, "correct source.schemas");
  }
  if (missing.length > 0) {
    return warn(
      name,
      `${listed(missing)}: not there (yet)`,
      "correct source.schemas, or create it: pgstage finds its tables then",
    );
  }
  return ok(name, listed(schemas.map(({ schema }) => schema)));
}

function checkCount({ tables }: TableSituation): Check {
  const name = "tables";
  if (tables.length > 0) return ok(name, `${countOf(tables.length, "table")} to capture`);
  return warn(
    name,
    "no table to capture",
    "correct source.schemas, source.include and source.exclude, if there should be some",
  );
}

/** Nothing of the user's may stand where the stage keeps its own, neither in a header nor in a folder. */
function checkNames({ tables, metadataPrefix }: TableSituation): Check {
  const name = "names";
  const own = new Set(metadataColumns(metadataPrefix));
  const clashing = tables.flatMap((table) =>
    table.columns
      .filter((column) => own.has(column.name))
      .map((column) => `${tableName(table)}.${column.name}`),
  );
  if (clashing.length > 0) {
    return fail(
      name,
      `${listed(clashing)} ${clashing.length === 1 ? "has" : "have"} the name of a metadata column`,
      `set format.metadataPrefix to something else than ${JSON.stringify(metadataPrefix)}, such as "_pgstage_"`,
    );
  }
  const inside = tables.filter(({ schema }) => schema === "_pgstage").map(tableName);
  if (inside.length > 0) {
    return fail(
      name,
      `${listed(inside)}: on the stage, _pgstage is pgstage's own folder`,
      "take the schema _pgstage out of source.schemas",
    );
  }
  return ok(name, `no column is called ${metadataColumns(metadataPrefix).join(", ")}`);
}

function checkSelect({ tables, rights, user, isFirstStart }: TableSituation): Check {
  const name = "SELECT";
  const closed = storagesOf(tables).filter(({ oid }) => rights.get(oid)?.maySelect === false);
  if (closed.length === 0)
    return ok(name, tables.length === 0 ? "nothing to read" : `${user} may read all of them`);
  const mend = `GRANT SELECT ON ${closed.map(qualified).join(", ")} TO ${ident(user)}; or name them in source.exclude`;
  return fail(name, `${user} may not read ${listed(closed.map(tableName))}`, mend, !isFirstStart);
}

function checkRowSecurity({ tables, rowSecurity, user, isFirstStart }: TableSituation): Check {
  const name = "row security";
  const filtered = storagesOf(tables).filter(({ oid }) => rowSecurity.has(oid));
  if (filtered.length === 0) return ok(name, "hides no row from us");
  return fail(
    name,
    `row-level security hides rows of ${listed(filtered.map(tableName))} from ${user}: a copy would be partial, and is refused`,
    `ALTER ROLE ${ident(user)} BYPASSRLS; or name ${filtered.length === 1 ? "it" : "them"} in source.exclude`,
    !isFirstStart,
  );
}

/** A partitioned root is not read itself, but the stream asks for the right to it. */
function storagesOf(tables: readonly CatalogTable[]): { oid: number; schema: string; name: string }[] {
  return tables.flatMap((table) => [...(table.partitioned ? [table] : []), ...table.storages]);
}

function checkIdentity({ tables }: TableSituation): Check {
  const name = "replica identity";
  const without = tables.filter(({ insertOnly }) => insertOnly);
  if (without.length === 0) return ok(name, "every table's updates and deletes can be captured");
  const mend = without.map((table) => `ALTER TABLE ${qualified(table)} ADD PRIMARY KEY (…)`);
  return warn(
    name,
    `nothing identifies a row of ${listed(without.map(tableName))}: inserts and truncates are captured, updates and deletes are not`,
    `${listed(mend, 3)}; or REPLICA IDENTITY FULL`,
  );
}

function checkNotCaptured({ notCaptured }: TableSituation): Check {
  const name = "not captured";
  if (notCaptured.length === 0) return ok(name, "none");
  return warn(
    name,
    listed(notCaptured.map(({ table, reason }) => `${table}: ${reason}`)),
    "change them, or name them in source.exclude to say that it is meant so",
  );
}
