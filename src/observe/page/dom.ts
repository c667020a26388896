/// <reference lib="dom" />
/** Runs in the browser. Text only ever becomes text: nothing here, or elsewhere on the page, makes markup of data. */

export function byId(id: string): HTMLElement {
  const element = document.getElementById(id);
  if (element === null) throw new Error(`the page has no #${id}`);
  return element;
}

export function within(parent: Element, selector: string): HTMLElement {
  const element = parent.querySelector<HTMLElement>(selector);
  if (element === null) throw new Error(`the page has no ${selector}`);
  return element;
}

/** An element with a class and with texts or elements in it. */
export function make(tag: string, className: string, ...content: (Node | string)[]): HTMLElement {
  const element = document.createElement(tag);
  if (className !== "") element.className = className;
  element.append(...content);
  return element;
}

/** Sets a text only if it is another, so that screen readers are not told the same twice. */
export function say(element: Element, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

/** Fills a bar and says so; `share` is 0 to 1. */
export function fill(bar: Element, share: number, words: string): void {
  const percent = Math.round(Math.min(1, Math.max(0, share)) * 100);
  bar.setAttribute("aria-valuenow", String(percent));
  bar.setAttribute("aria-valuetext", words);
  within(bar, "span").style.width = `${percent}%`;
}

/**
 * Makes the children of `parent` those of `items`, in order. A child stays the same element as long as its key is
 * there, so focus, selection and open details survive.
 */
export function sync<T>(
  parent: Element,
  items: readonly T[],
  row: {
    key: (item: T) => string;
    create: (item: T) => HTMLElement;
    update: (element: HTMLElement, item: T) => void;
  },
): void {
  const known = new Map<string, HTMLElement>();
  for (const child of parent.children)
    known.set((child as HTMLElement).dataset["key"] ?? "", child as HTMLElement);
  let place = parent.firstElementChild;
  for (const item of items) {
    const key = row.key(item);
    const element = known.get(key) ?? row.create(item);
    known.delete(key);
    element.dataset["key"] = key;
    row.update(element, item);
    if (element === place) place = place.nextElementSibling;
    else parent.insertBefore(element, place);
  }
  for (const gone of known.values()) gone.remove();
}

/** `14:03:12`, of an ISO time in UTC. */
export function clockTime(iso: string): string {
  return iso.slice(11, 19);
}
