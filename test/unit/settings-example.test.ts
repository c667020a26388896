import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { loadSettings } from "../../src/settings/load.ts";
import { ALL_SETTINGS, settingsTable } from "../../src/settings/schema.ts";
import { BASE } from "./settings-support.ts";

const path = new URL("../../config/pgstage.yaml", import.meta.url).pathname;
const WIDTH = 100;

/** What stands there for settings without a default that could be written down. */
const EXAMPLES: Readonly<Record<string, string>> = {
  "source.url": "postgres://pgstage@db.example.com:5432/app",
  "source.password": "better by PGSTAGE_SOURCE_PASSWORD or source.passwordFile",
  "source.passwordFile": "/run/secrets/pgstage-password",
  "source.region": "eu-central-1",
  "source.tls": "verify-full",
  "source.ca": "/etc/pgstage/eu-central-1-bundle.pem",
  "source.include": '["public.*"]',
  "source.exclude": '["public.tmp_*", "public.audit_log"]',
  "stage.url": "s3://my-bucket/pgstage/app",
  "stage.endpoint": "https://s3.example.com",
  "stage.region": "eu-central-1",
  "stage.forcePathStyle": "true",
  "stage.sse": "aws:kms",
  "stage.kmsKeyId": "alias/my-key",
  "stage.storageClass": "STANDARD",
  "log.format": "json",
};

/** The two that most pipelines need; the others are comments. */
const REQUIRED = ["source.url", "stage.url"];

function wrapped(text: string, indent: string): string[] {
  const lines = [`${indent}#`];
  for (const word of text.split(" ")) {
    const last = lines.at(-1) ?? "";
    if (last.length + word.length < WIDTH) lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(`${indent}# ${word}`);
  }
  return lines;
}

function rendered(): string {
  const lines = wrapped(
    "Every setting of pgstage. What is commented out shows the default, or an example where there is none. The environment overrides this file: flush.interval is PGSTAGE_FLUSH_INTERVAL, snapshot.rangeBytes is PGSTAGE_SNAPSHOT_RANGE_BYTES.",
    "",
  );
  let section = "";
  for (const { key, definition } of ALL_SETTINGS) {
    const [group = "", name = ""] = key.split(".");
    lines.push("");
    if (group !== section) lines.push(`${group}:`);
    section = group;
    const value =
      definition.default === null || definition.default === "" ? EXAMPLES[key] : definition.default;
    const { shownDefault = "required" } = definition;
    const note = shownDefault === "required" ? "" : ` (default: ${shownDefault})`;
    lines.push(...wrapped(`${definition.doc}${note}`.replaceAll("`", ""), "  "));
    lines.push(REQUIRED.includes(key) ? `  ${name}: ${value}` : `  #${name}: ${value}`);
  }
  return `${lines.join("\n")}\n`;
}

describe("config/pgstage.yaml", () => {
  it("is what the schema says", async () => {
    await expect(rendered()).toMatchFileSnapshot(path);
  });

  it("loads as it is, with every default", () => {
    const settings = loadSettings({ env: {}, file: path });
    const { url, source, ...rest } = { ...settings, url: settings.stage.url };
    expect(url).toBe("s3://my-bucket/pgstage/app");
    expect(source).toMatchObject({ host: "db.example.com", database: "app" });
    const { source: _source, stage: _stage, ...defaults } = loadSettings({ env: BASE });
    expect(rest).toMatchObject(defaults);
  });

  it("holds every setting once the comments are taken off, and no other", () => {
    const plain = readFileSync(path, "utf8").replaceAll(/^ {2}#(\w+: )/gm, "  $1");
    const keys = Object.entries(parse(plain) as Record<string, object>).flatMap(([section, settings]) =>
      Object.keys(settings).map((name) => `${section}.${name}`),
    );
    expect(keys).toEqual(settingsTable().map(({ key }) => key));
  });
});
