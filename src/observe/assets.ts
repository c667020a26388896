import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { PAGE_HTML } from "./page/html.ts";
import { PAGE_CSS } from "./page/style.ts";

/** Something that the page is made of. */
export interface Asset {
  readonly type: string;
  readonly body: Buffer;
  readonly etag: string;
}

/** Scripts run in the browser as the compiler made them; their paths mirror the folder, so their imports resolve. */
const SCRIPTS = [
  "page/main.js",
  "page/charts.js",
  "page/dom.js",
  "page/overview.js",
  "page/lists.js",
  "units.js",
] as const;

/** Run from its sources, the daemon still needs the compiled scripts: `npm run build` makes them. */
const SCRIPT_FOLDER = new URL(
  import.meta.url.endsWith(".ts") ? "../../dist/observe/" : "./",
  import.meta.url,
);

/** Everything that is served besides data, by path. Read when first asked for, and then kept. */
export function pageAssets(): ReadonlyMap<string, () => Asset> {
  const require = createRequire(import.meta.url);
  const assets = new Map<string, () => Asset>([
    ["/", () => asset("text/html", Buffer.from(PAGE_HTML))],
    ["/assets/style.css", () => asset("text/css", Buffer.from(PAGE_CSS))],
    [
      "/assets/uplot.js",
      () => asset("text/javascript", readFileSync(require.resolve("uplot/dist/uPlot.iife.min.js"))),
    ],
    ["/assets/uplot.css", () => asset("text/css", readFileSync(require.resolve("uplot/dist/uPlot.min.css")))],
  ]);
  for (const script of SCRIPTS) {
    assets.set(`/assets/${script}`, () => asset("text/javascript", readScript(script)));
  }
  return new Map([...assets].map(([path, load]) => [path, once(load)]));
}

function readScript(name: string): Buffer {
  try {
    return readFileSync(new URL(name, SCRIPT_FOLDER));
  } catch (cause) {
    throw new Error(`the page's script ${name} is missing; \`npm run build\` makes it`, { cause });
  }
}

function once(load: () => Asset): () => Asset {
  let loaded: Asset | undefined;
  return () => (loaded ??= load());
}

function asset(type: string, body: Buffer): Asset {
  const etag = `"${createHash("sha256").update(body).digest("hex").slice(0, 16)}"`;
  return { type: `${type}; charset=utf-8`, body, etag };
}
