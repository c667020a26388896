import { createHash } from "node:crypto";
import type { Readable } from "node:stream";

/** `sha256:<hex>` of all bytes of a stream. */
export async function checksumOf(stream: Readable): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of stream) hash.update(chunk as Buffer);
  return `sha256:${hash.digest("hex")}`;
}
