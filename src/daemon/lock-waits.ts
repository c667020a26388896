import { lockersOf } from "../postgres/waiters.ts";
import type { LockParts } from "./slot-lock.ts";

/** A table that a copy could not read because somebody has locked it, or the part of it that it wanted. */
export interface Locked {
  readonly oid: number;
  readonly storage: number;
  readonly table: string;
}

/** Says who has the lock, if somebody still has, until the table's next range is copied. */
export async function tellLockWait(
  { sql, observations }: Pick<LockParts, "sql" | "observations">,
  { oid, storage, table }: Locked,
  isLeft: () => boolean,
): Promise<void> {
  const lockers = await sql
    .use((client) => lockersOf(client, [oid, storage], "reading"))
    .catch(() => new Map<number, string>());
  const [holder] = lockers.values();
  if (holder !== undefined && isLeft()) observations.hold("lock-waits", { table, holder }, table);
}
