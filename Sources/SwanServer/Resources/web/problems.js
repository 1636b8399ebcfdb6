// What can go wrong, in words that say what to do.

/** A failure as it is shown: what happened, and what to do about it. */
export class Problem extends Error {
    /** `fits` is a `width`, `height` and `steps` for which the server would have room, if there are any. */
    constructor(title, advice, fits = null) {
        super(title);
        this.advice = advice;
        this.fits = fits;
    }
}

const secureAddress =
    "Open this page by https://, or as http://localhost on the computer that runs the server. A file works without.";

/** Why a camera or screen cannot be asked for at all; null if it can. */
export function captureProblem(kind) {
    const capture = navigator.mediaDevices?.[kind === "screen" ? "getDisplayMedia" : "getUserMedia"];
    if (capture) return null;
    if (!window.isSecureContext) {
        const subject = kind === "screen" ? "share the screen" : "use the camera";
        return new Problem(`The browser does not let this page ${subject}`, secureAddress);
    }
    return kind === "screen"
        ? new Problem("This browser cannot share the screen", "Use the camera or a file, or another browser.")
        : new Problem("This browser has no access to cameras", "Use a file, or another browser.");
}

/** The problem behind an error of `getUserMedia` or `getDisplayMedia`; null if the user changed their mind. */
export function mediaProblem(error, kind) {
    if (error instanceof Problem) return error;
    const isScreen = kind === "screen";
    switch (error.name) {
    case "NotAllowedError":
        return isScreen ? null : new Problem(
            "The camera is not allowed",
            "Allow it at the left end of the address bar (or in the system's privacy settings), then start again.",
        );
    case "NotFoundError":
    case "OverconstrainedError":
        return isScreen
            ? new Problem("There is no screen to share", "Use the camera or a file.")
            : new Problem("No camera was found", "Connect one, or use the screen or a file.");
    case "NotReadableError":
    case "AbortError":
        return new Problem(
            isScreen ? "The screen cannot be read" : "The camera is in use",
            "Close other programs that use it, then start again.",
        );
    default:
        return new Problem(isScreen ? "The screen does not start" : "The camera does not start", error.message);
    }
}

/** The problem of a handshake that the server answered with an HTTP status; without one, it did not answer. */
export function refusalProblem(status, refusal, retryAfter) {
    const message = refusal?.message;
    switch (status) {
    case undefined:
        return new Problem(
            "The server does not answer",
            "Check that it runs and that this device reaches it, then try again.",
        );
    case 401:
        return new Problem(
            "The server wants a token",
            "Open the link that the server printed when it started; it ends in #token=…",
        );
    case 403:
    case 421:
        return new Problem(
            "The server does not know this address",
            "Open the link that the server printed, or start the server with this host name allowed.",
        );
    case 426:
        return new Problem(
            "Something between this page and the server blocks WebSocket",
            "If there is a proxy, let it pass the Upgrade header of /v1/realtime.",
        );
    case 503:
        return fullProblem(refusal, retryAfter);
    default:
        return new Problem(`The server refused the session (${status})`, message ?? "Try again; its log says more.");
    }
}

function fullProblem(refusal, retryAfter) {
    const reason = refusal?.message ?? "All places are taken.";
    if (refusal?.fits) return new Problem("The server is too busy for these settings", reason, refusal.fits);
    const advice = `Try again in ${retryAfter ? `${retryAfter} s` : "a moment"}.`;
    return new Problem("The server is full", /try again/i.test(reason) ? reason : `${reason} ${advice}`);
}

/** What the server would have room for, in words. */
export function fitWords({ width, height, steps }) {
    return `Use ${width} × ${height} with ${steps} ${steps === 1 ? "step" : "steps"}`;
}

const closings = new Map([
    [1008, ["The server ended the session", "This page was too slow to take its pictures. Try a smaller size."]],
    [1009, ["A picture was too large for the server", "Choose a smaller size."]],
    [1011, ["The server had an internal error", "Start again; if it happens again, its log says more."]],
    [4408, ["The session did not start in time", "Start again."]],
]);

/** The problem of a connection that the server closed; null for a regular end. */
export function closeProblem(code) {
    if (code === 1000) return null;
    const [title, advice] = closings.get(code)
        ?? [`The server ended the session (${code})`, "Reload the page, then start again."];
    return new Problem(title, advice);
}

const failures = new Map([
    ["input_required", ["This model needs pictures", "Choose the camera, the screen or a file, then start again."]],
    ["out_of_memory", ["The server has too little memory", "Choose a smaller size, then start again."]],
    ["not_finite", ["The model's pictures broke", "Choose less noise or another seed, then start again."]],
]);

/** The problem of an `error` message. */
export function serverProblem({ code, message, param, fits, retry_after: retryAfter }) {
    if (code === "capacity_exhausted") return fullProblem({ message, fits }, retryAfter);
    const known = failures.get(code);
    if (known) return new Problem(...known);
    return new Problem(param ? `The server did not accept “${param}”` : "The server reports an error", message);
}
