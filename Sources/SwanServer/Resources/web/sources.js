import { Problem, captureProblem, mediaProblem } from "./problems.js";

/**
 * Where pictures come from. `element` is a playing <video> or a loaded <img> that the page can
 * show.
 */
class Source {
    #close;

    /** `track` is that of a camera or a screen. */
    constructor(kind, element, close, track = null) {
        this.kind = kind;
        this.element = element;
        this.track = track;
        this.#close = close;
        /** Called if the source ends by itself. */
        this.ended = () => {};
    }

    get width() {
        return this.element.videoWidth ?? this.element.naturalWidth;
    }

    get height() {
        return this.element.videoHeight ?? this.element.naturalHeight;
    }

    close() {
        this.#close();
        this.element.remove();
    }
}

/** Opens a camera: the one with an id, or the one that the browser prefers. */
export async function openCamera(deviceId) {
    const video = {
        width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 30 },
        ...(deviceId && { deviceId: { exact: deviceId } }),
    };
    return openStream("camera", () => navigator.mediaDevices.getUserMedia({ video, audio: false }));
}

/** Opens the screen, window or tab that the person picks. Returns null if they pick none. */
export async function openScreen() {
    const video = { frameRate: { ideal: 30 } };
    return openStream("screen", () => navigator.mediaDevices.getDisplayMedia({ video, audio: false }));
}

async function openStream(kind, open) {
    const unavailable = captureProblem(kind);
    if (unavailable) throw unavailable;
    let stream;
    try {
        stream = await open();
    } catch (error) {
        const problem = mediaProblem(error, kind);
        if (problem) throw problem;
        return null;
    }
    const close = () => stream.getTracks().forEach((track) => track.stop());
    const video = newVideo();
    video.srcObject = stream;
    try {
        await video.play();
    } catch (error) {
        close();
        throw mediaProblem(error, kind);
    }
    const [track] = stream.getVideoTracks();
    const source = new Source(kind, video, close, track);
    track.addEventListener("ended", () => source.ended());
    return source;
}

/** Opens a video, which repeats, or a picture. */
export async function openFile(file) {
    const url = URL.createObjectURL(file);
    const close = () => URL.revokeObjectURL(url);
    try {
        const element = file.type.startsWith("image/") ? await loadedImage(url) : await playingVideo(url);
        return new Source("file", element, close);
    } catch {
        close();
        throw new Problem(
            "This file does not play here",
            "Choose a video or picture that the browser knows, such as MP4 (H.264), WebM, JPEG or PNG.",
        );
    }
}

/** Returns the cameras. Their names are known only after one has been used. */
export async function cameras() {
    const devices = await navigator.mediaDevices?.enumerateDevices() ?? [];
    return devices.filter(({ kind, deviceId }) => kind === "videoinput" && deviceId);
}

async function loadedImage(url) {
    const image = new Image();
    image.alt = "";
    image.src = url;
    await image.decode();
    return image;
}

async function playingVideo(url) {
    const video = newVideo();
    video.loop = true;
    video.src = url;
    await video.play();
    if (!video.videoWidth) throw new Error("sound only");
    return video;
}

function newVideo() {
    const video = document.createElement("video");
    video.muted = true;
    video.playsInline = true;
    video.disablePictureInPicture = true;
    return video;
}
