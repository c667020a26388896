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
  const escape = format.escape === quote ? null : format.escape;
  let value = "";
  let at = from + 1;
  for (;;) {
    const end = nextOf(text, at, escape === null ? [quote] : [quote, escape]);
    if (end === text.length) throw new Error("a quote is not closed");
    if (!format.multiLine && text.slice(at, end).includes("\n")) throw new Error("a line break in a field");
    value += text.slice(at, end);
    if (text[end] === quote && text[end + 1] !== quote) return { text: value, end: end + 1 };
    // A doubled quote, or whatever is escaped.
    value += text[end + 1] ?? "";
    at = end + 2;
  }
}

function readPlain(text: string, from: number, format: CsvFormat): { text: string; end: number } {
  const { fieldDelimiter, recordDelimiter, escapeUnenclosed: escape } = format;
  const marks = [fieldDelimiter, recordDelimiter, ...(escape === null ? [] : [escape])];
  let value = "";
  let at = from;
  for (;;) {
    const end = nextOf(text, at, marks);
    value += text.slice(at, end);
    if (escape === null || text[end] !== escape) {
      const isWindows = recordDelimiter === "\n" && text[end] === "\n" && value.endsWith("\r");
      return isWindows ? { text: value.slice(0, -1), end: end - 1 } : { text: value, end };
    }
    // The two characters stay as they are for NULL_IF; what is escaped delimits nothing.
    if (format.nullIf.includes(text.slice(end, end + 2))) value += escape;
    value += text[end + 1] ?? "";
    at = end + 2;
  }
}

/** Where the first of these begins, or the text's end. */
function nextOf(text: string, from: number, marks: readonly string[]): number {
  const firsts = marks.map((mark) => mark.charCodeAt(0));
  for (let at = from; at < text.length; at++) {
    const index = firsts.indexOf(text.charCodeAt(at));
    if (index >= 0 && marks.some((mark) => text.startsWith(mark, at))) return at;
  }
  return text.length;
}
