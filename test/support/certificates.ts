import { generateKeyPairSync, randomBytes, sign, type KeyObject } from "node:crypto";

/**
 * X.509 certificates for tests, by hand: Node can read certificates but not make them, and not every machine has
 * the openssl command. Only what TLS needs: a name, alternative names, the times, who signed (RFC 5280).
 */
export interface Identity {
  readonly certificate: string;
  readonly key: string;
}

export interface Authority extends Identity {
  /** A server's certificate for these DNS names and IPv4 addresses. */
  issue(names: readonly string[], options?: Validity): Identity;
}

interface Validity {
  readonly from?: Date;
  readonly to?: Date;
}

export function createAuthority(name: string): Authority {
  const keys = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const self = { name, key: keys.privateKey };
  const ca = extension("2.5.29.19", sequence(tagged(0x01, Buffer.from([0xff]))), true);
  return {
    ...identity(
      keys,
      certificate({ issuer: self, subject: name, publicKey: keys.publicKey, extensions: [ca], validity: {} }),
    ),
    issue(names, validity = {}) {
      const own = generateKeyPairSync("ec", { namedCurve: "P-256" });
      const extensions = [extension("2.5.29.17", sequence(...names.map(alternativeName)), false)];
      const der = certificate({
        issuer: self,
        subject: "server",
        publicKey: own.publicKey,
        extensions,
        validity,
      });
      return identity(own, der);
    },
  };
}

function identity({ privateKey }: { privateKey: KeyObject }, der: Buffer): Identity {
  const lines = der.toString("base64").replaceAll(/.{64}/g, "$&\n").trimEnd();
  return {
    certificate: `-----BEGIN CERTIFICATE-----\n${lines}\n-----END CERTIFICATE-----\n`,
    key: privateKey.export({ type: "pkcs8", format: "pem" }).toString(),
  };
}

const DAY_MS = 86_400_000;
const ECDSA_WITH_SHA256 = sequence(oid("1.2.840.10045.4.3.2"));

function certificate(parts: {
  issuer: { name: string; key: KeyObject };
  subject: string;
  publicKey: KeyObject;
  extensions: readonly Buffer[];
  validity: Validity;
}): Buffer {
  const { from = new Date(Date.now() - DAY_MS), to = new Date(Date.now() + DAY_MS) } = parts.validity;
  const body = sequence(
    tagged(0xa0, integer(Buffer.from([2]))),
    integer(randomBytes(8)),
    ECDSA_WITH_SHA256,
    distinguishedName(parts.issuer.name),
    sequence(time(from), time(to)),
    distinguishedName(parts.subject),
    parts.publicKey.export({ type: "spki", format: "der" }),
    tagged(0xa3, sequence(...parts.extensions)),
  );
  const signature = sign("sha256", body, parts.issuer.key);
  return sequence(body, ECDSA_WITH_SHA256, tagged(0x03, Buffer.from([0]), signature));
}

function distinguishedName(name: string): Buffer {
  return sequence(tagged(0x31, sequence(oid("2.5.4.3"), tagged(0x0c, Buffer.from(name)))));
}

function time(date: Date): Buffer {
  return tagged(0x18, Buffer.from(`${date.toISOString().replaceAll(/[-:T]|\.\d+/g, "")}`));
}

function alternativeName(name: string): Buffer {
  const isAddress = /^\d+\.\d+\.\d+\.\d+$/.test(name);
  return isAddress ? tagged(0x87, Buffer.from(name.split(".").map(Number))) : tagged(0x82, Buffer.from(name));
}

function extension(id: string, value: Buffer, critical: boolean): Buffer {
  const flag = critical ? [tagged(0x01, Buffer.from([0xff]))] : [];
  return sequence(oid(id), ...flag, tagged(0x04, value));
}

/** A whole number of at least 0, in the fewest bytes, as DER asks. */
export function integer(bytes: Buffer): Buffer {
  const first = bytes.findIndex((byte) => byte > 0);
  const digits = first === -1 ? Buffer.from([0]) : bytes.subarray(first);
  return tagged(0x02, (digits[0] ?? 0) > 0x7f ? Buffer.concat([Buffer.from([0]), digits]) : digits);
}

function oid(dotted: string): Buffer {
  const [first = 0, second = 0, ...rest] = dotted.split(".").map(Number);
  return tagged(0x06, Buffer.from([first * 40 + second, ...rest.flatMap(base128)]));
}

function base128(value: number): number[] {
  const digits = [value & 0x7f];
  for (let left = value >> 7; left > 0; left >>= 7) digits.unshift((left & 0x7f) | 0x80);
  return digits;
}

function sequence(...parts: readonly Buffer[]): Buffer {
  return tagged(0x30, ...parts);
}

/** Tag, length, content (ITU-T X.690). */
function tagged(tag: number, ...parts: readonly Buffer[]): Buffer {
  const content = Buffer.concat(parts);
  const { length } = content;
  const size =
    length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...size]), content]);
}
