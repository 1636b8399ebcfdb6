// What a person can set: defaults, the form in a shared link, and the form in messages to the server.

const tokenKey = "swan.token";
const choices = {
    source: ["camera", "screen", "file", "text"],
    view: ["side", "wipe", "result"],
    fit: ["crop", "pad", "stretch"],
    quality: ["80", "90", "95", "png"],
    network: ["auto", "fast", "slow"],
};
const ranges = { transition: [0, 16], steps: [1, 1000], noise: [0, 1], seed: [0, 4_294_967_295] };
const wholeNumbers = new Set(["transition", "steps", "seed"]);

/** The settings of a first visit. `null` is the model's own value. */
export const defaults = Object.freeze({
    source: "camera", prompt: "", transition: 0, steps: null, noise: null, fixedNoise: false, seed: null,
    size: "auto", fit: "crop", quality: "90", network: "auto", view: "side",
});

/** Returns the settings and the token in a URL's fragment. Values that make no sense are left out. */
export function readFragment(fragment) {
    const values = new URLSearchParams(fragment.replace(/^#/, ""));
    const settings = {};
    for (const [name, text] of values) {
        const value = parsed(name, text);
        if (value !== undefined) settings[name] = value;
    }
    return { settings, token: values.get("token") };
}

function parsed(name, text) {
    if (name in choices) return choices[name].includes(text) ? text : undefined;
    if (name in ranges) {
        const [low, high] = ranges[name];
        const number = Number(text);
        if (wholeNumbers.has(name) && !Number.isInteger(number)) return undefined;
        return text !== "" && number >= low && number <= high ? number : undefined;
    }
    if (name === "prompt") return text.slice(0, 8192);
    if (name === "size") return /^(auto|\d{2,4}x\d{2,4})$/.test(text) ? text : undefined;
    if (name === "fixedNoise") return text === "true";
    return undefined;
}

/** Returns the fragment of a link that shares the settings: those that differ from the defaults, never the token. */
export function fragment(settings) {
    const values = new URLSearchParams();
    for (const [name, value] of Object.entries(settings)) {
        if (value !== defaults[name]) values.set(name, value);
    }
    return values.toString();
}

/**
 * Takes the token out of the address bar into this tab's storage, so that it does not end up in
 * the history, in a bookmark or in a shared link. Returns the settings in the address.
 */
export function takeAddress() {
    const { settings, token } = readFragment(location.hash);
    if (token) {
        sessionStorage.setItem(tokenKey, token);
        const rest = fragment(settings);
        history.replaceState(null, "", location.pathname + location.search + (rest && `#${rest}`));
    }
    return settings;
}

/** The token of this tab; null if the page was opened without one. */
export function storedToken() {
    return sessionStorage.getItem(tokenKey);
}

/** Changes that need a new session. All others apply to a running one. */
export const startOnly = new Set(["size", "quality", "network"]);

const wireNames = {
    prompt: "prompt", steps: "steps", noise: "noise_scale", fixedNoise: "fixed_noise", seed: "seed", fit: "fit",
};

/** Returns the fields of an `update` message for changed settings. */
export function updateFields(changes) {
    const fields = {};
    for (const [name, value] of Object.entries(changes)) {
        if (wireNames[name] && value !== null) fields[wireNames[name]] = value;
    }
    return fields;
}

/** How the server encodes its frames. `hasVideo` tells whether this browser can decode H.264. */
export function outputOf({ quality, network, hasVideo }) {
    if (quality === "png") return "png";
    if (!hasVideo || network === "fast") return "jpeg";
    return network === "slow" ? "h264" : "auto";
}

/** What a session takes of the server: its size, steps and rate. */
export function placeFields(settings, model) {
    const [width, height] = settings.size === "auto" ? [model.width, model.height] : settings.size.split("x");
    // A link may ask for more steps than this model has.
    const wanted = settings.steps ?? model.steps;
    const steps = wanted && Math.min(wanted, model.max_steps);
    const fields = { width, height, steps, fps: model.fps };
    return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}

/** Returns the fields of a `start` message. */
export function startFields(settings) {
    const fields = { ...updateFields(settings), output: outputOf(settings) };
    if (settings.quality !== "png") fields.quality = Number(settings.quality);
    if (settings.size !== "auto") [fields.width, fields.height] = settings.size.split("x").map(Number);
    return fields;
}
