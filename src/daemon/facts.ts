import { parseLsn } from "../core/lsn.ts";
import type { State } from "../delivery/state.ts";
import type { TableFacts } from "../stream/table-encoder.ts";

/** What the stream needs to know of tables, read from the state that the log adds up to. */
export function factsOf(state: () => State, own: Pick<TableFacts, "captures" | "largeRow">): TableFacts {
  return {
    ...own,
    primaryKey: (oid) => state().tables[oid]?.catalog.key ?? [],
    mustFill: (oid, commitLsn) => {
      const copy = state().tables[oid]?.copy;
      // A table that the log does not know yet is about to be copied.
      if (copy?.phase !== "copied") return true;
      return commitLsn < parseLsn(copy.lastPoint);
    },
  };
}
