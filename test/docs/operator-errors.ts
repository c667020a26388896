import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { ROOT } from "./readme.ts";

/** A message with which a command ends with exit code 3, as far as the code spells it out; `…` is filled in. */
export interface OperatorMessage {
  readonly message: string;
  readonly mend: string;
  readonly file: string;
}

/**
 * Reads the messages out of the source: the arguments of `new OperatorError(…)`, pairs of `message:` and `mend:`, and a
 * table of error codes. They are texts, templates, sums and choices of those; whatever else is filled in is `…`.
 */
export function operatorMessages(): { found: OperatorMessage[]; constructed: number; passedOn: number } {
  const found: OperatorMessage[] = [];
  let constructed = 0;
  let passedOn = 0;
  for (const file of sources()) {
    const text = readFileSync(join(ROOT, file), "utf8");
    for (const match of text.matchAll(/new OperatorError\(/g)) {
      constructed++;
      const [message = "", mend = ""] = pieces(text, match.index + match[0].length);
      // Of an object whose pair is found below.
      if (!/\p{L}{2}/u.test(words(message))) passedOn++;
      else found.push({ message: words(message), mend: words(mend), file });
    }
    if (!text.includes("OperatorError")) continue;
    const [codes = ""] = /const MENDS\b[^]*?\n\};/.exec(text) ?? [];
    for (const [, code = "", mend = ""] of codes.matchAll(/^ {2}(E[A-Z]+): "([^"]+)",$/gm)) {
      found.push({ message: `…: … (${code})`, mend, file });
    }
    for (const match of text.matchAll(/\bmessage: ?(?=[^;])/g)) {
      const [message = "", mend = ""] = pieces(text, match.index + match[0].length);
      if (mend.startsWith("mend:") && /\p{L}{2}/u.test(words(message)))
        found.push({ message: words(message), mend: words(mend.slice(5)), file });
    }
  }
  return { found, constructed, passedOn };
}

function sources(): string[] {
  return readdirSync(join(ROOT, "src"), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".ts") && name !== join("core", "errors.ts"))
    .map((name) => join("src", name))
    .toSorted();
}

/** The comma-separated expressions from `at` on, up to the bracket that closes them. */
function pieces(text: string, at: number): string[] {
  const found = [""];
  let depth = 0;
  for (let index = at; index < text.length; index++) {
    const char = text[index] ?? "";
    if ("\"'`".includes(char)) {
      const end = endOfText(text, index);
      found[found.length - 1] += text.slice(index, end + 1);
      index = end;
      continue;
    }
    if ("([{".includes(char)) depth++;
    if (")]}".includes(char) && depth-- === 0) break;
    if (char === "," && depth === 0) found.push("");
    else found[found.length - 1] += char;
  }
  return found.map((piece) => piece.trim());
}

/** Index of the quote that ends the text which begins at `at`. */
function endOfText(text: string, at: number): number {
  const quote = text[at];
  for (let index = at + 1; index < text.length; index++) {
    if (text[index] === "\\") index++;
    else if (text[index] === quote) return index;
    else if (quote === "`" && text.startsWith("${", index)) index = endOfHole(text, index + 2);
  }
  throw new Error("a text without an end");
}

function endOfHole(text: string, at: number): number {
  let depth = 0;
  for (let index = at; index < text.length; index++) {
    const char = text[index] ?? "";
    if ("\"'`".includes(char)) index = endOfText(text, index);
    else if (char === "{") depth++;
    else if (char === "}" && depth-- === 0) return index;
  }
  throw new Error("a hole without an end");
}

/** What a reader sees: texts joined, choices with a slash, everything else as `…`. */
function words(source: string): string {
  // What a choice depends on is not what it says.
  const expression = source.replaceAll(/[=!]== "[^"]*"/g, "");
  const texts: string[] = [];
  let rest = "";
  for (let index = 0; index < expression.length; index++) {
    if (!"\"'`".includes(expression[index] ?? "")) {
      rest += expression[index];
      continue;
    }
    const end = endOfText(expression, index);
    texts.push(plain(expression.slice(index + 1, end)));
    index = end;
  }
  if (texts.length === 0) return "…";
  const isSum = /\+/.test(rest) && !/\?/.test(rest);
  const ends = isSum && /\+\s*[\w.(]/.test(rest) ? "…" : "";
  return texts.join(isSum ? "" : " / ") + ends;
}

function plain(literal: string): string {
  let text = "";
  for (let index = 0; index < literal.length; index++) {
    if (literal.startsWith("${", index)) {
      text += "…";
      index = endOfHole(literal, index + 2);
    } else if (literal[index] === "\\") text += literal[++index] === "n" ? " " : literal[index];
    else text += literal[index];
  }
  return text.replaceAll(/…+/g, "…");
}
