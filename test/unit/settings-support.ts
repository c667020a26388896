import { SettingsError } from "../../src/core/errors.ts";
import { loadSettings } from "../../src/settings/load.ts";

/** The least that is required. */
export const BASE = {
  PGSTAGE_SOURCE_URL: "postgres://me:pw@db.example.com/app",
  PGSTAGE_STAGE_URL: "s3://bucket/prefix",
};

export type Env = Readonly<Record<string, string | undefined>>;

export function problemsOf(env: Env, file?: string): readonly string[] {
  try {
    loadSettings({ env, file });
  } catch (error) {
    if (error instanceof SettingsError) return error.problems;
    throw error;
  }
  return [];
}

/** The problems of wrong settings beside good ones. */
export function problemsBeside(env: Env): string {
  return problemsOf({ ...BASE, ...env }).join("\n");
}
