/** For how long a chunk counts for the delay. */
const memoryMilliseconds = 2_000;
/** The share of chunks that come in time. */
const punctuality = 0.75;
/** Half the time between two pictures of a screen: a frame is drawn with the one nearest to its time. */
const halfRefreshMilliseconds = 8;

/**
 * Spreads frames that arrive in chunks evenly over time.
 *
 * Every frame is due a constant delay after it was captured. The delay is the time from capture to
 * arrival of a chunk's first frame, which waited for the others: that of the third of four chunks in
 * order of lateness, among those of the last two seconds. So the buffer holds one chunk, a single
 * late chunk delays nothing but itself, and a late frame is shown when it comes.
 */
export class Pacer {
    #frames = [];
    /** The arrival of each chunk's first frame and the largest time from capture to arrival among its frames. */
    #chunks = [];
    #period;
    #chunk = { number: null, arrival: 0, frames: 0 };
    #clock = null;

    /** `framesPerSecond` is the expected rate, for frames without a capture time. */
    constructor(framesPerSecond) {
        this.#period = 1000 / framesPerSecond;
    }

    /** Adds a frame with its `arrival`, `chunk` and `captureTime` in milliseconds; 0 for one that the model made up. */
    add(frame) {
        this.#measurePeriod(frame);
        if (frame.captureTime > 0) {
            frame.mediaTime = frame.captureTime;
        } else {
            this.#clock = Math.max((this.#clock ?? frame.arrival) + this.#period, frame.arrival - memoryMilliseconds);
            frame.mediaTime = this.#clock;
        }
        this.#measureLatency(frame);
        this.#frames.push(frame);
    }

    /** Returns the frame to show now, if there is a new one, and those that were skipped because they were late. */
    take(now) {
        const latest = now + halfRefreshMilliseconds - this.#delay;
        const waiting = this.#frames.findIndex(({ image, mediaTime }) => !image || mediaTime > latest);
        const skipped = this.#frames.splice(0, waiting < 0 ? this.#frames.length : waiting);
        return { shown: skipped.pop() ?? null, skipped };
    }

    /** Removes a frame that could not be decoded. */
    remove(frame) {
        this.#frames = this.#frames.filter((other) => other !== frame);
    }

    /** Forgets the past. Returns the frames that were not shown. */
    clear() {
        const frames = this.#frames;
        this.#frames = [];
        this.#chunks = [];
        this.#clock = null;
        this.#chunk = { number: null, arrival: 0, frames: 0 };
        return frames;
    }

    get #delay() {
        const latencies = this.#chunks.map(({ latency }) => latency).sort((a, b) => a - b);
        return latencies[Math.ceil(punctuality * latencies.length) - 1] ?? 0;
    }

    #measureLatency({ chunk, arrival, mediaTime }) {
        const latency = arrival - mediaTime;
        const last = this.#chunks.at(-1);
        if (last?.number === chunk) {
            last.latency = Math.max(last.latency, latency);
            return;
        }
        this.#chunks = this.#chunks.filter(({ time }) => arrival - time < memoryMilliseconds);
        this.#chunks.push({ number: chunk, time: arrival, latency });
    }

    /** Measures the time per frame, from chunk to chunk. */
    #measurePeriod({ chunk, arrival }) {
        if (chunk === this.#chunk.number) {
            this.#chunk.frames += 1;
            return;
        }
        if (this.#chunk.number !== null) {
            const measured = (arrival - this.#chunk.arrival) / this.#chunk.frames;
            this.#period += 0.2 * (Math.min(measured, 1000) - this.#period);
        }
        this.#chunk = { number: chunk, arrival, frames: 1 };
    }
}
