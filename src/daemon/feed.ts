import type { Lsn } from "../core/lsn.ts";
import { isBeyondRowLimit } from "../postgres/row-limit.ts";
import type { Pump } from "../stream/pump.ts";
import { Witness } from "../stream/witness.ts";
import type { Held } from "./slot-lock.ts";

/**
 * Hands the stream to the pump until the stream ends, with which it rejects. Before the transaction that the server
 * could not send the attempt before (`unsendable`), the pump is drained, and nothing more is read.
 */
export async function feed({ stream, from }: Held, pump: Pump, unsendable: Lsn | null): Promise<void> {
  const witness = new Witness(from, unsendable);
  let isDraining = false;
  stream.begin({
    onPayload: (payload) => {
      witness.see(payload);
      if (!witness.isStopped) pump.read(payload);
      else if (!isDraining) {
        isDraining = true;
        pump.drain();
      }
    },
    onKeepalive: (walEnd, urgent) => pump.keepalive(walEnd, urgent),
  });
  try {
    await stream.done;
  } catch (error) {
    if (!isBeyondRowLimit(error)) throw error;
    if (!witness.isStopped) throw witness.explain(error);
    await pump.done;
  }
}
