import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { openStore } from "../../src/stores/open.ts";
import { storeContract } from "./contract.ts";

storeContract("a directory", async () => {
  const parent = await mkdtemp(join(tmpdir(), "pgstage-directory-"));
  const url = pathToFileURL(join(parent, "stage of 'quotes' and spaces")).href;
  return {
    open: () => openStore({ url }),
    clean: () => rm(parent, { recursive: true, force: true }),
  };
});
