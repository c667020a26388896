import { once } from "node:events";
import { createServer } from "node:net";

/**
 * Below the ranges from which Linux (32768) and macOS (49152) take the local ports of outgoing connections, so
 * that a server that is down for a moment finds its port free again.
 */
const LOWEST = 15_000;
const HIGHEST = 32_000;

/** A TCP port on 127.0.0.1 that nobody listens on now. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = LOWEST + Math.floor(Math.random() * (HIGHEST - LOWEST));
    if (await isFree(port)) return port;
  }
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer();
  try {
    server.listen(port, "127.0.0.1");
    await once(server, "listening");
    server.close();
    await once(server, "close");
    return true;
  } catch {
    return false;
  }
}
