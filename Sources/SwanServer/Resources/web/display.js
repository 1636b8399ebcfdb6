import { Decoder } from "./decoder.js";
import { Pacer } from "./pacer.js";
import { every } from "./ticker.js";

const tickMilliseconds = 10;
/** Without an animation frame for so long, the page is hidden or covered. */
const hiddenMilliseconds = 100;

/**
 * Decodes frames and draws them at an even pace.
 *
 * Handlers: `shown(frame)` for each frame that appears, `skipped(count)` for those that were late or damaged;
 * `needsKeyFrame()` and `failed()` as those of the decoder.
 */
export class Display {
    #output;
    #source;
    #handlers;
    #pacer;
    #decoder;
    #isRunning = true;
    #lastAnimation = performance.now();
    #stopTicks;

    /** `output` is the canvas of the result, `source` that of the picture it was made from. */
    constructor(output, source, framesPerSecond, handlers) {
        this.#output = output;
        this.#source = source;
        this.#handlers = handlers;
        this.#pacer = new Pacer(framesPerSecond);
        this.#decoder = new Decoder(handlers);
        // Animation frames stop while the page is hidden, but a recording or a small window goes on.
        this.#stopTicks = every(tickMilliseconds, () => this.#tick());
        this.#animate();
    }

    /** Takes a frame with its encoded `payload`, and the picture that it was made from as `original`. */
    async add(frame) {
        this.#pacer.add(frame);
        try {
            frame.image = await this.#decoder.decode(frame);
            if (!this.#isRunning) release(frame);
        } catch {
            this.#pacer.remove(frame);
            release(frame);
            this.#handlers.skipped(1);
        }
    }

    /** Forgets the frames that wait; what is drawn stays. */
    clear() {
        this.#pacer.clear().forEach(release);
    }

    stop() {
        this.#isRunning = false;
        this.#stopTicks();
        this.#decoder.close();
        this.clear();
    }

    #animate() {
        requestAnimationFrame((now) => {
            if (!this.#isRunning) return;
            this.#lastAnimation = now;
            this.#draw(now);
            this.#animate();
        });
    }

    #tick() {
        const now = performance.now();
        if (now - this.#lastAnimation > hiddenMilliseconds) this.#draw(now);
    }

    #draw(now) {
        const { shown, skipped } = this.#pacer.take(now);
        skipped.forEach(release);
        if (skipped.length) this.#handlers.skipped(skipped.length);
        if (!shown) return;
        paint(this.#output, shown.image);
        if (shown.original) paint(this.#source, shown.original);
        release(shown);
        this.#handlers.shown({ ...shown, shownTime: performance.now() });
    }
}

function release({ image, original }) {
    image?.close();
    original?.close();
}

function paint(canvas, image) {
    if (canvas.width !== image.width || canvas.height !== image.height) {
        canvas.width = image.width;
        canvas.height = image.height;
    }
    canvas.getContext("2d", { alpha: false }).drawImage(image, 0, 0);
}
