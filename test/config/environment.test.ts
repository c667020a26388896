import { describe, expect, it } from "vitest";
import { loadSettings } from "../../src/settings/load.ts";
import { text } from "./files.ts";

const lines = text("env.example").split("\n");

function variables(wanted: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    wanted
      .map((line) => line.replace(/^#(?=[A-Z_]+=)/, ""))
      .filter((line) => /^[A-Z_]+=/.test(line))
      .map((line) => [line.slice(0, line.indexOf("=")), line.slice(line.indexOf("=") + 1)]),
  );
}

describe("config/env.example", () => {
  it("loads as it is", () => {
    const env = variables(lines.filter((line) => !line.startsWith("#")));
    expect(env["PGSTAGE_SOURCE_PASSWORD_FILE"]).toBe("/run/secrets/pgstage-password");
    // A file that is there in a test.
    const { source, stage } = loadSettings({
      env: { ...env, PGSTAGE_SOURCE_PASSWORD_FILE: import.meta.filename },
    });
    expect(source).toMatchObject({ host: "db.example.com", user: "pgstage", database: "app" });
    expect(stage.url).toBe("s3://my-bucket/pgstage/app");
  });

  it("loads with everything that is commented out", () => {
    const { PGSTAGE_SOURCE_PASSWORD_FILE: _password, ...all } = variables(lines);
    expect(Object.keys(all).length).toBeGreaterThan(10);
    expect(loadSettings({ env: all })).toMatchObject({
      source: { auth: "iam" },
      http: { host: "0.0.0.0", port: 8080 },
      flush: { intervalMs: 60_000 },
    });
  });
});
