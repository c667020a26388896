import { once } from "node:events";
import { connect, createServer, type AddressInfo, type Server, type Socket } from "node:net";
import { afterEach, beforeEach, expect, test } from "vitest";
import { startFaultProxy, type FaultProxy } from "./fault-proxy.ts";

let echo: Server;
let proxy: FaultProxy;
const clients: Socket[] = [];

beforeEach(async () => {
  echo = createServer((socket) => socket.on("error", () => {}).pipe(socket));
  echo.listen(0, "127.0.0.1");
  await once(echo, "listening");
  proxy = await startFaultProxy((echo.address() as AddressInfo).port);
});

afterEach(async () => {
  for (const client of clients.splice(0)) client.destroy();
  await proxy.close();
  echo.close();
  await once(echo, "close");
});

async function open(): Promise<Socket> {
  const client = connect(proxy.port, "127.0.0.1");
  clients.push(client);
  await once(client, "connect");
  return client;
}

async function roundTrip(client: Socket, text: string): Promise<string> {
  client.write(text);
  const [answer] = (await once(client, "data")) as [Buffer];
  return answer.toString();
}

test("passes bytes on both ways and counts them", async () => {
  expect(await roundTrip(await open(), "hello")).toBe("hello");
  expect(proxy.bytesFromServer).toBe(5);
  expect(proxy.connections).toBe(1);
});

test("cuts by reset or by an orderly end", async () => {
  const reset = await open();
  await roundTrip(reset, "a");
  const error = once(reset, "error");
  proxy.cut("rst");
  expect((await error)[0]).toMatchObject({ code: "ECONNRESET" });

  const ended = await open();
  await roundTrip(ended, "a");
  const end = once(ended, "end");
  proxy.cut("fin");
  await end;
});

test("cuts in the middle of a chunk after so many bytes", async () => {
  const client = await open();
  proxy.cutAfterBytes(100);
  expect(await roundTrip(client, "x".repeat(100))).toHaveLength(100);
  // A reset that comes together with data may be told as one, or as an orderly end; once() would reject for the first.
  client.on("error", () => {});
  const closed = new Promise((resolve) => client.once("close", resolve));
  let received = 0;
  client.on("data", (chunk: Buffer) => (received += chunk.length));
  client.write("y".repeat(1000));
  await closed;
  expect(received).toBeLessThan(1000);
});

test("what arrives before a cut is the beginning of what was sent, however much is on its way", async () => {
  const sent = Buffer.alloc(8 * 1024 * 1024);
  for (let at = 0; at < sent.length; at += 4) sent.writeUInt32BE(at, at);
  const source = createServer((socket) => socket.on("error", () => {}).end(sent));
  source.listen(0, "127.0.0.1");
  await once(source, "listening");
  await using flood = await startFaultProxy((source.address() as AddressInfo).port);
  for (let i = 1; i <= 10; i++) {
    flood.cutAfterBytes(i * 300_000);
    const client = connect(flood.port, "127.0.0.1");
    clients.push(client);
    const chunks: Buffer[] = [];
    client.on("error", () => {}).on("data", (chunk: Buffer) => chunks.push(chunk));
    await new Promise((resolve) => client.once("close", resolve));
    const received = Buffer.concat(chunks);
    expect(received.length).toBeLessThan(sent.length);
    expect(received.equals(sent.subarray(0, received.length))).toBe(true);
  }
  source.close();
});

test("refuses new connections", async () => {
  proxy.mode = "refuse";
  const client = connect(proxy.port, "127.0.0.1");
  clients.push(client);
  expect((await once(client, "error"))[0]).toMatchObject({ code: "ECONNRESET" });
});

test("a black hole swallows and does not tell", async () => {
  const client = await open();
  await roundTrip(client, "a");
  proxy.mode = "blackhole";
  let answered = false;
  client.on("data", () => (answered = true));
  client.write("lost");
  const other = await open();
  other.write("lost, too");
  await new Promise((resolve) => setTimeout(resolve, 100));
  expect(answered).toBe(false);
  expect(client.destroyed).toBe(false);
});

test("is as slow as it is told to be", async () => {
  const client = await open();
  proxy.latencyMs = 50;
  const before = performance.now();
  await roundTrip(client, "a");
  expect(performance.now() - before).toBeGreaterThan(95);
  proxy.latencyMs = 0;
  proxy.bytesPerSecond = 10_000;
  const start = performance.now();
  await roundTrip(client, "x".repeat(1000));
  await roundTrip(client, "y");
  expect(performance.now() - start).toBeGreaterThan(95);
});
