import { Problem, closeProblem, refusalProblem } from "./problems.js";

/** How long the server keeps a session whose connection was lost. */
const resumeMilliseconds = 30_000;
/** A connection without any message for so long is lost, even if nothing has closed it. */
const silenceMilliseconds = 10_000;
const pingMilliseconds = 3_000;
/** How often a page asks again for the place of its own last session. */
const placeMilliseconds = 250;
/** Handshakes that fail although the server would accept them, before something in between is to blame. */
const mostBlocked = 3;

/** Close codes after which the session may still be there, or a new one may start. */
const lost = new Set([1001, 1005, 1006, 1012, 1013]);

/**
 * The WebSocket of one session. A lost connection is opened again, with the session's id, until
 * the server has forgotten the session.
 *
 * `place` has the size, steps and rate of the session, so that a server without room for it can say so before it
 * opens the connection. Until `patience`, a time, a server that is full is asked again: it may not have freed the place
 * of this page's last session yet.
 *
 * Handlers: `opened(resuming)`, `text(message)`, `binary(buffer)`, `lost()` before each attempt to
 * open it again, and `closed(problem)`, where the problem is null at a regular end.
 */
export class Connection {
    #token;
    #place;
    #patience;
    #handlers;
    #socket = null;
    #session = null;
    #deadline = null;
    #attempts = 0;
    #blocked = 0;
    #retry = null;
    #pings = null;
    #lastMessage = 0;

    constructor({ token, place, patience }, handlers) {
        this.#token = token;
        this.#place = place;
        this.#patience = patience;
        this.#handlers = handlers;
    }

    /** Bytes that wait to be sent. */
    get backlog() {
        return this.#socket?.bufferedAmount ?? 0;
    }

    open() {
        const url = this.#address();
        url.protocol = url.protocol.replace("http", "ws");
        const protocols = this.#token ? ["swan.v1", `swan.token.${this.#token}`] : ["swan.v1"];
        let socket;
        try {
            socket = new WebSocket(url, protocols);
        } catch {
            // Only a token with characters that a subprotocol cannot have gets here.
            queueMicrotask(() => this.#end(refusalProblem(401)));
            return;
        }
        socket.binaryType = "arraybuffer";
        let isOpen = false;
        socket.onopen = () => {
            isOpen = true;
            this.#lastMessage = performance.now();
            this.#pings = setInterval(() => this.#ping(), pingMilliseconds);
            this.#handlers.opened(this.#session !== null);
        };
        socket.onmessage = ({ data }) => this.#receive(data);
        socket.onclose = ({ code }) => {
            if (this.#socket !== socket) return;
            this.#socket = null;
            clearInterval(this.#pings);
            if (isOpen) this.#closed(code);
            else this.#refused();
        };
        this.#socket = socket;
    }

    #address() {
        const url = new URL("v1/realtime", document.baseURI);
        const fields = this.#session ? { session: this.#session } : this.#place;
        for (const [name, value] of Object.entries(fields)) url.searchParams.set(name, value);
        return url;
    }

    /** Sends an object as a text message. */
    send(message) {
        if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(message));
    }

    sendBinary(bytes) {
        if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(bytes);
    }

    /** Opens the connection anew after a refusal, while there is patience. Returns whether there is. */
    askAgain() {
        if (performance.now() >= this.#patience) return false;
        this.#abandon();
        this.#retry = setTimeout(() => this.open(), placeMilliseconds);
        return true;
    }

    /** Ends the session; no handler is called afterwards. */
    close() {
        this.send({ type: "stop" });
        this.#abandon();
    }

    #receive(data) {
        this.#lastMessage = performance.now();
        if (typeof data !== "string") {
            this.#handlers.binary(data);
            return;
        }
        let message;
        try {
            message = JSON.parse(data);
        } catch {
            return;
        }
        if (message.type === "ready") {
            this.#session = message.session;
            this.#deadline = null;
            this.#attempts = 0;
        }
        this.#handlers.text(message);
    }

    #ping() {
        const now = performance.now();
        if (now - this.#lastMessage < silenceMilliseconds) {
            this.send({ type: "ping", time: now });
            return;
        }
        const socket = this.#socket;
        this.#socket = null;
        clearInterval(this.#pings);
        socket.close();
        this.#reconnect();
    }

    #closed(code) {
        if (lost.has(code)) {
            this.#reconnect();
        } else {
            this.#end(closeProblem(code));
        }
    }

    /**
     * Finds out why the server did not upgrade. A browser tells a page only that it failed, so the
     * page asks for the same address without the upgrade and reads the answer.
     */
    async #refused() {
        let response = null;
        try {
            const headers = this.#token ? { Authorization: `Bearer ${this.#token}` } : {};
            response = await fetch(this.#address(), { headers, cache: "no-store" });
        } catch {
            // No answer at all: the network or the server is down.
        }
        // The server has started anew, or has waited long enough.
        if (response?.status === 404 && this.#session) {
            this.#session = null;
            this.open();
            return;
        }
        const answers = response && response.status < 500;
        if (this.#deadline && !(answers && response.status !== 426)) {
            this.#reconnect();
            return;
        }
        if (response?.status === 503 && this.askAgain()) return;
        // The reason may be gone by now: a place has become free.
        if (response?.status === 426 && this.#blocked < mostBlocked) {
            this.#blocked += 1;
            this.#retry = setTimeout(() => this.open(), placeMilliseconds);
            return;
        }
        let refusal;
        try {
            refusal = (await response?.json())?.error;
        } catch {
            // A proxy's answer need not be JSON; its status is enough.
        }
        const retryAfter = Number(response?.headers.get("Retry-After"));
        this.#end(refusalProblem(response?.status, refusal, retryAfter));
    }

    #reconnect() {
        const now = performance.now();
        this.#deadline ??= now + resumeMilliseconds;
        const left = this.#deadline - now;
        if (left <= 0) {
            this.#end(new Problem("The connection is lost", "Check the network and the server, then start again."));
            return;
        }
        this.#handlers.lost();
        const delay = Math.min(2_000, 250 * 2 ** this.#attempts++);
        this.#retry = setTimeout(() => this.open(), Math.min(delay, left));
    }

    #end(problem) {
        this.#abandon();
        this.#handlers.closed(problem);
    }

    #abandon() {
        const socket = this.#socket;
        this.#socket = null;
        clearTimeout(this.#retry);
        clearInterval(this.#pings);
        socket?.close(1000);
    }
}
