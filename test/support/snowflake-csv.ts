/**
 * Snowflake's reading of CSV, by the options of a file format, with the defaults that Snowflake has for those that
 * are left out: a format that forgets one fails here as it would there.
 * Source: Snowflake's SQL reference, "CREATE FILE FORMAT", and user guide, "Data unloading considerations".
 */
export interface CsvFormat {
  readonly fieldDelimiter: string;
  readonly recordDelimiter: string;
  /** Null: NONE. */
  readonly enclosedBy: string | null;
  readonly escape: string | null;
  readonly escapeUnenclosed: string | null;
  readonly nullIf: readonly string[];
  readonly emptyFieldAsNull: boolean;
  readonly trimSpace: boolean;
  readonly multiLine: boolean;
  readonly skipBlankLines: boolean;
  readonly parseHeader: boolean;
  readonly errorOnColumnCountMismatch: boolean;
  readonly replaceInvalidCharacters: boolean;
  readonly skipByteOrderMark: boolean;
}

export interface CsvFile {
  readonly header: readonly string[];
  readonly records: readonly (readonly (string | null)[])[];
}

/** Reads the text of a CREATE FILE FORMAT statement. */
export function csvFormatOf(statement: string): CsvFormat {
  const options = new Map<string, string>();
  const pattern = /([A-Z_]+)\s*=\s*('(?:[^'\\]|''|\\.)*'|\([^)]*\)|[A-Za-z0-9_]+)/g;
  for (const [, name, value] of statement.matchAll(pattern)) options.set(name ?? "", value ?? "");
  const text = (name: string, otherwise: string | null): string | null => {
    const value = options.get(name);
    if (value === undefined) return otherwise;
    return value === "NONE" ? null : unquote(value);
  };
  const flag = (name: string, otherwise: boolean): boolean => {
    const value = options.get(name);
    return value === undefined ? otherwise : value === "TRUE";
  };
  const nullIf = options.get("NULL_IF");
  return {
    fieldDelimiter: text("FIELD_DELIMITER", ",") ?? ",",
    recordDelimiter: text("RECORD_DELIMITER", "\n") ?? "\n",
    enclosedBy: text("FIELD_OPTIONALLY_ENCLOSED_BY", null),
    escape: text("ESCAPE", null),
    escapeUnenclosed: text("ESCAPE_UNENCLOSED_FIELD", "\\"),
    nullIf:
      nullIf === undefined
        ? ["\\N"]
        : [...nullIf.matchAll(/'((?:[^'\\]|''|\\.)*)'/g)].map(([all]) => unquote(all)),
    emptyFieldAsNull: flag("EMPTY_FIELD_AS_NULL", true),
    trimSpace: flag("TRIM_SPACE", false),
    multiLine: flag("MULTI_LINE", true),
    skipBlankLines: flag("SKIP_BLANK_LINES", false),
    parseHeader: flag("PARSE_HEADER", false),
    errorOnColumnCountMismatch: flag("ERROR_ON_COLUMN_COUNT_MISMATCH", true),
    replaceInvalidCharacters: flag("REPLACE_INVALID_CHARACTERS", false),
    skipByteOrderMark: flag("SKIP_BYTE_ORDER_MARK", true),
  };
}

function unquote(literal: string): string {
  const escapes: Record<string, string> = { n: "\n", r: "\r", t: "\t" };
  return literal
    .slice(1, -1)
    .replaceAll("''", "'")
    .replaceAll(/\\(.)/g, (_, char: string) => escapes[char] ?? char);
}

interface Field {
  readonly text: string;
  readonly isEnclosed: boolean;
}

/** Throws an Error for what would make Snowflake refuse the file. */
export function readCsv(bytes: Uint8Array, format: CsvFormat): CsvFile {
  const decoder = new TextDecoder("utf-8", {
    fatal: !format.replaceInvalidCharacters,
    ignoreBOM: !format.skipByteOrderMark,
  });
  const records = [...splitRecords(decoder.decode(bytes), format)];
  const header = format.parseHeader ? (records.shift() ?? []).map(({ text }) => text) : [];
  const width = format.parseHeader ? header.length : (records[0]?.length ?? 0);
  for (const [index, record] of records.entries()) {
    if (record.length === width) continue;
    throw new Error(`record ${index + 1} has ${record.length} fields, and the file ${width}`);
  }
  return { header, records: records.map((record) => record.map((field) => valueOf(field, format))) };
}

/** NULL_IF looks at enclosed fields, too; an empty field is NULL only if it is not enclosed. */
function valueOf({ text, isEnclosed }: Field, format: CsvFormat): string | null {
  const value = format.trimSpace && !isEnclosed ? text.trim() : text;
  if (format.nullIf.includes(value)) return null;
  return value === "" && !isEnclosed && format.emptyFieldAsNull ? null : value;
}

function* splitRecords(text: string, format: CsvFormat): Generator<Field[]> {
  let at = 0;
  let record: Field[] = [];
  while (at < text.length) {
    if (record.length === 0 && text.startsWith(format.recordDelimiter, at)) {
      if (!format.skipBlankLines) throw new Error("a blank line");
      at += format.recordDelimiter.length;
      continue;
    }
    const isEnclosed = format.enclosedBy !== null && text.startsWith(format.enclosedBy, at);
    const read = isEnclosed ? readEnclosed(text, at, format) : readPlain(text, at, format);
    record.push({ text: read.text, isEnclosed });
    at = read.end;
    if (text.startsWith(format.fieldDelimiter, at)) {
      at += format.fieldDelimiter.length;
      // A delimiter at the very end of the text: one more field, which is empty.
      if (at < text.length) continue;
      record.push({ text: "", isEnclosed: false });
    } else if (at < text.length) {
      if (text.startsWith("\r\n", at) && format.recordDelimiter === "\n") at += 1;
      if (!text.startsWith(format.recordDelimiter, at))
        throw new Error(`text after a closing quote at ${at}`);
      at += format.recordDelimiter.length;
    }
    yield record;
    record = [];
  }
}

function readEnclosed(text: string, from: number, format: CsvFormat): { text: string; end: number } {
  const quote = format.enclosedBy as string;
  let value = "";
  for (let at = from + 1; at < text.length; at++) {
    const char = text[at] as string;
    if (char === format.escape && char !== quote) {
      value += text[++at] ?? "";
    } else if (char === quote) {
      if (text[at + 1] !== quote) return { text: value, end: at + 1 };
      value += quote;
      at++;
    } else {
      if (char === "\n" && !format.multiLine) throw new Error("a line break in a field");
      value += char;
    }
  }
  throw new Error("a quote is not closed");
}

function readPlain(text: string, from: number, format: CsvFormat): { text: string; end: number } {
  let value = "";
  let at = from;
  while (at < text.length) {
    if (text.startsWith(format.fieldDelimiter, at) || text.startsWith(format.recordDelimiter, at)) break;
    if (text.startsWith("\r\n", at) && format.recordDelimiter === "\n") break;
    if (text[at] === format.escapeUnenclosed) {
      // The two characters stay as they are for NULL_IF; what is escaped delimits nothing.
      if (format.nullIf.includes(text.slice(at, at + 2))) value += text[at];
      at++;
    }
    value += text[at] ?? "";
    at++;
  }
  return { text: value, end: at };
}
