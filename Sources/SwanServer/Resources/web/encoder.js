// A worker that fits pictures (bitmaps, or frames of a camera) to the model's size and encodes them, away from the page's thread.

import { encoderSettings } from "./codecs.js";

const jpegQuality = 0.9;
const canvas = new OffscreenCanvas(1, 1);
const context = canvas.getContext("2d", { alpha: false });

onmessage = async ({ data: { bitmap, width, height, fit, video } }) => {
    try {
        // A new size also clears the canvas: the bars of `pad` are black.
        canvas.width = width;
        canvas.height = height;
        const [w, h] = [bitmap.displayWidth ?? bitmap.width, bitmap.displayHeight ?? bitmap.height];
        context.imageSmoothingEnabled = w !== width || h !== height;
        context.imageSmoothingQuality = "high";
        context.drawImage(bitmap, ...placement(w, h, width, height, fit));
        bitmap.close();
        const encoded = video ? await encodeVideo({ width, height, ...video }) : await encodePicture();
        const picture = canvas.transferToImageBitmap();
        postMessage({ ...encoded, picture }, [encoded.bytes, picture]);
    } catch (error) {
        closeVideo();
        postMessage({ error: error.message, isVideo: video !== null });
    }
};

async function encodePicture() {
    closeVideo();
    const blob = await canvas.convertToBlob({ type: "image/jpeg", quality: jpegQuality });
    return { codec: "jpeg", isKeyFrame: true, bytes: await blob.arrayBuffer() };
}

// H.264. There is one picture at a time, so each waits for its own access unit.

let encoder = null;
let opened = "";
let number = 0;
let waiting = null;

function encodeVideo({ isKeyFrame, ...settings }) {
    const key = JSON.stringify(settings);
    if (key !== opened) openVideo(settings, key);
    return new Promise((resolve, reject) => {
        waiting = { resolve, reject };
        const timestamp = Math.round((number * 1e6) / settings.framesPerSecond);
        number += 1;
        const frame = new VideoFrame(canvas, { timestamp });
        try {
            encoder.encode(frame, { keyFrame: isKeyFrame });
        } catch (error) {
            reject(error);
        } finally {
            frame.close();
        }
    });
}

function openVideo(settings, key) {
    closeVideo();
    encoder = new VideoEncoder({
        output: (chunk) => {
            const bytes = new ArrayBuffer(chunk.byteLength);
            chunk.copyTo(bytes);
            waiting.resolve({ codec: "h264", isKeyFrame: chunk.type === "key", bytes });
        },
        error: (error) => waiting?.reject(error),
    });
    encoder.configure(encoderSettings(settings));
    opened = key;
}

function closeVideo() {
    if (encoder && encoder.state !== "closed") encoder.close();
    encoder = null;
    opened = "";
}

/** Returns the rectangle that the whole picture covers: beyond the edges for `crop`, within them for `pad`. */
function placement(sourceWidth, sourceHeight, width, height, fit) {
    if (fit === "stretch") return [0, 0, width, height];
    const scales = [width / sourceWidth, height / sourceHeight];
    const scale = fit === "pad" ? Math.min(...scales) : Math.max(...scales);
    const [w, h] = [sourceWidth * scale, sourceHeight * scale];
    return [(width - w) / 2, (height - h) / 2, w, h];
}
