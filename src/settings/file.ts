import { readFileSync } from "node:fs";
import { isAlias, isMap, isScalar, isSeq, LineCounter, parseDocument, type Document, type Node } from "yaml";
import { SettingsError } from "../core/errors.ts";

/** A setting of a file: its text, or a list's texts, and the line it stands on. */
export interface FileEntry {
  readonly key: string;
  readonly value: string | readonly string[];
  readonly line: number;
}

/**
 * The settings of a YAML or JSON file (JSON is YAML), as `source.url`, nested or with the dot in the key. Values
 * stay the text that stands in the file: YAML's numbers would turn a password 0123 into 123. Empty values and
 * nulls are left out. Throws a SettingsError if the file cannot be read; its message holds no value of the file.
 */
export function readSettingsFile(path: string): FileEntry[] {
  const lines = new LineCounter();
  // Pretty errors quote the file, and so secrets.
  const document = parseDocument(readText(path), { prettyErrors: false, lineCounter: lines });
  const broken = document.errors.map((error) => {
    const at = lines.linePos(error.pos[0]);
    return `${path}:${at.line}:${at.col}: not valid YAML or JSON (${error.code})`;
  });
  if (broken.length > 0) throw new SettingsError(broken);
  const entries: FileEntry[] = [];
  const read = (node: unknown, key: string): void => {
    collect({ document, lines, path, entries }, node, key);
  };
  read(document.contents, "");
  return entries;
}

function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? "unknown error";
    const reason = {
      ENOENT: "there is no such file",
      EACCES: "it may not be read",
      EISDIR: "it is a directory",
    }[code];
    throw new SettingsError([`--config ${path}: ${reason ?? code}`]);
  }
}

interface Reading {
  readonly document: Document;
  readonly lines: LineCounter;
  readonly path: string;
  readonly entries: FileEntry[];
}

function collect(reading: Reading, given: unknown, key: string): void {
  const node = isAlias(given) ? given.resolve(reading.document) : (given as Node | null);
  if (isMap(node)) {
    for (const pair of node.items) {
      collect(reading, pair.value, [key, textOf(pair.key)].filter((part) => part !== "").join("."));
    }
    return;
  }
  const value = isSeq(node) ? node.items.map(textOf).filter((item) => item !== "") : textOf(node);
  const line = reading.lines.linePos((node as Node | null)?.range?.[0] ?? 0).line;
  if (key === "" && value !== "") {
    throw new SettingsError([`${reading.path}: expected settings such as "stage: { url: … }" at the top`]);
  }
  if (value !== "") reading.entries.push({ key, value, line });
}

/** A scalar as it is written; empty for null, and for lists and maps where none may be. */
function textOf(node: unknown): string {
  if (!isScalar(node) || node.value === null || node.value === undefined) return "";
  return typeof node.value === "string" ? node.value : (node.source ?? "");
}
