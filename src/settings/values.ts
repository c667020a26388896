import type { Config, SettingKey } from "./schema.ts";

/** Reads single settings and collects what is wrong with them. */
export interface Values {
  text(key: SettingKey): string | undefined;
  number(key: SettingKey): number;
  flag(key: SettingKey): boolean | undefined;
  list(key: SettingKey): readonly string[];
  /** Reports a problem; `reason` follows the setting's name and holds no secret. */
  refuse(key: SettingKey, reason: string): void;
}

export function createValues(config: Config, refuse: (key: SettingKey, reason: string) => void): Values {
  const get = (key: SettingKey): unknown => config.get(key);
  return {
    text: (key) => textOf(get(key)),
    number: (key) => Number(get(key)),
    flag(key) {
      const value = get(key);
      return typeof value === "boolean" ? value : undefined;
    },
    list(key) {
      const value = get(key);
      return Array.isArray(value) ? value.map(String) : [];
    },
    refuse,
  };
}

function textOf(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" ? value : undefined;
}
