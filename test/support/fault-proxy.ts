import { once } from "node:events";
import { connect, createServer, type AddressInfo, type Server, type Socket } from "node:net";

/** `pass` hands on, `blackhole` keeps connections open and drops every byte, `refuse` resets new connections. */
export type ProxyMode = "pass" | "blackhole" | "refuse";

interface Pair {
  readonly client: Socket;
  readonly server: Socket;
  /** Every byte is dropped, whatever the mode. */
  forgotten: boolean;
}

/**
 * A TCP proxy on 127.0.0.1 that makes a network misbehave.
 *
 * Its faults can be changed at any time and hold for open connections, too; `refuse` is for new ones (`cut` ends
 * the open ones).
 */
export class FaultProxy {
  mode: ProxyMode = "pass";
  /** Delay of every chunk, both ways. */
  latencyMs = 0;
  /** Bytes a second from server to client, per connection. */
  bytesPerSecond = Number.POSITIVE_INFINITY;
  /** Resets all connections once this many bytes went from server to client since it was set. */
  #cutAfterBytes = Number.POSITIVE_INFINITY;
  /** Bytes that the server sent through this proxy. */
  bytesFromServer = 0;
  /** Connections that were ever accepted. */
  accepted = 0;
  readonly #pairs = new Set<Pair>();
  readonly #listener: Server;
  readonly #target: { host: string; port: number };

  constructor(target: { host: string; port: number }) {
    this.#target = target;
    this.#listener = createServer({ allowHalfOpen: true }, (client) => this.#accept(client));
  }

  get port(): number {
    return (this.#listener.address() as AddressInfo).port;
  }

  get connections(): number {
    return this.#pairs.size;
  }

  /** In the middle of a chunk, so that messages are torn. */
  cutAfterBytes(bytes: number): void {
    this.#cutAfterBytes = this.bytesFromServer + bytes;
  }

  /** Ends all open connections: with a reset, or in order as a server that goes away does. */
  cut(how: "rst" | "fin" = "rst"): void {
    for (const { client, server } of this.#pairs) {
      if (how === "rst") client.resetAndDestroy();
      else client.destroySoon();
      server.destroy();
    }
    this.#pairs.clear();
  }

  /** Open connections lose every byte from now on, as when a firewall has forgotten them; new ones pass. */
  forget(): void {
    for (const pair of this.#pairs) pair.forgotten = true;
  }

  async listen(): Promise<void> {
    this.#listener.listen(0, "127.0.0.1");
    await once(this.#listener, "listening");
  }

  async close(): Promise<void> {
    this.#listener.close();
    this.cut();
    await once(this.#listener, "close");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #accept(client: Socket): void {
    this.accepted++;
    if (this.mode === "refuse") {
      client.on("error", () => {});
      client.resetAndDestroy();
      return;
    }
    const server = connect({ ...this.#target, allowHalfOpen: true, noDelay: true });
    client.setNoDelay(true);
    const pair = { client, server, forgotten: false };
    this.#pairs.add(pair);
    this.#pump(pair, false);
    this.#pump(pair, true);
    for (const [socket, other] of [
      [client, server],
      [server, client],
    ] as const) {
      socket.on("end", () => void (this.#isBlack(pair) || other.end()));
      socket.on("error", () => this.#drop(pair));
      socket.on("close", () => this.#drop(pair));
    }
  }

  /** A connection that broke on one side is broken on the other; a black hole does not tell. */
  #drop(pair: Pair): void {
    this.#pairs.delete(pair);
    if (this.#isBlack(pair) && !pair.client.destroyed) return;
    pair.client.destroy();
    pair.server.destroy();
  }

  #isBlack(pair: Pair): boolean {
    return this.mode === "blackhole" || pair.forgotten;
  }

  #pump(pair: Pair, fromServer: boolean): void {
    const [from, to] = fromServer ? [pair.server, pair.client] : [pair.client, pair.server];
    from.on("data", (chunk: Buffer) => {
      if (this.#isBlack(pair)) return;
      if (fromServer) this.bytesFromServer += chunk.length;
      if (this.bytesFromServer > this.#cutAfterBytes) {
        to.write(chunk.subarray(0, chunk.length >> 1));
        // The socket may have more before the connections are cut: behind a half it would be another stream.
        pair.forgotten = true;
        this.#cutAfterBytes = Number.POSITIVE_INFINITY;
        setImmediate(() => this.cut("rst"));
        return;
      }
      const delayMs = this.latencyMs + (fromServer ? (chunk.length / this.bytesPerSecond) * 1000 : 0);
      from.pause();
      const pass = (): void => {
        if (!to.destroyed) to.write(chunk, () => from.resume());
      };
      if (delayMs > 0) setTimeout(pass, delayMs);
      else pass();
    });
  }
}

/** Starts a proxy in front of a server on this machine (or `host`). */
export async function startFaultProxy(port: number, host = "127.0.0.1"): Promise<FaultProxy> {
  const proxy = new FaultProxy({ host, port });
  await proxy.listen();
  return proxy;
}
