import { codecName, decoderSettings } from "./codecs.js";

/** Decoders that fail so often without a frame in between are given up. */
const mostFailures = 3;

/**
 * Decodes pictures, and frames of H.264, each of which refers to the one before it.
 *
 * Handlers: `needsKeyFrame()` asks the server for a key frame, `failed()` says that H.264 does not work here.
 */
export class Decoder {
    #handlers;
    #video = null;
    #isWaiting = true;
    #failures = 0;
    #number = 0;
    /** What waits for a decoded frame, by timestamp. */
    #waiting = new Map();

    constructor(handlers) {
        this.#handlers = handlers;
    }

    /** Returns a frame's image. Throws if it cannot be decoded. */
    decode({ mediaType, payload, isKeyFrame }) {
        if (mediaType) return createImageBitmap(new Blob([payload], { type: mediaType }));
        return this.#decodeVideo(payload, isKeyFrame);
    }

    close() {
        if (this.#video && this.#video.state !== "closed") this.#video.close();
        this.#video = null;
        this.#isWaiting = true;
        for (const { reject } of this.#waiting.values()) reject(new Error("The decoder is closed"));
        this.#waiting.clear();
    }

    #decodeVideo(payload, isKeyFrame) {
        if (this.#isWaiting && !isKeyFrame) return Promise.reject(new Error("A key frame is needed first"));
        const timestamp = this.#number;
        this.#number += 1;
        return new Promise((resolve, reject) => {
            this.#waiting.set(timestamp, { resolve, reject });
            try {
                if (!this.#video) this.#open(payload);
                const type = isKeyFrame ? "key" : "delta";
                this.#video.decode(new EncodedVideoChunk({ type, timestamp, data: payload }));
                this.#isWaiting = false;
            } catch {
                this.#fail();
            }
        });
    }

    #open(payload) {
        this.#video = new VideoDecoder({
            output: (frame) => this.#take(frame),
            error: () => this.#fail(),
        });
        this.#video.configure(decoderSettings(codecName(payload)));
    }

    /** Copies a frame: decoders have few, and stop while the page holds them. */
    async #take(frame) {
        const waiting = this.#waiting.get(frame.timestamp);
        this.#waiting.delete(frame.timestamp);
        this.#failures = 0;
        try {
            const image = await createImageBitmap(frame);
            if (waiting) waiting.resolve(image);
            else image.close();
        } catch (error) {
            waiting?.reject(error);
        } finally {
            frame.close();
        }
    }

    #fail() {
        this.#failures += 1;
        this.close();
        if (this.#failures < mostFailures) this.#handlers.needsKeyFrame();
        else this.#handlers.failed();
    }
}
