import { dropRemains, findRemains, type Remains } from "../daemon/teardown.ts";
import { humanBytes } from "../observe/units.ts";
import { ident } from "../postgres/quote.ts";
import { EXIT } from "../report.ts";
import { describeSource, type Settings } from "../settings/settings.ts";
import type { CommandContext } from "./context.ts";
import { withSource } from "./source.ts";

/** Takes the pipeline out of the database; the stage stays as it is. */
export async function run(context: CommandContext): Promise<number> {
  const settings = context.settings();
  const { source } = settings;
  const confirmed = context.options["yes"] === true;
  return withSource(source, async (client, serverVersion) => {
    const remains = await findRemains(client, source, serverVersion);
    const things = thingsOf(remains, settings);
    for (const { name, owner } of remains.foreign) {
      context.stderr.write(
        source.manage
          ? `Publication ${name} belongs to ${owner}, who has to drop it: DROP PUBLICATION ${ident(name)}\n`
          : `Publication ${name} stays: source.manage is false. To drop it: DROP PUBLICATION ${ident(name)}\n`,
      );
    }
    if (things.length === 0) {
      context.stdout.write(`Nothing of pgstage's is left to drop at ${describeSource(settings)}.\n`);
      return EXIT.done;
    }
    if (!confirmed) {
      context.stdout.write(wouldDrop(things, settings));
      return EXIT.operator;
    }
    await dropRemains(client, source, remains);
    context.stdout.write(dropped(things, settings));
    return EXIT.done;
  });
}

function thingsOf({ slot, publications }: Remains, { source }: Settings): string[] {
  const words = publications.map((name) => `publication ${name}`);
  if (!slot) return words;
  const budget =
    slot.safeWalBytes === null
      ? ""
      : `, ${humanBytes(Math.max(0, slot.safeWalBytes))} of WAL before it is lost`;
  return [`slot ${source.slot} (${slot.walStatus ?? "reserved"}${budget})`, ...words];
}

function wouldDrop(things: readonly string[], settings: Settings): string {
  return `Would drop at ${describeSource(settings)}:
${things.map((thing) => `  ${thing}\n`).join("")}
What is staged at ${settings.stage.url} stays. Changes from now on would be lost to that stage:
a later \`pgstage run\` there needs \`pgstage resync --all\`, which copies every table afresh.

Nothing was dropped. To do it: pgstage teardown --yes
`;
}

function dropped(things: readonly string[], settings: Settings): string {
  return `Dropped at ${describeSource(settings)}:
${things.map((thing) => `  ${thing}\n`).join("")}What is staged at ${settings.stage.url} stays.
`;
}
