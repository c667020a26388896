import type { Client } from "pg";
import { OperatorError } from "../core/errors.ts";
import { publicationsOf } from "../postgres/publication.ts";
import { ident } from "../postgres/quote.ts";
import { dropSlot, readSlot, type SlotInfo } from "../postgres/slot.ts";
import { readPublicationFacts } from "../postgres/preflight/publication-facts.ts";
import type { SourceSettings } from "../settings/settings.ts";

/** What of a pipeline is in the database. */
export interface Remains {
  readonly slot: SlotInfo | null;
  /** Publications that we may drop. */
  readonly publications: readonly string[];
  /** … and those that a DBA has to. */
  readonly foreign: readonly { readonly name: string; readonly owner: string }[];
}

/** Looks, and refuses what is not ours or in use. */
export async function findRemains(
  client: Client,
  source: SourceSettings,
  serverVersion: number,
): Promise<Remains> {
  const slot = await readSlot(client, source.slot, serverVersion);
  if (slot) await refuseSlot(client, source.slot, slot);
  const { all, insertOnly } = publicationsOf(source.publication);
  const present = [...(await readPublicationFacts(client, [all, insertOnly], serverVersion)).values()];
  const isOurs = (one: { isOwned: boolean }): boolean => source.manage && one.isOwned;
  return {
    slot,
    publications: present.filter(isOurs).map(({ name }) => name),
    foreign: present.filter((one) => !isOurs(one)).map(({ name, owner }) => ({ name, owner })),
  };
}

async function refuseSlot(client: Client, name: string, slot: SlotInfo): Promise<void> {
  const { rows } = await client.query<{ name: string }>("SELECT pg_catalog.current_database()::text AS name");
  const database = rows[0]?.name;
  if (slot.slotType !== "logical" || slot.plugin !== "pgoutput" || slot.database !== database) {
    const what =
      slot.slotType === "logical" ? `a ${slot.plugin} slot of database ${slot.database}` : "a physical slot";
    throw new OperatorError(`${name} is ${what}, not ours`, "correct source.slot and source.url");
  }
  if (slot.active) {
    throw new OperatorError(
      `slot ${name} is in use by pid ${slot.activePid ?? "unknown"}: a daemon runs`,
      "stop the daemon first (SIGTERM; it publishes what is open), and any standby of it",
    );
  }
}

/** The slot first: without its publications it could not be read any more. */
export async function dropRemains(client: Client, source: SourceSettings, remains: Remains): Promise<void> {
  if (remains.slot) await dropSlot(client, source.slot);
  for (const name of remains.publications) await client.query(`DROP PUBLICATION IF EXISTS ${ident(name)}`);
}
