/** True for a file of a copy: `<consistent point>-snapshot-<range>` against `<first LSN>-<last LSN>-<part>`. */
export function isCopyFile(key: string): boolean {
  return /^[0-9A-F]{16}-snapshot-\d+/.test(key.slice(key.lastIndexOf("/") + 1));
}
