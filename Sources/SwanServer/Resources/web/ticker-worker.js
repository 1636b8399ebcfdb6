// Timers of a hidden page run once a second or less; those of a worker do not.

onmessage = ({ data: milliseconds }) => setInterval(() => postMessage(null), milliseconds);
