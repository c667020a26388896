/** Resolves after `ms`, or with `sooner`, or when the signal is aborted; leaves neither timer nor listener behind. */
export function pause(ms: number, sooner: Promise<void>, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = (): void => {
      clearTimeout(timer);
      signal.removeEventListener("abort", end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    signal.addEventListener("abort", end, { once: true });
    if (signal.aborted) end();
    void sooner.then(end);
  });
}
