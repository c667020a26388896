import { messageOf } from "../core/errors.ts";
import type { PatienceEvents } from "../delivery/patience.ts";
import type { Observations } from "../observe/observations.ts";

/**
 * Tells whether the stage can be used, from the requests of one attempt at the pipeline. It works again when nothing
 * that has failed is left: many requests are under way at once, and one that succeeds says little while others fail.
 */
export function storeHealth(
  observations: Pick<Observations, "storeFailing" | "storeWorks" | "hold" | "clear">,
): PatienceEvents {
  let failing = 0;
  let silent = 0;
  return {
    failed: (what, error, attempts) => {
      if (attempts === 1) failing++;
      observations.storeFailing(`${what}: ${messageOf(error)}`);
    },
    succeeded: (_what, failures) => {
      if (failures > 0) failing--;
      if (failing === 0) observations.storeWorks();
    },
    silent: (what) => {
      silent++;
      observations.hold("store-silent", { what });
      return () => {
        if (--silent === 0) observations.clear("store-silent");
      };
    },
  };
}
