import { asOfFunctions } from "./as-of.ts";
import type {
  Section,
  SnowflakeInput,
  SnowflakeOptions,
  SnowflakeTable,
  Statement,
  TableShape,
} from "./input.ts";
import { addedColumns, movedMetadata } from "./landing.ts";
import { droppedTargetColumns, rebuildStatements } from "./merge.ts";
import { checkNames, tableNames, type TableNames } from "./names.ts";
import { currentStatements, sessionStatements } from "./script.ts";
import { typedColumns } from "./typed.ts";

/**
 * What has to be run after tables have changed: for each table the difference between the SQL of its previous shape,
 * the last of `earlier`, and that of its shape. A table without an earlier shape has nothing to be compared with.
 * Pipes change only if a column takes the name of one that they fill in.
 */
export function changedSections(input: SnowflakeInput): Section[] {
  checkNames(input);
  const sections = input.tables.flatMap((table) => {
    const previous = table.earlier.at(-1);
    return previous ? tableSections(previous, table, input.options) : [];
  });
  if (sections.length === 0) return [];
  return [{ title: "Session", notes: [], statements: sessionStatements() }, ...sections];
}

function tableSections(previous: TableShape, table: SnowflakeTable, options: SnowflakeOptions): Section[] {
  const { shape, earlier } = table;
  // Both are named alike, so that only what is different about the shapes makes a statement different.
  const before = { shape: previous, earlier: [shape] };
  const after = { shape, earlier: [previous] };
  const names = tableNames(table, options);
  const oldNames = tableNames({ shape: previous, earlier }, options);
  const landing = [
    ...movedMetadata(table, { from: oldNames, to: names }, options),
    ...addedColumns(after, names),
  ];
  const isTask = options.currentState === "task";
  const needsRebuild = isTask && (isRenamed(oldNames, names) || isRebuilt(previous, shape, names));
  const current = currentStatements(after, names, options).filter(
    ({ id }) => !needsRebuild || id.startsWith("view"),
  );
  const statements = [
    ...landing,
    ...changed([...currentStatements(before, names, options)], current),
    ...(needsRebuild ? rebuildStatements(shape, names, options) : []),
    ...(isTask && !needsRebuild ? droppedTargetColumns(previous, shape, names) : []),
    ...changed(asOfFunctions(previous, names, options), asOfFunctions(shape, names, options)),
  ];
  const gone = previous.columns.filter(({ name }) => !shape.columns.some((column) => column.name === name));
  const notes = gone.map(
    ({ name }) => `The source has no column ${name} any more; the landing table keeps it.`,
  );
  if (statements.length === 0 && notes.length === 0) return [];
  return [{ title: names.source, notes, statements }];
}

/** A column of the table's own now has the name of one of the target's. */
function isRenamed(before: TableNames, after: TableNames): boolean {
  return ["row_key", "instance"].some((name) => before.own(name) !== after.own(name));
}

/** The target table of the task keeps its columns' types and its key, or is made again. */
function isRebuilt(previous: TableShape, shape: TableShape, names: TableNames): boolean {
  if (previous.key.join("\0") !== shape.key.join("\0")) return true;
  // Without a key the whole row is what identifies it.
  if (shape.key.length === 0 && columnList(previous) !== columnList(shape)) return true;
  const types = new Map(typedColumns(shape, names).map(({ name, type }) => [name, type]));
  return typedColumns(previous, names).some(({ name, type }) => (types.get(name) ?? type) !== type);
}

function columnList({ columns }: TableShape): string {
  return columns.map(({ name }) => name).join("\0");
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
