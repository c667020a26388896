/**
 * Globs on `schema.table`: `*` is any number of characters, `?` is one, everything else is itself. Not a file glob:
 * a table's name may hold slashes, braces and brackets.
 */
export function matcher(globs: readonly string[]): (name: string) => boolean {
  const patterns = globs.map((glob) => {
    const source = glob
      .replace(/[.+^${}()|[\]\\]/g, "\\$&")
      .replaceAll("*", ".*")
      .replaceAll("?", ".");
    return new RegExp(`^${source}$`, "su");
  });
  return (name) => patterns.some((pattern) => pattern.test(name));
}

export interface TableFilter {
  readonly schemas: readonly string[];
  /** Empty: all. */
  readonly include: readonly string[];
  readonly exclude: readonly string[];
}

/** Whether the settings ask for this table. */
export function tableFilter(filter: TableFilter): (schema: string, table: string) => boolean {
  const schemas = new Set(filter.schemas);
  const included = filter.include.length === 0 ? () => true : matcher(filter.include);
  const excluded = matcher(filter.exclude);
  return (schema, table) => {
    const name = `${schema}.${table}`;
    return schemas.has(schema) && included(name) && !excluded(name);
  };
}
