import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parseAllDocuments } from "yaml";

const CONFIG = join(import.meta.dirname, "../../config");

export function text(path: string): string {
  return readFileSync(join(CONFIG, path), "utf8");
}

export function json(path: string): unknown {
  return JSON.parse(text(path));
}

/** All documents of a YAML file. */
export function yaml<T>(path: string): T[] {
  return parseAllDocuments(text(path)).map((document) => {
    if (document.errors[0]) throw document.errors[0];
    return document.toJS() as T;
  });
}

export function namesIn(folder: string): string[] {
  return readdirSync(join(CONFIG, folder)).toSorted();
}
