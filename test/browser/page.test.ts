import type { Browser, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { listen, type HttpServer } from "../../src/observe/http.ts";
import { createMetrics } from "../../src/observe/metrics.ts";
import { compilePage, launchBrowser } from "./browser.ts";
import { scrollsSideways, sticksOut, worstContrast } from "./measures.ts";
import { SCENES, tables, type Scene, type SceneName } from "./scenes.ts";

interface Look {
  readonly width?: number;
  readonly dark?: boolean;
  readonly reducedMotion?: boolean;
}

interface Shown {
  readonly page: Page;
  readonly scene: Scene;
  readonly server: HttpServer;
  /** Everything that the browser asked for. */
  readonly requests: string[];
  /** Errors of the page and violations of its policy. */
  readonly complaints: string[];
}

let browser: Browser;
const open: Shown[] = [];

beforeAll(async () => {
  await compilePage();
  browser = await launchBrowser();
});
afterAll(async () => {
  await browser.close();
});
afterEach(async () => {
  const shown = open.splice(0);
  await Promise.all(shown.map(({ page }) => page.close()));
  await Promise.all(shown.map(({ server }) => server.close()));
  for (const { complaints } of shown) expect(complaints).toEqual([]);
});

async function show(name: SceneName, look: Look = {}): Promise<Shown> {
  const scene = SCENES[name]();
  const status = () => scene.observations.status();
  const server = await listen({ host: "127.0.0.1", port: 0, status, metrics: createMetrics(status) });
  const page = await browser.newPage({
    viewport: { width: look.width ?? 1_180, height: 800 },
    colorScheme: look.dark === true ? "dark" : "light",
    reducedMotion: look.reducedMotion === true ? "reduce" : "no-preference",
  });
  const requests: string[] = [];
  const complaints: string[] = [];
  page.on("request", (request) => requests.push(request.url()));
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("console", (message) => {
    // The browser itself reports a failed poll; the page says so too.
    if (message.type() === "error" && !message.text().includes("ERR_CONNECTION"))
      complaints.push(message.text());
  });
  const shown = { page, scene, server, requests, complaints };
  open.push(shown);
  await page.goto(`http://127.0.0.1:${server.port}/`);
  await page.locator("#figures dd").first().waitFor();
  return shown;
}

const PICTURES = process.env["PGSTAGE_TEST_PICTURES"];

async function picture(page: Page, name: string): Promise<Buffer> {
  return page.screenshot({
    fullPage: true,
    ...(PICTURES === undefined ? {} : { path: `${PICTURES}/${name}.png` }),
  });
}

describe("the page", () => {
  it.each<[SceneName, Look]>([
    ["starting", {}],
    ["idle", {}],
    ["copying", {}],
    ["streaming", {}],
    ["behind", {}],
    ["sourceDown", {}],
    ["blocked", {}],
    ["standby", {}],
    ["many", {}],
    ["streaming", { dark: true }],
    ["behind", { dark: true }],
    ["blocked", { dark: true }],
    ["copying", { width: 320 }],
    ["behind", { width: 320, dark: true }],
    ["hostile", { width: 320 }],
  ])("shows %s, %o: the same words as everywhere, readable, nothing cut off", async (name, look) => {
    const { page, scene } = await show(name, look);
    const status = scene.observations.status();
    expect(await page.textContent("#summary")).toBe(status.summary);
    expect(await page.locator("#notices li").count()).toBe(status.notices.length);
    for (const notice of status.notices) {
      const text = await page.textContent("#notices");
      expect(text).toContain(notice.message);
      expect(text).toContain(notice.mend);
    }
    expect(await scrollsSideways(page)).toBe(false);
    expect(await sticksOut(page)).toEqual([]);
    const { ratio, text } = await worstContrast(page);
    expect(ratio, `contrast of “${text}”`).toBeGreaterThanOrEqual(4.5);
    const image = await picture(
      page,
      `${name}-${look.width ?? 1_180}-${look.dark === true ? "dark" : "light"}`,
    );
    expect(image.length).toBeGreaterThan(10_000);
  });

  it("fetches nothing from elsewhere and keeps to its policy", async () => {
    const { page, server, requests } = await show("streaming");
    const origin = `http://127.0.0.1:${server.port}/`;
    expect(requests.filter((url) => !url.startsWith(origin) && !url.startsWith("data:"))).toEqual([]);
    expect(requests.map((url) => new URL(url).pathname)).toContain("/assets/uplot.js");
    const response = await page.request.get(origin);
    expect(response.headers()["content-security-policy"]).toContain("default-src 'none'");
    // The policy is not only there, it holds: a script in the markup does not run.
    const ran = await page.evaluate(async () => {
      const refused = new Promise<string>((resolve) => {
        document.addEventListener("securitypolicyviolation", (event) => resolve(event.effectiveDirective));
      });
      const script = document.createElement("script");
      script.textContent = "window.pwned = 1";
      document.body.append(script);
      return { directive: await refused, pwned: "pwned" in window };
    });
    expect(ran).toEqual({ directive: "script-src-elem", pwned: false });
    // That violation was ours.
    open[0]?.complaints.splice(0);
  });

  it("takes names of tables, files and reasons for text", async () => {
    const { page, scene } = await show("hostile");
    await page.locator("#not-captured summary").click();
    await page.locator("#batches summary").first().click();
    const injected = await page.evaluate(() => ({
      pwned: "pwned" in window,
      elements: document.querySelectorAll("main img, main svg, main script, main b, main i").length,
    }));
    expect(injected).toEqual({ pwned: false, elements: 0 });
    const names = await page.locator("#tables tbody .names").allTextContents();
    expect(names.toSorted()).toEqual(
      scene.observations
        .status()
        .tables.map(({ table }) => table)
        .toSorted(),
    );
    expect(await page.textContent("#not-captured")).toContain("<i>unlogged</i>");
    expect(await page.textContent("#batches")).toContain("<img src=x onerror=window.pwned=1>");
  });

  it("is live, and says when it lost contact and when it is back", async () => {
    const { page, scene, server } = await show("streaming");
    scene.observations.stateChanged("draining");
    await page.getByText("Draining", { exact: true }).waitFor();
    const { port } = server;
    await server.close();
    await page.getByRole("alert").waitFor();
    expect(await page.getByRole("alert").textContent()).toContain("The daemon does not answer");
    expect(await page.title()).toBe("no answer · pgstage");
    const status = () => scene.observations.status();
    scene.observations.stateChanged("streaming");
    const again = await listen({ host: "127.0.0.1", port, status, metrics: createMetrics(status) });
    await page.getByText("Streaming", { exact: true }).waitFor();
    expect(await page.getByRole("alert").isVisible()).toBe(false);
    await page.close();
    await again.close();
  });

  it("keeps saying why the daemon ended, when an operator must act", async () => {
    const { page, server } = await show("blocked", { dark: true });
    await server.close();
    await page.getByRole("alert").waitFor();
    expect(await page.getByRole("alert").textContent()).toContain("because an operator must act");
    expect(await page.title()).toBe("Blocked, ended · pgstage");
    const opacity = (selector: string) =>
      page.evaluate((at) => getComputedStyle(document.querySelector(at) ?? document.body).opacity, selector);
    expect([await opacity("#now"), await opacity("#notices")]).toEqual(["1", "1"]);
    await expect.poll(() => opacity("#tables")).toBe("0.55");
  });

  it("can be used with the keyboard alone, in the order in which it is read", async () => {
    const { page } = await show("streaming");
    const focused = () =>
      page.evaluate(() => {
        const at = document.activeElement;
        return at?.id || (at?.tagName === "SUMMARY" ? (at.textContent ?? "").slice(0, 5) : at?.textContent);
      });
    const order: unknown[] = [];
    for (let step = 0; step < 5; step++) {
      await page.keyboard.press("Tab");
      order.push(await focused());
    }
    expect(order).toEqual(["Skip to the tables", "filter", "1 tab", "#4769", "#4768"]);
    await page.keyboard.press("Enter");
    expect(await page.locator("#batches details[open]").count()).toBe(1);
    const outline = await page.evaluate(
      () => getComputedStyle(document.activeElement ?? document.body).outlineStyle,
    );
    expect(outline).toBe("solid");
  });

  it("keeps focus and open details while it is renewed", async () => {
    const { page, scene, requests } = await show("streaming");
    await page.locator("#batches summary").nth(1).press("Enter");
    scene.observations.batchPublished({
      sequence: 9_999,
      files: [],
      stagedLsn: null,
      tookMs: 3,
      committedMs: null,
    });
    await page.getByText("#9999").waitFor();
    expect(await page.locator("#batches details[open] summary").textContent()).toContain("#4768");
    expect(await page.evaluate(() => document.activeElement?.textContent)).toContain("#4768");
    expect(requests.filter((url) => url.includes("/status")).length).toBeGreaterThan(1);
  });

  it("names its parts and values for screen readers", async () => {
    const { page } = await show("copying");
    const bar = page.getByRole("progressbar", { name: "Copy of public.order_lines" });
    expect(await bar.getAttribute("aria-valuenow")).toBe("39");
    expect(
      await page.getByRole("meter", { name: "WAL kept at the source" }).getAttribute("aria-valuetext"),
    ).toContain("left");
    expect(await page.getByRole("img", { name: /^Lag in time: now 49 s, highest/ }).count()).toBe(1);
    expect(await page.getByRole("status").first().textContent()).toBe("Copying and streaming");
    const levels = await page.getByRole("heading").evaluateAll((all) => all.map(({ tagName }) => tagName));
    expect(levels[0]).toBe("H1");
    expect(new Set(levels.slice(1))).toEqual(new Set(["H2"]));
    await page.setViewportSize({ width: 320, height: 700 });
    // Laid out as a grid, it is still a table.
    expect(await page.getByRole("table").getByRole("row").count()).toBe(7);
  });

  it("stays quick with 10,000 tables, and finds each", async () => {
    const { page } = await show("many");
    expect(await page.locator("#tables tbody tr").count()).toBe(50);
    expect(await page.textContent("#tables-more")).toBe("The first 50 of 10,000; filter to see others.");
    expect(await page.locator("#tables tbody tr").first().textContent()).toContain("25 %, 1 of 4");
    await page.getByRole("searchbox", { name: "Filter" }).fill("t_09876");
    await page.getByText("1 table shown.").waitFor();
    expect(await page.locator("#tables tbody .names").allTextContents()).toEqual(["tenant.t_09876"]);
    await page.getByRole("searchbox", { name: "Filter" }).fill("nothing like this");
    await page.getByText("No table's name contains “nothing like this”.").waitFor();
  });

  it("does not move for those who asked for less motion", async () => {
    const { page } = await show("copying", { reducedMotion: true });
    const durations = await page.evaluate(() =>
      [...document.querySelectorAll(".bar span, main > *")].map(
        (element) => getComputedStyle(element).transitionProperty,
      ),
    );
    expect(new Set(durations)).toEqual(new Set(["none"]));
  });

  it("draws its charts again when light turns to dark", async () => {
    const { page } = await show("streaming");
    const light = await page.locator("figure canvas").first().screenshot();
    await page.emulateMedia({ colorScheme: "dark" });
    await expect
      .poll(async () => (await page.locator("figure canvas").first().screenshot()).equals(light))
      .toBe(false);
    expect(await page.locator("figure canvas").count()).toBe(3);
  });

  it("says what is missing where there is nothing yet", async () => {
    const { page, scene } = await show("starting");
    const text = (await page.textContent("main")) ?? "";
    expect(text).toContain("No tables yet.");
    expect(text).toContain("None since the daemon started");
    expect(text).toContain("Not known yet: there is no slot");
    expect(await page.locator("#notices").isVisible()).toBe(false);
    scene.observations.tablesChanged(tables({ table: "public.first" }), []);
    await page.getByText("public.first").waitFor();
  });
});
