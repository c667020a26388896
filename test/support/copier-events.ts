import type { CopierEvents } from "../../src/copy/run.ts";

/** For who looks at what a copy leaves, not at what it tells. */
export const SILENT: CopierEvents = {
  planned: () => {},
  copied: () => {},
  tableCopied: () => {},
  refused: () => {},
  busy: () => {},
  largeRow: () => {},
};
