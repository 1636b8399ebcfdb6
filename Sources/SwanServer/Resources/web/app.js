import { supportsVideo } from "./codecs.js";
import { drawCurve, drawWaterfall, inMilliseconds } from "./charts.js";
import { Controls } from "./controls.js";
import { Problem, fitWords, refusalProblem } from "./problems.js";
import { Recorder } from "./record.js";
import { Session } from "./session.js";
import { fragment, storedToken, takeAddress } from "./settings.js";
import { cameras, openCamera, openFile, openScreen } from "./sources.js";
import { Stage } from "./views.js";

const figuresMilliseconds = 500;
const noticeMilliseconds = 4_000;
/** How long the server may take to free the place of a session that was stopped. */
const freeMilliseconds = 10_000;

const find = (id) => document.getElementById(id);
const stage = new Stage(find("stage"));
const recorder = new Recorder(stage.canvases.output);
const controls = new Controls(find("controls"), takeAddress(), changed);
const token = storedToken();

let source = null;
let session = null;
let chosenFile = null;
/** When this page's last session was stopped. */
let stopped = -Infinity;
/** Distinguishes a start from an earlier one that is still waiting for a permission. */
let starts = 0;
/** Settings that would fit on a server that is full. */
let fits = null;
/** Whether this browser can encode and decode H.264. */
let hasVideo = false;

// States: idle, starting, live, paused, lost.

const stateWords = { idle: "Ready", starting: "Starting…", live: "Live", paused: "Paused" };

function enter(state, words = stateWords[state]) {
    document.body.dataset.state = state;
    setText(find("state"), words);
    const isIdle = state === "idle";
    const isPaused = state === "paused";
    for (const id of ["pause", "reset"]) find(id).disabled = state !== "live" && !isPaused;
    for (const id of ["record", "window"]) find(id).disabled = isIdle || state === "starting";
    find("retry").hidden = !isIdle;
    nameStart();
    find("pause").setAttribute("aria-pressed", isPaused);
    find("pause").querySelector("use").setAttribute("href", `icons.svg#${isPaused ? "play" : "pause"}`);
}

/** The button stops what runs, unless another source is chosen. */
function nameStart() {
    const isIdle = document.body.dataset.state === "idle";
    const words = isIdle ? "Start" : isOtherSource() ? "Switch" : "Stop";
    find("start").textContent = words;
    find("start").classList.toggle("primary", words !== "Stop");
}

function isOtherSource() {
    return session !== null && controls.settings.source !== (source?.kind ?? "text");
}

/** Shows a problem; null removes the one that is shown. */
function showProblem(problem) {
    const box = find("problem");
    box.hidden = !problem;
    setText(box.querySelector("strong"), problem ? `${problem.message}.` : "");
    setText(box.querySelector("span"), problem?.advice ?? "");
    fits = problem?.fits ?? null;
    find("use-fits").hidden = !fits;
    if (fits) find("use-fits").textContent = fitWords(fits);
}

/** Changes a text that screen readers read out; the same text again would be read out again. */
function setText(element, text) {
    if (element.textContent !== text) element.textContent = text;
}

/** Starts with the settings for which the server said that it has room. */
function useFits() {
    const { width, height, steps } = fits;
    controls.set({ ...(width && height && { size: `${width}x${height}` }), ...(steps && { steps }) });
    start();
}

let noticeTimer;
function notify(text) {
    find("notice").textContent = text;
    clearTimeout(noticeTimer);
    noticeTimer = setTimeout(() => find("notice").textContent = "", noticeMilliseconds);
}

// Starting and stopping.

async function start() {
    stop();
    starts += 1;
    const attempt = starts;
    showProblem(null);
    enter("starting");
    let opened;
    try {
        opened = await open(controls.settings.source);
    } catch (error) {
        if (attempt === starts) fail(error);
        return;
    }
    if (attempt !== starts) {
        opened?.close();
        return;
    }
    if (opened === null) {
        enter("idle");
        return;
    }
    useSource(opened);
    connect();
}

/** Opens a source; `undefined` is none, for text alone, and `null` that the person chose none. */
async function open(kind) {
    switch (kind) {
    case "camera": return openCamera(controls.camera);
    case "screen": return openScreen();
    case "file": return openFile(chosenFile);
    default: return undefined;
    }
}

function useSource(opened) {
    source = opened ?? null;
    stage.source = source;
    if (!source) return;
    source.ended = () => {
        stop();
        if (opened.kind === "screen") notify("Sharing has ended");
        else showProblem(new Problem("The camera is gone", "Connect it again, then start again."));
    };
    if (source.kind === "camera") cameras().then((list) => controls.showCameras(list));
}

function connect() {
    const { model } = controls;
    const settings = { ...controls.settings, hasVideo };
    const patience = stopped + freeMilliseconds;
    session = new Session({ token, source, settings, model, canvases: stage.canvases, patience }, {
        ready: (message) => {
            const { styles, max_steps, chunk_frames, fps, model: id } = message;
            controls.model = { styles, max_steps, chunk_frames, fps, id };
            showModel();
            stage.setSize(message.width, message.height);
            enter(session.isPaused ? "paused" : "live");
            showProblem(null);
        },
        issues: (issues) => setText(find("issues"), issues.join(" ")),
        lost: () => {
            enter("lost", "Connection lost");
            showProblem(new Problem("The connection is lost", "Reconnecting for up to 30 s."));
        },
        reported: showProblem,
        videoFailed: () => {
            forgetVideo();
            notify("H.264 does not work in this browser; using JPEG");
            restart();
        },
        closed: (problem) => {
            session = null;
            stop();
            if (problem) showProblem(problem);
        },
    });
}

function fail(error) {
    enter("idle");
    showProblem(error instanceof Problem ? error : new Problem("The source does not start", error.message));
}

function endSession() {
    const running = session;
    if (!running) return;
    session = null;
    stopped = performance.now();
    running.stop();
}

function stop() {
    starts += 1;
    endSession();
    if (recorder.isRecording) toggleRecording();
    source?.close();
    source = null;
    stage.source = null;
    enter("idle");
}

/** Starts anew with the same source, for settings that a running session cannot change. */
function restart() {
    // Most formats cannot change their size.
    if (recorder.isRecording) toggleRecording();
    endSession();
    enter("starting");
    connect();
}

function toggleStart() {
    if (document.body.dataset.state !== "idle" && !isOtherSource()) stop();
    else if (!controls.takePrompt()) return;
    else if (controls.settings.source === "file") find("file").click();
    else start();
}

// Settings.

function changed(changes) {
    if (changes.view) stage.view = changes.view;
    if (changes.fit) stage.fit = changes.fit;
    if (changes.source) nameStart();
    else if (session?.update(changes)) restart();
}

async function loadModel() {
    let response;
    try {
        await findCodecs();
        const headers = token ? { Authorization: `Bearer ${token}` } : {};
        response = await fetch("v1/models", { headers });
        if (!response.ok) throw refusalProblem(response.status, null, null);
        const [model] = (await response.json()).data;
        controls.model = model;
        stage.setSize(model.width, model.height);
        showModel();
    } catch (error) {
        showProblem(error instanceof Problem ? error : refusalProblem());
    }
}

function showModel() {
    find("model").textContent = controls.model.id ?? "";
}

async function findCodecs() {
    hasVideo = await supportsVideo();
    if (!hasVideo) forgetVideo();
}

function forgetVideo() {
    hasVideo = false;
    controls.removeVideo();
}

// Tools.

function toggleRecording() {
    if (recorder.isRecording) recorder.stop();
    else recorder.start();
    find("record").setAttribute("aria-pressed", recorder.isRecording);
    find("record-time").textContent = "";
    notify(recorder.isRecording ? "Recording" : "The recording is saved in your downloads");
}

async function share() {
    const shared = fragment(controls.settings);
    const link = location.origin + location.pathname + (shared && `#${shared}`);
    try {
        await navigator.clipboard.writeText(link);
        notify("The link is copied");
    } catch {
        // Insecure pages have no clipboard; the address bar shows the same link.
        history.replaceState(null, "", link);
        notify("Copy the link from the address bar");
    }
}

function useFile(file) {
    if (!file) return;
    chosenFile = file;
    controls.set({ source: "file" });
    if (controls.takePrompt()) start();
}

function listen() {
    find("start").addEventListener("click", toggleStart);
    find("retry").addEventListener("click", () => (controls.model.id ? toggleStart() : loadModel()));
    find("use-fits").addEventListener("click", useFits);
    find("dismiss").addEventListener("click", () => showProblem(null));
    find("pause").addEventListener("click", () => {
        session?.pause(!session.isPaused);
        if (session) enter(session.isPaused ? "paused" : "live");
    });
    find("reset").addEventListener("click", () => session?.reset());
    find("record").addEventListener("click", toggleRecording);
    const refuse = () => notify("The browser does not allow it");
    find("window").addEventListener("click", () => stage.togglePictureInPicture().catch(refuse));
    find("full-screen").addEventListener("click", () => stage.toggleFullScreen().catch(refuse));
    find("share").addEventListener("click", share);
    find("camera").addEventListener("change", () => document.body.dataset.state !== "idle" && start());
    find("file").addEventListener("change", ({ target }) => {
        useFile(target.files[0]);
        // The same file can be chosen again.
        target.value = "";
    });
    find("stats").addEventListener("toggle", showFigures);
    // A link that is pasted into this tab's address bar is a link to follow.
    addEventListener("hashchange", () => location.reload());
    // The server would keep the place of a lost connection for half a minute.
    addEventListener("pagehide", stop);
    listenForDrops();
}

function listenForDrops() {
    const hasFile = ({ dataTransfer }) => [...dataTransfer.types].includes("Files");
    document.addEventListener("dragover", (event) => {
        if (!hasFile(event)) return;
        event.preventDefault();
        find("stage").classList.add("is-target");
    });
    document.addEventListener("dragleave", ({ relatedTarget }) => {
        if (!relatedTarget) find("stage").classList.remove("is-target");
    });
    document.addEventListener("drop", (event) => {
        if (!hasFile(event)) return;
        event.preventDefault();
        find("stage").classList.remove("is-target");
        useFile(event.dataTransfer.files[0]);
    });
}

// Figures.

function showFigures() {
    if (recorder.isRecording) find("record-time").textContent = clock(recorder.seconds);
    if (!session) return;
    const now = performance.now();
    const summary = session.stats.summary(now);
    find("frames-in").textContent = summary.framesIn.toFixed(1);
    find("frames-out").textContent = summary.framesOut.toFixed(1);
    find("p50").textContent = inMilliseconds(summary.p50);
    find("p95").textContent = inMilliseconds(summary.p95);
    find("dropped").textContent = summary.dropped;
    if (find("stats").open) showCharts(session.stats, summary, now);
}

function showCharts(stats, { p50, p95, promptToEffect }, now) {
    const curve = find("curve").querySelector("svg");
    const top = drawCurve(curve, stats.curve(now));
    curve.setAttribute("aria-label", p50 === null
        ? "No measurements yet"
        : `Now ${inMilliseconds(p50)} median, ${inMilliseconds(p95)} 95th percentile`);
    find("curve-top").textContent = inMilliseconds(top);
    drawWaterfall(find("stages"), stats.stages(now));
    find("effect").textContent = inMilliseconds(promptToEffect);
    for (const [cause, count] of Object.entries(stats.dropped)) find(`dropped-${cause}`).textContent = count;
    find("sessions").textContent = stats.sessions ?? "–";
}

function clock(seconds) {
    const whole = Math.floor(seconds);
    return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}

stage.view = controls.settings.view;
stage.fit = controls.settings.fit;
find("window").hidden = !document.pictureInPictureEnabled;
find("full-screen").hidden = !document.fullscreenEnabled;
find("record").hidden = !Recorder.isSupported;
listen();
enter("idle");
loadModel();
setInterval(showFigures, figuresMilliseconds);
