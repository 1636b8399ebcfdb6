import { every } from "./ticker.js";

const tickMilliseconds = 10;
/** A source without a new picture for so long is sampled by a timer. */
const stillMilliseconds = 100;
/** How far before its turn a new picture is taken, so that timers that run early do not halve the rate. */
const tolerance = 4;

/**
 * Takes pictures from a source at a rate and encodes them.
 *
 * A picture is taken when the source has one: of cameras and screens from their track, where the
 * browser gives access to it, before the page shows it. A source without new ones (a still screen or
 * picture, or a hidden page) is sampled by a timer, since the model needs a steady stream.
 *
 * Handlers: `hasRoom()` tells whether a picture may be sent now, `frame(frame)` gets it, `skipped()`
 * counts one whose turn it was but for which there was no room, `thinned(count)` those whose turn it would have been
 * at the model's rate, but which a longer interval or a slow encoder left out.
 */
export class Capture {
    /** Milliseconds between two pictures. */
    interval;
    /** Whether pictures are sent as H.264. */
    usesVideo = false;
    /** Whether the next frame of H.264 must stand alone. */
    needsKeyFrame = true;
    #source;
    #target;
    #handlers;
    #encoder = new Worker(new URL("encoder.js", import.meta.url), { type: "module" });
    #framesPerSecond;
    /** The next turn at the model's rate, and how many such turns have passed without a picture. */
    #turn = 0;
    #passed = 0;
    #stopTicks;
    #pending = null;
    #due = 0;
    #lastPresented = -Infinity;
    #isRunning = true;
    #reader = null;

    /** `target` is the picture's `width`, `height` and `fit`. */
    constructor(source, target, framesPerSecond, handlers) {
        this.#source = source;
        this.#target = target;
        this.#handlers = handlers;
        this.interval = 1000 / framesPerSecond;
        this.#framesPerSecond = framesPerSecond;
        this.#encoder.onmessage = ({ data }) => this.#encoded(data);
        this.#stopTicks = every(tickMilliseconds, () => this.#tick());
        if (source.track && globalThis.MediaStreamTrackProcessor) this.#read(source.track);
        else this.#watch();
    }

    set fit(fit) {
        this.#target = { ...this.#target, fit };
    }

    stop() {
        this.#isRunning = false;
        this.#stopTicks();
        this.#reader?.cancel();
        this.#encoder.terminate();
    }

    async #read(track) {
        this.#reader = new MediaStreamTrackProcessor({ track, maxBufferSize: 1 }).readable.getReader();
        while (this.#isRunning) {
            const { done, value } = await this.#reader.read();
            if (done) return;
            this.#lastPresented = performance.now();
            this.#offer(this.#lastPresented, value);
        }
    }

    #watch() {
        const { element } = this.#source;
        element.requestVideoFrameCallback?.((now, { captureTime }) => {
            if (!this.#isRunning) return;
            this.#lastPresented = now;
            // A capture time is known for cameras in some browsers; otherwise it is when the picture appeared.
            this.#offer(captureTime > 0 && captureTime <= now ? captureTime : now);
            this.#watch();
        });
    }

    #tick() {
        const now = performance.now();
        if (now - this.#lastPresented > stillMilliseconds) this.#offer(now);
    }

    /** Takes a picture if it is time for one: a frame of the track, or what the element shows. */
    async #offer(captureTime, frame = null) {
        if (!this.#isDue()) {
            frame?.close();
            return;
        }
        this.#pending = { captureTime, ...this.#target };
        try {
            const bitmap = frame ?? await createImageBitmap(this.#source.element);
            if (!this.#isRunning) return;
            this.#pending.takenTime = performance.now();
            const isKeyFrame = this.needsKeyFrame;
            const video = this.usesVideo ? { isKeyFrame, framesPerSecond: this.#framesPerSecond } : null;
            this.#encoder.postMessage({ bitmap, ...this.#target, video }, [bitmap]);
        } catch {
            // The element has no picture at this moment, as when a camera changes its size.
            this.#pending = null;
        }
    }

    #isDue() {
        const now = performance.now();
        if (!this.#isRunning) return false;
        const isTurn = this.#takesTurn(now);
        if (now < this.#due - tolerance || this.#pending) {
            if (isTurn) this.#passed += 1;
            return false;
        }
        this.#due = Math.max(this.#due, now - this.interval) + this.interval;
        // A picture between two turns stands for the one before it.
        const thinned = this.#passed - (isTurn ? 0 : 1);
        this.#passed = 0;
        if (thinned > 0) this.#handlers.thinned(thinned);
        if (this.#handlers.hasRoom()) return true;
        this.#handlers.skipped();
        return false;
    }

    /** Whether a picture is due at the model's rate. */
    #takesTurn(now) {
        const interval = 1000 / this.#framesPerSecond;
        if (now < this.#turn - tolerance) return false;
        this.#turn = Math.max(this.#turn, now - interval) + interval;
        return true;
    }

    #encoded({ bytes, picture, codec, isKeyFrame, error, isVideo }) {
        const frame = this.#pending;
        this.#pending = null;
        if (error) {
            // An encoder that fails is not tried again: pictures always work.
            if (isVideo) this.usesVideo = false;
            this.#handlers.skipped();
            return;
        }
        if (codec !== "h264" || isKeyFrame) this.needsKeyFrame = codec !== "h264";
        this.#handlers.frame({ ...frame, bytes, picture, codec, isKeyFrame, encodedTime: performance.now() });
    }
}
