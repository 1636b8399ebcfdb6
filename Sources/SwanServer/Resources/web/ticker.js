/** Calls a function at an interval, also while the page is hidden. Returns a function that stops it. */
export function every(milliseconds, call) {
    const worker = new Worker(new URL("ticker-worker.js", import.meta.url));
    worker.onmessage = call;
    worker.postMessage(milliseconds);
    return () => worker.terminate();
}
