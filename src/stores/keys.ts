import { OWN_FOLDER, STAGED_FOLDER } from "../core/layout.ts";

/**
 * Returns the key if it stays inside the stage: no empty, `.` or `..` segment, not the staging folder.
 * Throws a RangeError otherwise: keys are built by us, so that is a bug or a forged document.
 */
export function safeKey(key: string): string {
  const odd = key.split("/").some((segment) => segment === "" || segment === "." || segment === "..");
  if (odd || key.includes("\0") || key.includes("\\") || key.startsWith(STAGED_FOLDER)) {
    throw new RangeError(`not a key of the stage: ${JSON.stringify(key)}`);
  }
  return key;
}

/** As safeKey, for the folders that are listed: empty for the whole stage, or ending in `/`. */
export function safePrefix(prefix: string): string {
  if (prefix === "") return prefix;
  if (!prefix.endsWith("/")) throw new RangeError(`not a folder of the stage: ${JSON.stringify(prefix)}`);
  safeKey(prefix.slice(0, -1));
  return prefix;
}

const DATA_FILE = /^[^/]+\/[^/]+\/\d{4}\/\d\d\/\d\d\/\d\d\/[0-9A-F]{16}-[^/]+\.csv(\.gz|\.zst)?$/;

/**
 * True for a key that this program writes. An upload under any other key was begun by somebody else who shares
 * the bucket (a stage may be the whole bucket, and other stages may stand below it).
 */
export function isOurKey(key: string): boolean {
  return key.startsWith(OWN_FOLDER) || DATA_FILE.test(key);
}

/** Orders text by its UTF-8 bytes, as S3 does. UTF-16 order differs only where surrogates meet U+E000 and above. */
export function compareUtf8(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const x = a.charCodeAt(i);
    const y = b.charCodeAt(i);
    if (x !== y) return surrogatesLast(x) - surrogatesLast(y);
  }
  return a.length - b.length;
}

function surrogatesLast(unit: number): number {
  return unit >= 0xd800 && unit <= 0xdfff ? unit + 0x10000 : unit;
}
