import { defaults } from "./settings.js";

const historyKey = "swan.prompts";
const longestHistory = 20;
/** Sizes that the page offers are multiples of this number of pixels, which suits all models. */
const sizeStep = 32;
const shapes = [["square", 1], ["4:3", 4 / 3], ["16:9", 16 / 9], ["9:16", 9 / 16]];

/** The form: keeps `settings` and calls `changed(changes)` with what the person has set. */
export class Controls {
    settings;
    #form;
    #model = { styles: [], fps: 16, max_steps: 4, width: 256, height: 256, needs_input: true };
    #chunkSeconds = null;

    constructor(form, settings, changed) {
        this.#form = form;
        this.settings = { ...defaults, ...settings };
        this.changed = changed;
        this.#input("prompt").value = this.settings.prompt;
        this.#listen();
        this.#fill();
        this.#showHistory();
    }

    /** Uses the prompt in the field, if it has changed. Returns false, and says so, if there is none. */
    takePrompt() {
        const text = this.#input("prompt").value.trim();
        if (text !== this.settings.prompt || !text) this.#usePrompt(text);
        return text !== "";
    }

    /** Fits the controls to a model, as `GET /v1/models` and `ready` describe it. */
    set model(model) {
        this.#model = { ...this.#model, ...model };
        const { styles, chunk_frames: frames, fps, needs_input: needsInput } = this.#model;
        if (frames) this.#chunkSeconds = frames / fps;
        if (!this.settings.prompt) this.settings.prompt = phrase(styles.find((style) => style !== "none") ?? "");
        this.#input("prompt").value ||= this.settings.prompt;
        if (needsInput && this.settings.source === "text") this.settings.source = "camera";
        this.#showStyles();
        this.#showSizes();
        this.#fill();
    }

    get model() {
        return this.#model;
    }

    /** Takes away the choice of H.264, which this browser cannot encode and decode. */
    removeVideo() {
        this.#input("network").querySelector("[value=slow]").disabled = true;
        if (this.settings.network === "slow") this.settings.network = "auto";
        this.#fill();
    }

    /** Changes settings, as if the person had. */
    set(changes) {
        this.settings = { ...this.settings, ...changes };
        if (changes.prompt !== undefined) this.#input("prompt").value = changes.prompt;
        this.#fill();
        this.changed(changes);
    }

    showCameras(cameras) {
        const field = this.#form.querySelector("#camera-field");
        field.hidden = cameras.length < 2;
        const select = field.querySelector("select");
        const chosen = select.value;
        select.replaceChildren(...cameras.map(({ label, deviceId }, index) => (
            new Option(label || `Camera ${index + 1}`, deviceId, false, deviceId === chosen)
        )));
    }

    get camera() {
        return this.#form.querySelector("#camera").value || undefined;
    }

    #radios() {
        return this.#form.querySelectorAll("[name=source], [name=view]");
    }

    #input(name) {
        return this.#form.elements.namedItem(name);
    }

    #listen() {
        const form = this.#form;
        form.addEventListener("submit", (event) => {
            event.preventDefault();
            this.#usePrompt(this.#input("prompt").value);
        });
        this.#input("prompt").addEventListener("keydown", (event) => this.#recall(event));
        const numbers = ["transition", "steps", "noise"];
        for (const name of numbers) {
            this.#input(name).addEventListener("input", () => this.#label(name, Number(this.#input(name).value)));
        }
        for (const name of [...numbers, "seed"]) {
            this.#input(name).addEventListener("change", ({ target }) => {
                if (!target.reportValidity()) return;
                this.set({ [name]: target.value === "" ? null : Number(target.value) });
            });
        }
        this.#input("fixedNoise").addEventListener("change", ({ target }) => this.set({ fixedNoise: target.checked }));
        for (const name of ["size", "fit", "quality", "network"]) {
            this.#input(name).addEventListener("change", ({ target }) => this.set({ [name]: target.value }));
        }
        for (const radio of this.#radios()) {
            radio.addEventListener("change", () => this.set({ [radio.name]: radio.value }));
        }
        form.querySelector("#dice").addEventListener("click", () => {
            this.set({ seed: Math.floor(Math.random() * 1e6) });
        });
        form.querySelector("#own-settings").addEventListener("click", () => {
            const { steps, noise, fixedNoise, seed, transition } = defaults;
            this.set({ steps, noise, fixedNoise, seed, transition });
        });
        form.querySelector("#clear-history").addEventListener("click", () => {
            saveHistory([]);
            this.#showHistory();
            this.#input("prompt").focus();
        });
        const history = form.querySelector("#history");
        document.addEventListener("click", ({ target }) => {
            if (!history.contains(target)) history.open = false;
        });
        history.addEventListener("keydown", ({ key }) => {
            if (key !== "Escape") return;
            history.open = false;
            history.querySelector("summary").focus();
        });
    }

    #fill() {
        const { settings } = this;
        this.#input("steps").max = this.#model.max_steps;
        for (const name of ["transition", "steps", "noise"]) {
            const value = settings[name] ?? this.#model[{ steps: "steps", noise: "noise_scale" }[name]];
            if (value !== undefined) this.#input(name).value = value;
            this.#label(name, settings[name]);
        }
        this.#input("seed").value = settings.seed ?? "";
        this.#input("fixedNoise").checked = settings.fixedNoise;
        for (const name of ["size", "fit", "quality", "network"]) this.#input(name).value = settings[name];
        for (const radio of this.#radios()) radio.checked = radio.value === settings[radio.name];
        this.#form.querySelector("[name=source][value=text]").disabled = this.#model.needs_input;
        this.#pressChip();
    }

    /** Says a slider's value in words, for eyes and for screen readers. */
    #label(name, value) {
        const words = value === null ? "model’s own" : this.#words(name, value);
        this.#input(name).setAttribute("aria-valuetext", words);
        this.#form.querySelector(`output[for=${name}]`).textContent = words;
    }

    #words(name, value) {
        switch (name) {
        case "noise": return value.toFixed(2);
        case "steps": return String(value);
        default:
            if (value === 0) return "at once";
            if (this.#chunkSeconds) return `${(value * this.#chunkSeconds).toFixed(1)} s`;
            return value === 1 ? "1 chunk" : `${value} chunks`;
        }
    }

    #showStyles() {
        const chips = this.#model.styles.map((style) => {
            const chip = document.createElement("button");
            chip.type = "button";
            chip.className = "chip";
            chip.dataset.prompt = phrase(style);
            chip.textContent = style === "none" ? "no style" : phrase(style);
            chip.addEventListener("click", () => this.#usePrompt(chip.dataset.prompt));
            return chip;
        });
        this.#form.querySelector("#styles").replaceChildren(...chips);
        this.#pressChip();
    }

    #pressChip() {
        for (const chip of this.#form.querySelectorAll(".chip")) {
            chip.setAttribute("aria-pressed", chip.dataset.prompt === this.settings.prompt);
        }
    }

    /** Offers the source's shape, the model's size, and other shapes of about as many pixels or half as many. */
    #showSizes() {
        const { width, height } = this.#model;
        const own = `${width} × ${height}, the model’s own`;
        const sizes = new Map([["auto", "As the source"], [`${width}x${height}`, own]]);
        for (const [pixels, note] of [[width * height, ""], [(width * height) / 2, ", faster"]]) {
            for (const [shape, aspect] of shapes) {
                const [w, h] = [Math.sqrt(pixels * aspect), Math.sqrt(pixels / aspect)].map((side) => (
                    Math.max(sizeStep, Math.round(side / sizeStep) * sizeStep)
                ));
                if (!sizes.has(`${w}x${h}`)) sizes.set(`${w}x${h}`, `${w} × ${h}, ${shape}${note}`);
            }
        }
        const { size } = this.settings;
        if (!sizes.has(size)) sizes.set(size, size.replace("x", " × "));
        this.#input("size").replaceChildren(...[...sizes].map(([value, text]) => new Option(text, value)));
    }

    #usePrompt(text) {
        const prompt = text.trim();
        if (!prompt) {
            this.#input("prompt").value = "";
            this.#input("prompt").reportValidity();
            return;
        }
        this.set({ prompt });
        saveHistory([prompt, ...readHistory().filter((other) => other !== prompt)].slice(0, longestHistory));
        this.#showHistory();
    }

    /** Steps through earlier prompts with the arrow keys. */
    #recall(event) {
        const step = { ArrowUp: 1, ArrowDown: -1 }[event.key];
        const prompts = readHistory();
        if (!step || !prompts.length) return;
        event.preventDefault();
        const index = prompts.indexOf(event.target.value) + step;
        if (index >= 0 && index < prompts.length) event.target.value = prompts[index];
    }

    #showHistory() {
        const prompts = readHistory();
        this.#form.querySelector("#history").hidden = !prompts.length;
        const rows = prompts.map((prompt) => {
            const button = document.createElement("button");
            button.type = "button";
            button.textContent = prompt;
            button.addEventListener("click", () => {
                this.#form.querySelector("#history").open = false;
                this.#usePrompt(prompt);
                this.#input("prompt").focus();
            });
            const row = document.createElement("li");
            row.append(button);
            return row;
        });
        this.#form.querySelector("#history ul").replaceChildren(...rows);
    }
}

/** A style's name as words for a prompt. */
function phrase(style) {
    return style.replaceAll("-", " ");
}

function readHistory() {
    try {
        const prompts = JSON.parse(localStorage.getItem(historyKey) ?? "[]");
        return prompts.filter((prompt) => typeof prompt === "string");
    } catch {
        return [];
    }
}

function saveHistory(prompts) {
    try {
        localStorage.setItem(historyKey, JSON.stringify(prompts));
    } catch {
        // Without storage, the history lasts as long as nobody asks for it.
    }
}
