import { readdirSync } from "node:fs";

const DEBIAN = "/usr/lib/postgresql";

/** Path of a program of the newest Postgres that Debian's packages have installed, or null. */
export function newest(program: string): string | null {
  try {
    const versions = readdirSync(DEBIAN).map(Number).filter(Boolean);
    const found = versions
      .sort((a, b) => b - a)
      .find((version) => readdirSync(`${DEBIAN}/${version}/bin`).includes(program));
    return found === undefined ? null : `${DEBIAN}/${found}/bin/${program}`;
  } catch {
    return null;
  }
}
