import { messageOf, OperatorError } from "../core/errors.ts";
import { sqlState } from "./quote.ts";

/**
 * Whether the server could not make a message of a row: its buffers end at 1 GB, and so does the text of a value
 * (MaxAllocSize in memutils.h, enlargeStringInfo in stringinfo.c). It will not be able to another time, either.
 */
export function isBeyondRowLimit(error: unknown): boolean {
  const state = sqlState(error);
  const isAllocation = messageOf(error).startsWith("invalid memory alloc request size");
  return state === "54000" || (state === "XX000" && isAllocation);
}

/** For a row that stands in `table`, as `schema.table`, now. */
export function rowLimitError(table: string, error: unknown): OperatorError {
  return new OperatorError(
    `Postgres cannot send a row of ${table}: ${messageOf(error)}`,
    `a row's values as text must stay below 1 GB together: make them smaller or delete the row, or set source.exclude = ${table}; then start again`,
    { cause: error },
  );
}
