import { asOfFunctions } from "./as-of.ts";
import type { Section, SnowflakeInput, SnowflakeOptions, Statement, TableShape } from "./input.ts";
import { addedColumns } from "./landing.ts";
import { rebuildStatements } from "./merge.ts";
import { checkNames, tableNames, type TableNames } from "./names.ts";
import { currentStatements, sessionStatements } from "./script.ts";
import { typedColumns } from "./typed.ts";

/**
 * What has to be run after tables have changed: for each table the difference between the SQL of its previous shape,
 * the last of `earlier`, and that of its shape. A table without an earlier shape has nothing to be compared with.
 * Pipes never change: nothing in them depends on columns.
 */
export function changedSections(input: SnowflakeInput): Section[] {
  checkNames(input);
  const sections = input.tables.flatMap(({ shape, earlier }) => {
    const previous = earlier.at(-1);
    return previous ? tableSections(previous, shape, input.options) : [];
  });
  if (sections.length === 0) return [];
  return [{ title: "Session", notes: [], statements: sessionStatements() }, ...sections];
}

function tableSections(previous: TableShape, shape: TableShape, options: SnowflakeOptions): Section[] {
  // Both are named alike, so that only what is different about the shapes makes a statement different.
  const before = { shape: previous, earlier: [shape] };
  const after = { shape, earlier: [previous] };
  const names = tableNames(after, options);
  const landing = addedColumns(after, names);
  const needsRebuild = options.currentState === "task" && isRebuilt(previous, shape, names);
  const current = currentStatements(after, names, options).filter(
    ({ id }) => !needsRebuild || id.startsWith("view"),
  );
  const statements = [
    ...landing,
    ...changed([...currentStatements(before, names, options)], current),
    ...(needsRebuild ? rebuildStatements(shape, names, options) : []),
    ...changed(asOfFunctions(previous, names, options), asOfFunctions(shape, names, options)),
  ];
  const gone = previous.columns.filter(({ name }) => !shape.columns.some((column) => column.name === name));
  const notes = gone.map(
    ({ name }) => `The source has no column ${name} any more; the landing table keeps it.`,
  );
  if (statements.length === 0 && notes.length === 0) return [];
  return [{ title: names.source, notes, statements }];
}

/** The target table of the task keeps its columns' types and its key, or is made again. */
function isRebuilt(previous: TableShape, shape: TableShape, names: TableNames): boolean {
  if (previous.key.join("\0") !== shape.key.join("\0")) return true;
  // Without a key the whole row is what identifies it.
  if (shape.key.length === 0 && previous.columns.length !== shape.columns.length) return true;
  const types = new Map(typedColumns(shape, names).map(({ name, type }) => [name, type]));
  return typedColumns(previous, names).some(({ name, type }) => (types.get(name) ?? type) !== type);
}

/** A task that was made again has to be resumed, too. */
function changed(before: readonly Statement[], after: readonly Statement[]): Statement[] {
  const old = new Map(before.map(({ id, sql }) => [id, sql]));
  const isChanged = ({ id, sql }: Statement): boolean => old.get(id) !== sql;
  const tasks = after.filter((statement) => statement.id.startsWith("task ") && isChanged(statement));
  return after.filter(
    (statement) =>
      !isUnalterable(statement) &&
      (isChanged(statement) || tasks.some(({ id }) => statement.id === id.replace("task ", "resume "))),
  );
}

/** IF NOT EXISTS does nothing to what is there; columns are added by a statement of their own. */
function isUnalterable({ sql }: Statement): boolean {
  return sql.startsWith("CREATE TABLE IF NOT EXISTS") || sql.startsWith("CREATE STREAM IF NOT EXISTS");
}
