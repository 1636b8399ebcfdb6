/** For how long a late frame keeps the delay up. */
const memoryMilliseconds = 2_000;

/**
 * Spreads frames that arrive in chunks evenly over time.
 *
 * Every frame is due a constant delay after it was captured. The delay is the largest time from
 * capture to arrival of the last two seconds: that of the first frame of a chunk, which waited for
 * the others. So the buffer holds one chunk, and no frame waits longer than it must.
 */
export class Pacer {
    #frames = [];
    #latencies = [];
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
        const latency = frame.arrival - frame.mediaTime;
        this.#latencies = this.#latencies.filter(({ time }) => frame.arrival - time < memoryMilliseconds);
        this.#latencies.push({ time: frame.arrival, latency });
        this.#frames.push(frame);
    }

    /** Returns the frame to show now, if there is a new one, and those that were skipped because they were late. */
    take(now) {
        const delay = Math.max(...this.#latencies.map(({ latency }) => latency));
        const waiting = this.#frames.findIndex(({ image, mediaTime }) => !image || mediaTime + delay > now);
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
        this.#latencies = [];
        this.#clock = null;
        this.#chunk = { number: null, arrival: 0, frames: 0 };
        return frames;
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
