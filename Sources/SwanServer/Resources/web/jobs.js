// The page of jobs: makes videos from files and prompts, and shows how far they are.

import { storedToken, takeAddress } from "./settings.js";

takeAddress();
const token = storedToken();
const find = (id) => document.getElementById(id);
const pollMilliseconds = 700;
/** A server that does not answer is asked again after this time. */
const retryMilliseconds = 2_000;
const noticeMilliseconds = 4_000;
const pageLength = 20;

/** The items of the list by the ids of their videos. */
const items = new Map();
let shown = pageLength;
let models = [];
let timer = null;
let noticeTimer = null;
let previewURL = null;
/** The problem that is shown, and the one that the last poll had. */
let shownProblem = null;
let pollProblem = null;

// Requests.

/** An answer of the server that is an error, or none. */
class Refusal extends Error {
    /** Whether the same request may succeed a moment later. */
    isTemporary = false;

    constructor(title, advice) {
        super(advice);
        this.title = title;
    }

    static unreachable() {
        const refusal = new Refusal("The server does not answer", "Check that it runs and that this device reaches it.");
        refusal.isTemporary = true;
        return refusal;
    }
}

async function ask(path, options = {}) {
    const headers = { ...options.headers };
    if (token) headers.Authorization = `Bearer ${token}`;
    let response;
    try {
        response = await fetch(path, { ...options, headers });
    } catch {
        throw Refusal.unreachable();
    }
    if (response.ok) return response;
    if (response.status === 401) {
        throw new Refusal("The server wants a token", "Open the link that the server printed when it started; it ends in #token=…");
    }
    const error = await response.json().then((body) => body.error, () => null);
    if (response.status === 404 && error?.code === "not_found") {
        throw new Refusal("This server makes no videos", "Start it with --jobs and a folder that it may write to.");
    }
    const refusal = new Refusal("The server did not accept this", error?.message ?? `It answered with ${response.status}.`);
    refusal.isTemporary = response.status >= 500;
    throw refusal;
}

async function askJSON(path) {
    const response = await ask(path);
    try {
        return await response.json();
    } catch {
        // The connection was lost within the answer.
        throw Refusal.unreachable();
    }
}

/** Does what a person asked for. */
async function attempt(action) {
    hideProblem();
    await report(action);
}

/** Shows the problem of an action; one of an earlier action stays until then. */
async function report(action) {
    try {
        await action();
    } catch (error) {
        if (!(error instanceof Refusal)) throw error;
        showProblem(error);
    }
}

function showProblem(problem) {
    shownProblem = problem;
    find("problem").querySelector("strong").textContent = problem.title;
    find("problem").querySelector("span").textContent = problem.message;
    find("problem").hidden = false;
}

function hideProblem() {
    shownProblem = null;
    find("problem").hidden = true;
}

// A new video.

async function loadModels() {
    const { data } = await askJSON("v1/models");
    if (models.length) return;
    models = data;
    showModels();
}

function showModels() {
    const [first] = models;
    for (const { id } of models) find("model").add(new Option(id, id));
    find("model-field").hidden = models.length < 2;
    for (const style of first.styles ?? []) {
        const chip = document.createElement("button");
        chip.type = "button";
        chip.className = "chip";
        chip.textContent = style;
        chip.addEventListener("click", () => {
            find("prompt").value = style;
            markStyle();
        });
        find("styles").append(chip);
    }
    const { width, height } = first;
    for (const [name, wide, high] of [["Square", width, width], ["Wide", width * 2, height], ["Tall", width, height * 2]]) {
        if (wide && high) find("size").add(new Option(`${name}, ${wide} × ${high}`, `${wide}x${high}`));
    }
}

function markStyle() {
    for (const chip of find("styles").children) {
        chip.setAttribute("aria-pressed", chip.textContent === find("prompt").value.trim());
    }
}

function showFile() {
    const [file] = find("file").files;
    if (previewURL) URL.revokeObjectURL(previewURL);
    previewURL = null;
    find("preview").replaceChildren();
    find("file-name").textContent = file ? file.name : "Choose a video or picture";
    find("file-facts").textContent = file ? sizeText(file.size) : "or drop one here";
    if (!file) return;
    previewURL = URL.createObjectURL(file);
    const element = document.createElement(file.type.startsWith("image/") ? "img" : "video");
    Object.assign(element, { src: previewURL, muted: true, alt: "" });
    // Not every format that the server reads is one that the browser shows.
    element.addEventListener("error", () => element.remove());
    find("preview").append(element);
}

function sizeText(bytes) {
    return bytes < 1e6 ? `${Math.ceil(bytes / 1e3)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

function newForm() {
    const form = new FormData();
    const prompt = find("prompt").value.trim();
    const [file] = find("file").files;
    if (!prompt) throw new Refusal("The prompt is missing", "Describe the look of the video, or choose a style.");
    form.append("prompt", prompt);
    if (models.length > 1) form.append("model", find("model").value);
    for (const id of ["size", "seconds"]) {
        if (find(id).value) form.append(id, find(id).value);
    }
    if (find("seed").value) form.append("settings[seed]", find("seed").value);
    if (file) form.append("input_reference", file);
    return form;
}

async function make(event) {
    event.preventDefault();
    find("make").disabled = true;
    find("state").textContent = "Uploading";
    await attempt(async () => {
        await ask("v1/videos", { method: "POST", body: newForm() });
        await refresh();
    });
    find("state").textContent = "";
    find("make").disabled = false;
}

// The list.

/** Updates the list, and again later while a job waits or runs, or if the server does not answer. */
async function refresh() {
    clearTimeout(timer);
    try {
        if (!models.length) await loadModels();
        const list = await askJSON(`v1/videos?limit=${Math.min(shown, 100)}`);
        showList(list);
        if (list.data.some(isUnfinished)) pollAfter(pollMilliseconds);
    } catch (error) {
        if (error.isTemporary) pollAfter(retryMilliseconds);
        throw error;
    }
}

function pollAfter(milliseconds) {
    clearTimeout(timer);
    timer = setTimeout(poll, milliseconds);
}

/** Updates the list on the page's own account: problems of what a person did stay. */
async function poll() {
    try {
        await refresh();
        if (pollProblem && shownProblem === pollProblem) hideProblem();
        pollProblem = null;
    } catch (error) {
        if (!(error instanceof Refusal)) throw error;
        // A problem that was dismissed does not come back with every attempt.
        if (!pollProblem) showProblem(error);
        pollProblem ??= error;
    }
}

function isUnfinished({ status }) {
    return status === "queued" || status === "in_progress";
}

function showList(list) {
    const ids = new Set(list.data.map(({ id }) => id));
    for (const [id, item] of items) {
        if (!ids.has(id)) remove(id, item);
    }
    list.data.forEach((video, index) => {
        const item = items.get(video.id) ?? add(video);
        update(item, video);
        const place = find("list").children[index];
        if (place !== item.element) find("list").insertBefore(item.element, place ?? null);
    });
    find("empty").hidden = list.data.length > 0;
    find("more").hidden = !list.has_more || shown >= 100;
}

function add(video) {
    const element = find("item").content.cloneNode(true).firstElementChild;
    const item = { element, video, urls: [], hasPicture: false };
    const on = (name, action) => element.querySelector(name).addEventListener("click", () => attempt(() => action(item)));
    on(".play", play);
    on(".save", save);
    on(".again", again);
    on(".delete", discard);
    items.set(video.id, item);
    return item;
}

function remove(id, item) {
    for (const url of item.urls) URL.revokeObjectURL(url);
    item.element.remove();
    items.delete(id);
}

function update(item, video) {
    const { element } = item;
    const part = (name) => element.querySelector(name);
    const isDone = video.status === "completed";
    // Not the percentage, which changes all the time.
    if (isUnfinished(item.video) && !isUnfinished(video)) notify(video);
    const facts = [video.size?.replace("x", " × "), video.seconds && `${video.seconds} s`, video.model];
    item.video = video;
    setText(part(".prompt"), video.prompt);
    setText(part(".facts"), facts.filter(Boolean).join(" · "));
    setText(part(".status"), statusText(video));
    setText(part(".issues"), video.issues.join("; "));
    element.dataset.status = video.status;
    part("progress").value = video.progress;
    part("progress").hidden = video.status !== "in_progress";
    for (const name of [".play", ".save", ".again"]) part(name).hidden = !isDone;
    setText(part(".delete"), isDone || video.status === "failed" ? "Delete" : "Cancel");
    if (isDone && !item.hasPicture) {
        item.hasPicture = true;
        report(() => showPicture(item));
    }
}

/** Says that a video is finished, also to screen readers. */
function notify({ status, prompt }) {
    clearTimeout(noticeTimer);
    const name = prompt.length > 40 ? `${prompt.slice(0, 40)}…` : prompt;
    find("notice").textContent = status === "completed" ? `“${name}” is finished` : `“${name}” has failed`;
    noticeTimer = setTimeout(() => find("notice").textContent = "", noticeMilliseconds);
}

/** Changes a text only if it differs, so that screen readers do not repeat it. */
function setText(element, text) {
    if (element.textContent !== text) element.textContent = text;
}

function statusText({ status, progress, error, expires_at: expires }) {
    switch (status) {
    case "queued":
        return "Waits";
    case "in_progress":
        return `${progress} %`;
    case "failed":
        return error?.message ?? "Failed";
    default:
        return expires ? `Kept until ${new Date(expires * 1000).toLocaleString()}` : "";
    }
}

async function load(item, variant) {
    const response = await ask(`v1/videos/${item.video.id}/content?variant=${variant}`);
    // A player cannot send the token, so it gets the file from memory.
    const url = URL.createObjectURL(await response.blob());
    item.urls.push(url);
    return url;
}

async function showPicture(item) {
    const picture = new Image();
    picture.alt = `First frame of ${item.video.prompt}`;
    picture.src = await load(item, "thumbnail");
    if (!item.element.classList.contains("playing")) item.element.querySelector(".screen").replaceChildren(picture);
}

async function play(item) {
    const player = document.createElement("video");
    Object.assign(player, { controls: true, loop: true, autoplay: true, muted: true, playsInline: true });
    player.src = await load(item, "video");
    item.element.classList.add("playing");
    item.element.querySelector(".screen").replaceChildren(player);
    item.element.querySelector(".play").disabled = true;
    player.focus();
}

async function save(item) {
    const link = document.createElement("a");
    link.href = await load(item, "video");
    link.download = `${item.video.prompt.replace(/[^\p{L}\p{N}]+/gu, "-").slice(0, 60) || "video"}.mp4`;
    link.click();
}

/** Makes the same video with the prompt of the form. */
async function again(item) {
    const prompt = find("prompt").value.trim();
    if (!prompt || prompt === item.video.prompt) {
        find("prompt").focus();
        throw new Refusal("Which prompt?", "Write another prompt above, then press “Remix” again.");
    }
    await ask(`v1/videos/${item.video.id}/remix`, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ prompt }),
    });
    await refresh();
}

async function discard(item) {
    await ask(`v1/videos/${item.video.id}`, { method: "DELETE" });
    const next = item.element.nextElementSibling ?? item.element.previousElementSibling;
    remove(item.video.id, item);
    (next?.querySelector(".delete") ?? find("prompt")).focus();
    await refresh();
}

// Start.

function hasFile({ dataTransfer }) {
    return [...dataTransfer.types].includes("Files");
}

function dropFiles(event) {
    if (!hasFile(event)) return;
    event.preventDefault();
    find("drop").classList.remove("over");
    if (!event.dataTransfer.files.length) return;
    find("file").files = event.dataTransfer.files;
    showFile();
}

find("new").addEventListener("submit", make);
find("file").addEventListener("change", showFile);
find("prompt").addEventListener("input", markStyle);
find("dismiss").addEventListener("click", hideProblem);
find("more").addEventListener("click", () => {
    shown += pageLength;
    attempt(refresh);
});
document.addEventListener("dragover", (event) => {
    // A text may be dropped into the prompt.
    if (!hasFile(event)) return;
    event.preventDefault();
    find("drop").classList.add("over");
});
document.addEventListener("dragleave", () => find("drop").classList.remove("over"));
document.addEventListener("drop", dropFiles);
document.addEventListener("visibilitychange", () => {
    if (!document.hidden) poll();
});

await poll();
