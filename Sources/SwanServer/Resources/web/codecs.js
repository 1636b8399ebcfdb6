// H.264 in this browser: whether it is there, and the settings with which frames become one access unit each.

/** Constrained Baseline, level 3.1: up to 1280x720. */
const profile = "avc1.42c01f";
/** Bits per pixel: enough for a camera. */
const bitsPerPixel = 0.15;

/** The settings of an encoder for pictures of a size. */
export function encoderSettings({ width, height, framesPerSecond }) {
    const bitrate = Math.round(Math.max(300_000, bitsPerPixel * width * height * framesPerSecond));
    return {
        codec: profile, width, height, bitrate, framerate: framesPerSecond,
        latencyMode: "realtime", avc: { format: "annexb" },
    };
}

/** The settings of a decoder; without a description, it takes Annex B. */
export function decoderSettings(codec = profile) {
    return { codec, optimizeForLatency: true };
}

/** Whether this browser can encode and decode H.264. Insecure pages cannot. */
export async function supportsVideo() {
    if (!("VideoEncoder" in window && "VideoDecoder" in window)) return false;
    try {
        const size = { width: 256, height: 256, framesPerSecond: 16 };
        const answers = await Promise.all([
            VideoEncoder.isConfigSupported(encoderSettings(size)),
            VideoDecoder.isConfigSupported(decoderSettings()),
        ]);
        return answers.every(({ supported }) => supported);
    } catch {
        return false;
    }
}

/** The name of a stream's codec by the parameter set in its key frame; undefined if there is none. */
export function codecName(bytes) {
    const sequenceParameters = 7;
    for (let at = 0; at + 6 < bytes.length; at += 1) {
        const isStart = bytes[at] === 0 && bytes[at + 1] === 0 && bytes[at + 2] === 1;
        if (!isStart || (bytes[at + 3] & 0x1f) !== sequenceParameters) continue;
        const digits = [...bytes.subarray(at + 4, at + 7)].map((byte) => byte.toString(16).padStart(2, "0"));
        return `avc1.${digits.join("")}`;
    }
    return undefined;
}
