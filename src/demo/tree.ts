import { humanBytes, humanCount, countOf } from "../observe/units.ts";

/** A file of the stage, with its key. */
export interface TreeFile {
  readonly key: string;
  readonly rows: number;
  readonly bytes: number;
}

/** How many files of a table are shown by name. */
const FILES_SHOWN = 2;

/** The stage as a tree: per table its first copy and its newest changes. Pure. */
export function stageTree(root: string, files: readonly TreeFile[]): string[] {
  const folders = new Map<string, TreeFile[]>();
  for (const file of files) {
    const folder = file.key.split("/").slice(0, 2).join("/");
    folders.set(folder, [...(folders.get(folder) ?? []), file]);
  }
  const lines = [root];
  const names = [...folders.keys()].toSorted((a, b) => (a < b ? -1 : 1));
  const width = Math.max(...names.map((name) => name.length), 0);
  for (const name of names) {
    const all = folders.get(name) ?? [];
    const rows = all.reduce((sum, file) => sum + file.rows, 0);
    const bytes = all.reduce((sum, file) => sum + file.bytes, 0);
    lines.push(
      `├── ${`${name}/`.padEnd(width + 1)}  ${countOf(all.length, "file")}, ${countOf(rows, "row")}, ${humanBytes(bytes)}`,
    );
    const shown = all.length > FILES_SHOWN ? [all[0], all.at(-1)] : all;
    for (const [index, file] of shown.entries()) {
      if (!file) continue;
      const rest = all.length - FILES_SHOWN;
      if (index === 1 && rest > 0) lines.push(`│   ├── … ${humanCount(rest)} more`);
      lines.push(`│   ${index === shown.length - 1 ? "└──" : "├──"} ${file.key.slice(name.length + 1)}`);
    }
  }
  return [
    ...lines,
    "└── _pgstage/  the daemon's own: the log of what was published, table progress, schemas",
  ];
}
