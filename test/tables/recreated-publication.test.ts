import { expect, test } from "vitest";
import { createStatement, publicationsOf } from "../../src/postgres/publication.ts";
import { Fixture } from "./fixture.ts";

const at = new Fixture({ version: 17, setup: "CREATE TABLE t (id int PRIMARY KEY)" });

test("a publication that was gone for a while is told once, with what mends it", async () => {
  const { pipeline } = at;
  await pipeline.untilCopied("public.t");
  const names = publicationsOf("pgstage");
  // In one transaction with a change, so that no look at the catalog finds it gone.
  await pipeline.sql(
    `BEGIN; DROP PUBLICATION pgstage; INSERT INTO t VALUES (1); ${createStatement(names.all, names, 17)}; COMMIT`,
  );
  const end = pipeline.until<never>("the end", () => null);
  await expect(end).rejects.toMatchObject({
    name: "OperatorError",
    mend: expect.stringMatching(/resync --all/) as string,
  });
});
