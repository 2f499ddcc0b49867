/** Waits so many milliseconds, or until the signal is aborted, which it then throws. */
export function sleep(milliseconds: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const stop = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', stop);
      resolve();
    }, milliseconds);
    signal?.addEventListener('abort', stop, { once: true });
  });
}

/** How long to wait before the so many-th try in a row, in milliseconds: longer each time, and never the same for all. */
export function backoff(tries: number): number {
  return Math.min(200 * 2 ** (tries - 1), 10_000) * (0.5 + Math.random() / 2);
}
