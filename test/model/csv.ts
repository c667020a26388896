/**
 * Reads CSV as RFC 4180 says, with the warehouse's rule for NULL: an empty field without quotes is NULL, with quotes
 * it is the empty string. Anything that the RFC does not allow is an error.
 */
export function readCsv(text: string): (string | null)[][] {
  const records: (string | null)[][] = [];
  let record: (string | null)[] = [];
  let at = 0;
  while (at < text.length) {
    const field = text[at] === '"' ? quoted(text, at) : plain(text, at);
    record.push(field.value);
    at = field.end;
    if (text[at] === ",") {
      at++;
      // A comma right before the line's end is followed by one more, empty field.
      if (text[at] !== "\n") continue;
      record.push(null);
    }
    if (text[at] !== "\n")
      throw new Error(`no line feed at ${at}: ${JSON.stringify(text.slice(at, at + 40))}`);
    records.push(record);
    record = [];
    at++;
  }
  if (record.length > 0) throw new Error("the last record has no line feed");
  return records;
}

function quoted(text: string, at: number): { value: string; end: number } {
  let value = "";
  let from = at + 1;
  for (;;) {
    const quote = text.indexOf('"', from);
    if (quote < 0) throw new Error(`an open quote at ${at}`);
    value += text.slice(from, quote);
    if (text[quote + 1] !== '"') return { value, end: quote + 1 };
    value += '"';
    from = quote + 2;
  }
}

function plain(text: string, at: number): { value: string | null; end: number } {
  let end = at;
  while (end < text.length && text[end] !== "," && text[end] !== "\n") {
    if (text[end] === '"' || text[end] === "\r") throw new Error(`an unquoted quote or CR at ${end}`);
    end++;
  }
  return { value: end === at ? null : text.slice(at, end), end };
}
