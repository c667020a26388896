import { execFile } from "node:child_process";
import { tmpdir } from "node:os";
import { pathToFileURL } from "node:url";
import { join } from "node:path";
import { promisify } from "node:util";
import { describe, expect, it } from "vitest";

/** Opens a stage in a process of its own. */
async function openInProcess(url: string): Promise<{ sdk: boolean; stderr: string }> {
  const module = pathToFileURL(join(import.meta.dirname, "../../src/stores/open.ts")).href;
  const script = `
    const { openStore } = await import(${JSON.stringify(module)});
    const { createRequire } = await import("node:module");
    const store = await openStore({ url: ${JSON.stringify(url)}, endpoint: "http://127.0.0.1:9" });
    const { cache } = createRequire(${JSON.stringify(module)});
    console.log(JSON.stringify(Object.keys(cache).some((name) => name.includes("client-s3"))));
    store.close();`;
  const { stdout, stderr } = await promisify(execFile)(process.execPath, [
    "--import",
    "tsx",
    "--input-type=module",
    "-e",
    script,
  ]);
  return { sdk: JSON.parse(stdout) as boolean, stderr };
}

describe("opening a stage", () => {
  it("does not load the AWS SDK for a directory", async () => {
    expect(await openInProcess(pathToFileURL(join(tmpdir(), "stage")).href)).toEqual({
      sdk: false,
      stderr: "",
    });
  });

  it("loads it for a bucket, without its notice about Node's version", async () => {
    expect(await openInProcess("s3://bucket/stage")).toEqual({ sdk: true, stderr: "" });
  });
});
