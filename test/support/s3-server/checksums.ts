import { createHash } from "node:crypto";
import { crc32 } from "node:zlib";
import { S3Error } from "./errors.ts";

/** The checksums that clients may send, as in `x-amz-checksum-<name>`. */
const CHECKSUMS = ["crc32", "crc32c", "sha1", "sha256"] as const;
export type ChecksumName = (typeof CHECKSUMS)[number];

/** Reads `CRC32`, `crc32` and the like. Throws an S3Error for one that this server does not compute. */
export function checksumName(text: string): ChecksumName {
  const name = CHECKSUMS.find((known) => known === text.toLowerCase());
  if (name === undefined) throw new S3Error(501, "NotImplemented", `this server does not compute ${text}`);
  return name;
}

export interface Digest {
  update(bytes: Buffer): void;
  /** Base64. */
  value(): string;
}

export function digestOf(name: ChecksumName): Digest {
  switch (name) {
    case "crc32":
      return runningCrc((bytes, sum) => crc32(bytes, sum));
    case "crc32c":
      return runningCrc(crc32c);
    case "sha1":
    case "sha256": {
      const hash = createHash(name);
      return { update: (bytes) => void hash.update(bytes), value: () => hash.digest("base64") };
    }
    default:
      return name satisfies never;
  }
}

function runningCrc(step: (bytes: Buffer, sum: number) => number): Digest {
  let sum = 0;
  return {
    update: (bytes) => {
      sum = step(bytes, sum);
    },
    value: () => {
      const out = Buffer.alloc(4);
      out.writeUInt32BE(sum >>> 0);
      return out.toString("base64");
    },
  };
}

/** CRC-32C (Castagnoli), reflected polynomial of RFC 3720 B.4. */
const CASTAGNOLI = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0x82f63b78 : value >>> 1;
  return value;
});

export function crc32c(bytes: Buffer, sum = 0): number {
  let value = ~sum;
  for (const byte of bytes) value = (CASTAGNOLI[(value ^ byte) & 0xff] ?? 0) ^ (value >>> 8);
  return ~value >>> 0;
}

/** Checksum of a multipart object from its parts': the checksum of their concatenation, and their number. */
export function compositeChecksum(name: ChecksumName, parts: readonly string[]): string {
  const digest = digestOf(name);
  for (const part of parts) digest.update(Buffer.from(part, "base64"));
  return `${digest.value()}-${parts.length}`;
}
