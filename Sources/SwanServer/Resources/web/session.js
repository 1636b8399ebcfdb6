import { Capture } from "./capture.js";
import { Connection } from "./connection.js";
import { Display } from "./display.js";
import { packFrame, unpackFrame } from "./protocol.js";
import { Problem, serverProblem } from "./problems.js";
import { outputOf, placeFields, startFields, startOnly, updateFields } from "./settings.js";
import { Stats } from "./stats.js";

/** More bytes than this that wait in the socket are a network that is too slow for another frame. */
const largestBacklog = 512 * 1024;
const fewestFramesPerSecond = 1;
/** How much of a surplus or lack of frames at the server is corrected within one chunk. */
const correction = 0.3;
/** Before the first chunk, and after an interruption that says nothing about the server's pace. */
const noChunk = { number: null, arrival: 0 };
/** After so many pictures that had to wait for the network, `auto` sends H.264. */
const fullBacklogs = 8;
/** After so long without sending, nothing is on the way to the server. */
const quietMilliseconds = 1_000;

/** Numbers of changes that came by OSC begin here. */
const firstOfOSC = 2 ** 31;

/**
 * One realtime session: sends a source's pictures and the changes of settings, shows the results.
 *
 * Handlers: `ready(message)`, `issues(list)`, `lost()` while the connection is opened again,
 * `reported(problem)` for an error that the session survives, `videoFailed()` if H.264 does not work in this
 * browser, and `closed(problem)`, with null at a regular end.
 */
export class Session {
    stats = new Stats();
    #source;
    #settings;
    #model;
    #handlers;
    #canvases;
    #connection;
    #capture = null;
    #display = null;
    #ready = null;
    #isConnected = false;
    #isPaused = false;
    /** Whether a setting has changed while there was no connection. */
    #hasMissedUpdate = false;
    #sequence = 0;
    #event = 0;
    /** Frames that the server has and whose results have not come, by sequence, oldest first. */
    #inFlight = new Map();
    #waitingPrompt = null;
    #lastChunk = noChunk;
    #lastSent = 0;
    #fullBacklogs = 0;

    /** `source` is null for a model that draws from text alone; `canvases` has `output` and `source`; `patience` is that of the connection. */
    constructor({ token, source, settings, model, canvases, patience }, handlers) {
        this.#source = source;
        this.#settings = settings;
        this.#model = model;
        this.#canvases = canvases;
        this.#handlers = handlers;
        this.#connection = new Connection({ token, place: placeFields(settings, model), patience }, {
            opened: (resuming) => resuming || this.#start(),
            text: (message) => this.#receive(message),
            binary: (buffer) => this.#receiveFrame(buffer),
            lost: () => {
                this.#isConnected = false;
                handlers.lost();
            },
            closed: (problem) => this.#ended(problem),
        });
        this.#connection.open();
    }

    get isPaused() {
        return this.#isPaused;
    }

    /** The size of the result, as in the settings; undefined before it is known. */
    get size() {
        return this.#ready ? `${this.#ready.width}x${this.#ready.height}` : undefined;
    }

    /** Sends changed settings. Returns whether they need a new session instead. */
    update(changes) {
        this.#settings = { ...this.#settings, ...changes };
        if (Object.keys(changes).some((name) => startOnly.has(name) || changes[name] === null)) return true;
        if (this.#capture && changes.fit) this.#capture.fit = changes.fit;
        const fields = updateFields(changes);
        if (!Object.keys(fields).length) return false;
        if (fields.prompt !== undefined) fields.transition = this.#settings.transition;
        this.#update(fields);
        if (fields.prompt !== undefined && this.#isConnected) {
            // No frame shows it before the server names the chunk.
            this.#waitingPrompt = { event: this.#event, sent: performance.now(), chunk: Infinity };
        }
        return false;
    }

    pause(paused) {
        this.#isPaused = paused;
        this.#lastChunk = noChunk;
        if (this.#capture) this.#capture.needsKeyFrame = true;
        this.#update({ paused });
    }

    /** Makes the model forget the past frames. */
    reset() {
        this.#update({ reset: true });
    }

    /** Ends the session; no handler is called afterwards. */
    stop() {
        this.#connection.close();
        this.#release();
    }

    #update(fields) {
        if (!this.#isConnected) {
            this.#hasMissedUpdate = true;
            return;
        }
        this.#event += 1;
        this.#connection.send({ type: "update", event: this.#event, ...fields });
    }

    #start() {
        this.#event += 1;
        const source = this.#source;
        this.#connection.send({
            type: "start",
            event: this.#event,
            input: source ? "frames" : "none",
            fps: this.#model.fps,
            ...(source && { source_width: source.width, source_height: source.height }),
            ...startFields(this.#settings),
        });
        this.#hasMissedUpdate = this.#isPaused;
    }

    #receive(message) {
        switch (message.type) {
        case "ready":
            this.#begin(message);
            break;
        case "applied":
            this.#apply(message);
            this.#handlers.issues(message.issues ?? []);
            break;
        case "stats":
            this.stats.server(message);
            this.#reconcile(message);
            break;
        case "error":
            this.#reject(message);
            break;
        case "keyframe":
            if (this.#capture) this.#capture.needsKeyFrame = true;
            break;
        case "ended":
            // A failure has been reported with its reason.
            if (message.reason === "stopped") {
                this.#handlers.reported(new Problem("The server ended the session", "Start again."));
            }
            break;
        }
    }

    /** Notes the chunk that shows the new prompt. Changes by OSC have numbers of their own. */
    #apply({ event, chunk }) {
        if (this.#waitingPrompt?.chunk !== Infinity || event < this.#waitingPrompt.event || event >= firstOfOSC) return;
        this.#waitingPrompt.chunk = chunk;
    }

    /** An error before the session has begun is its end. */
    #reject(message) {
        const problem = serverProblem(message);
        if (message.code === "capacity_exhausted" && !this.#ready && this.#connection.askAgain()) return;
        if (this.#ready) {
            this.#handlers.reported(problem);
            return;
        }
        this.#connection.close();
        this.#ended(problem);
    }

    #begin(ready) {
        this.#isConnected = true;
        this.#lastChunk = noChunk;
        this.#forgetInFlight();
        this.#display?.clear();
        if (this.#capture) this.#capture.needsKeyFrame = true;
        if (!ready.resumed) {
            this.#waitingPrompt = null;
            this.#build(ready);
        }
        this.#ready = ready;
        if (this.#hasMissedUpdate) this.#update({ ...updateFields(this.#settings), paused: this.#isPaused });
        this.#hasMissedUpdate = false;
        this.#handlers.ready(ready);
        this.#handlers.issues(ready.issues ?? []);
    }

    #build(ready) {
        this.#display?.stop();
        this.#capture?.stop();
        this.#display = new Display(this.#canvases.output, this.#canvases.source, ready.fps, {
            shown: (frame) => this.#shown(frame),
            skipped: (count) => this.stats.drop("late", count),
            needsKeyFrame: () => this.#connection.send({ type: "keyframe" }),
            failed: () => this.#handlers.videoFailed(),
        });
        if (!this.#source) return;
        const target = { width: ready.width, height: ready.height, fit: this.#settings.fit };
        this.#capture = new Capture(this.#source, target, ready.fps, {
            hasRoom: () => this.#hasRoom(),
            frame: (frame) => this.#send(frame),
            skipped: () => this.#skip(),
            thinned: (count) => this.#thin(count),
        });
        this.#capture.usesVideo = outputOf(this.#settings) === "h264";
    }

    #skip() {
        if (!this.#isConnected || this.#isPaused) return;
        this.stats.drop("credit");
        if (this.#connection.backlog < largestBacklog) return;
        this.#fullBacklogs += 1;
        if (this.#fullBacklogs >= fullBacklogs) this.#useVideo();
    }

    #thin(count) {
        if (this.#isConnected && !this.#isPaused) this.stats.drop("thinned", count);
    }

    /** Sends H.264 from now on, if the network setting leaves the choice to the page. */
    #useVideo() {
        if (this.#capture && outputOf(this.#settings) === "auto") this.#capture.usesVideo = true;
    }

    #hasRoom() {
        return this.#isConnected && !this.#isPaused && this.#inFlight.size < this.#ready.credit
            && this.#connection.backlog < largestBacklog;
    }

    #send(frame) {
        if (!this.#isConnected || this.#isPaused) {
            frame.picture.close();
            return;
        }
        const sequence = this.#sequence;
        this.#sequence = (this.#sequence + 1) % 2 ** 32;
        this.#connection.sendBinary(packFrame({ sequence, ...frame }, frame.bytes));
        this.#inFlight.set(sequence, frame);
        this.#lastSent = performance.now();
        this.stats.sent(this.#lastSent);
    }

    #receiveFrame(buffer) {
        const frame = unpackFrame(buffer);
        if (!frame || !this.#display) return;
        // The server has found the network to be slow.
        if (!frame.mediaType) this.#useVideo();
        frame.arrival = performance.now();
        frame.times = this.#landed(frame.sequence);
        frame.original = frame.times?.picture;
        this.#adaptRate(frame);
        this.#display.add(frame);
    }

    /** Returns the sent frame with a sequence. Results come in order, so the server has dropped all before it. */
    #landed(sequence) {
        const sent = this.#inFlight.get(sequence);
        if (!sent) return undefined;
        for (const [earlier, frame] of this.#inFlight) {
            this.#inFlight.delete(earlier);
            if (earlier === sequence) break;
            frame.picture.close();
        }
        return sent;
    }

    /**
     * Follows the server's pace, measured from chunk to chunk: frames that would only wait there add
     * latency, and frames taken evenly move evenly. When a chunk comes back, the frames of the next
     * one should be there; with more the rate falls below the server's, with fewer it rises above it.
     */
    #adaptRate({ chunk, arrival }) {
        if (!this.#capture || chunk === this.#lastChunk.number) return;
        const { chunk_frames: frames, fps } = this.#ready;
        const period = (arrival - this.#lastChunk.arrival) / frames;
        const isFirst = this.#lastChunk.number === null;
        this.#lastChunk = { number: chunk, arrival };
        if (isFirst) return;
        // All frames of this chunk but the one that has just come are still counted.
        const surplus = this.#inFlight.size - (frames - 1) - frames;
        const target = period * (1 + (correction * surplus) / frames);
        const interval = (this.#capture.interval + target) / 2;
        this.#capture.interval = Math.min(1000 / fewestFramesPerSecond, Math.max(1000 / fps, interval));
    }

    /** Frees the credit of frames that the server no longer has, such as those before a reset. */
    #reconcile({ frames_in: received, frames_out: sent, dropped }) {
        const held = received - sent - (dropped?.inbox ?? 0) - (dropped?.outbox ?? 0);
        const isQuiet = performance.now() - this.#lastSent > quietMilliseconds;
        if (held <= 0 && isQuiet) this.#forgetInFlight();
    }

    #forgetInFlight() {
        for (const { picture } of this.#inFlight.values()) picture.close();
        this.#inFlight.clear();
    }

    #shown(frame) {
        this.stats.shown(frame, frame.times);
        if (this.#waitingPrompt && frame.chunk >= this.#waitingPrompt.chunk) {
            this.stats.effect(frame.shownTime - this.#waitingPrompt.sent);
            this.#waitingPrompt = null;
        }
    }

    #ended(problem) {
        this.#release();
        this.#handlers.closed(problem);
    }

    #release() {
        this.#isConnected = false;
        this.#capture?.stop();
        this.#display?.stop();
        this.#forgetInFlight();
    }
}
