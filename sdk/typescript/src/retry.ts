/** Resolves after a number of milliseconds. If the signal is aborted, rejects with its reason. */
export function sleep(milliseconds: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const abort = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', abort);
      resolve();
    }, milliseconds);
    signal?.addEventListener('abort', abort, { once: true });
  });
}

/**
 * Returns the delay in milliseconds before the nth consecutive retry: exponential, with jitter, at
 * most 10 seconds.
 */
export function backoff(retry: number): number {
  return Math.min(200 * 2 ** (retry - 1), 10_000) * (0.5 + Math.random() / 2);
}
