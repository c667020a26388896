import type { Page } from "playwright-core";

/** WCAG's contrast of a text with what is behind it, at the worst place of all that is shown. */
export function worstContrast(page: Page): Promise<{ ratio: number; text: string }> {
  return page.evaluate(() => {
    const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    if (canvas === null) throw new Error("no canvas");
    const paint = (colors: string[]): number[] => {
      canvas.clearRect(0, 0, 1, 1);
      for (const color of colors) {
        canvas.fillStyle = color;
        canvas.fillRect(0, 0, 1, 1);
      }
      return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
    };
    const light = (rgb: number[]): number => {
      const [r = 0, g = 0, b = 0] = rgb.map((byte) => {
        const part = byte / 255;
        return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
      });
      return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    let worst = { ratio: 21, text: "" };
    for (const element of document.querySelectorAll<HTMLElement>("body *")) {
      const own = [...element.childNodes].some(
        (node) => node.nodeType === 3 && node.textContent?.trim() !== "",
      );
      if (!own || !element.checkVisibility()) continue;
      const behind: string[] = [];
      for (let at: Element | null = element; at !== null; at = at.parentElement) {
        behind.unshift(getComputedStyle(at).backgroundColor);
      }
      const [a, b] = [light(paint([...behind, getComputedStyle(element).color])), light(paint(behind))];
      const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
      if (ratio < worst.ratio) worst = { ratio, text: element.textContent ?? "" };
    }
    return worst;
  });
}

export function scrollsSideways(page: Page): Promise<boolean> {
  return page.evaluate(() => document.documentElement.scrollWidth > window.innerWidth);
}

/** Text that reaches into its card's margin, or beyond. */
export function sticksOut(page: Page): Promise<string[]> {
  return page.evaluate(() =>
    [...document.querySelectorAll<HTMLElement>("#now, #notices li, #wal, #tables, #batches")].flatMap(
      (card) => {
        const end = card.getBoundingClientRect().right - parseFloat(getComputedStyle(card).paddingRight);
        return [...card.querySelectorAll<HTMLElement>("*")]
          .filter((element) => element.checkVisibility() && element.closest("thead") === null)
          .filter((element) => element.getBoundingClientRect().right > end + 1)
          .map((element) => `${card.id} ${element.tagName} ${element.textContent}`);
      },
    ),
  );
}
