/** A setting synchronous_standby_names, taken apart. */
export interface StandbyNames {
  readonly method: "FIRST" | "ANY";
  /** How many standbys a commit waits for. */
  readonly count: number;
  readonly names: readonly string[];
}

/** https://www.postgresql.org/docs/current/runtime-config-replication.html#GUC-SYNCHRONOUS-STANDBY-NAMES */
function parseStandbyNames(setting: string): StandbyNames | null {
  const text = setting.trim();
  if (text === "") return null;
  const match = /^(?:(FIRST|ANY)\s+)?(\d+)\s*\((.*)\)$/is.exec(text);
  const names = splitNames(match?.[3] ?? text);
  if (!match) return { method: "FIRST", count: 1, names };
  return { method: match[1]?.toUpperCase() === "ANY" ? "ANY" : "FIRST", count: Number(match[2]), names };
}

function splitNames(list: string): string[] {
  const names = list.match(/"(?:[^"]|"")*"|[^,\s]+/g) ?? [];
  return names.map((name) => (name.startsWith('"') ? name.slice(1, -1).replaceAll('""', '"') : name));
}

/**
 * Whether commits of the application wait for a walsender that calls itself `application`: always, only while other
 * standbys are away, or never. A logical walsender counts like a physical one, and acknowledges only once its changes
 * are staged.
 */
export function waitsFor(setting: string, application: string): "always" | "perhaps" | "never" {
  const parsed = parseStandbyNames(setting);
  if (!parsed) return "never";
  const matches = (name: string): boolean => name === "*" || name.toLowerCase() === application.toLowerCase();
  const place = parsed.names.findIndex(matches);
  if (place === -1) return "never";
  const needed = parsed.method === "ANY" ? parsed.count >= parsed.names.length : place < parsed.count;
  return needed ? "always" : "perhaps";
}
