/** Formats in order of preference: MP4 plays everywhere, WebM in all browsers that record it. */
const formats = [
    ["video/mp4;codecs=avc1.42E01F", "mp4"],
    ["video/webm;codecs=vp9", "webm"],
    ["video/webm", "webm"],
];
const bitsPerSecond = 8_000_000;

/** Records a canvas to a file that the browser saves. */
export class Recorder {
    #canvas;
    #recorder = null;
    #started = 0;

    constructor(canvas) {
        this.#canvas = canvas;
    }

    static get isSupported() {
        return "MediaRecorder" in window && "captureStream" in HTMLCanvasElement.prototype;
    }

    get isRecording() {
        return this.#recorder !== null;
    }

    /** Seconds since the start. */
    get seconds() {
        return (performance.now() - this.#started) / 1000;
    }

    start() {
        const [mimeType, suffix] = formats.find(([type]) => MediaRecorder.isTypeSupported(type)) ?? ["", "webm"];
        const options = { mimeType, videoBitsPerSecond: bitsPerSecond };
        const recorder = new MediaRecorder(this.#canvas.captureStream(), options);
        const parts = [];
        recorder.ondataavailable = ({ data }) => parts.push(data);
        recorder.onstop = () => save(new Blob(parts, { type: recorder.mimeType }), `swan ${timestamp()}.${suffix}`);
        recorder.start(1000);
        this.#recorder = recorder;
        this.#started = performance.now();
    }

    /** Ends the recording and saves the file. */
    stop() {
        const recorder = this.#recorder;
        this.#recorder = null;
        recorder?.stop();
        recorder?.stream.getTracks().forEach((track) => track.stop());
    }
}

function timestamp() {
    const now = new Date();
    const local = new Date(now - now.getTimezoneOffset() * 60_000);
    return local.toISOString().slice(0, 19).replace("T", " ").replaceAll(":", "-");
}

function save(blob, name) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = name;
    link.click();
    // The browser reads the file after the click has returned.
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
