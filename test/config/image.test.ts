import { readFileSync } from "node:fs";
import { join } from "node:path";
import { validate } from "dockerfile-utils";
import { describe, expect, it } from "vitest";

const ROOT = join(import.meta.dirname, "../..");
const dockerfile = readFileSync(join(ROOT, "Dockerfile"), "utf8");
const finalStage = dockerfile.slice(dockerfile.lastIndexOf("\nFROM "));
const packageJson = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as { version: string };

/** The health check as the image has it, for whoever needs it again. */
function healthCheck(): string[] {
  const [, command = ""] = /^HEALTHCHECK [^[]*CMD (\[.*\])$/m.exec(finalStage) ?? [];
  return JSON.parse(command) as string[];
}

describe("Dockerfile", () => {
  it("has nothing that the linter knows to be wrong", () => {
    expect(validate(dockerfile)).toEqual([]);
  });

  it("would be told of a mistake", () => {
    expect(validate(`${dockerfile}\nENTRYPOINT ["node"]\nEXPOSED 8080\n`)).not.toEqual([]);
  });

  it("pins its base image to a Node 24", () => {
    expect(dockerfile).toMatch(/^ARG NODE=24\.\d+\.\d+-bookworm-slim$/m);
    expect(dockerfile.match(/^FROM .*$/gm)?.map((line) => line.split(" ")[1])).toEqual(
      Array.from({ length: 3 }, () => "node:${NODE}"),
    );
  });

  it("runs as a user by number, so that Kubernetes can tell that it is not root", () => {
    expect(finalStage).toMatch(/^USER [1-9]\d*:[1-9]\d*$/m);
  });

  it("needs no shell to run", () => {
    expect(finalStage).toMatch(/^ENTRYPOINT \["node", /m);
    expect(healthCheck()[0]).toBe("node");
    expect(finalStage).not.toMatch(/^RUN /m);
  });

  it("copies only what .dockerignore lets in", () => {
    const allowed = readFileSync(join(ROOT, ".dockerignore"), "utf8")
      .split("\n")
      .filter((line) => line.startsWith("!"))
      .map((line) => line.slice(1));
    const copied = [...dockerfile.matchAll(/^COPY (?!--from)(.*) \S+$/gm)].flatMap(([, names = ""]) =>
      names.split(" "),
    );
    expect(copied.length).toBeGreaterThan(5);
    expect(allowed).toEqual(expect.arrayContaining(copied));
  });

  it("says which version it is", () => {
    expect(dockerfile).toContain(`ARG VERSION=${packageJson.version}\n`);
  });
});
