// How the stage shows the source and the result: side by side, as a wipe, or the result alone.

/** The stage: the source's picture, the result, and their arrangement. */
export class Stage {
    #stage;
    #sourcePicture;
    #window = null;

    constructor(stage) {
        this.#stage = stage;
        this.#sourcePicture = stage.querySelector(".source .picture");
        this.canvases = {
            output: stage.querySelector("#output"),
            source: stage.querySelector("#source"),
        };
        const wipe = stage.querySelector("#wipe");
        wipe.addEventListener("input", () => stage.style.setProperty("--wipe", wipe.value));
    }

    /** Shows a source's pictures as they are taken; null removes them. */
    set source(source) {
        this.#sourcePicture.querySelector("video, img")?.remove();
        this.#stage.classList.toggle("has-source", source !== null);
        if (source) this.#sourcePicture.prepend(source.element);
    }

    set view(view) {
        this.#stage.dataset.view = view;
    }

    set fit(fit) {
        this.#stage.dataset.fit = fit;
    }

    setSize(width, height) {
        this.#stage.style.setProperty("--aspect", width / height);
        this.#stage.classList.toggle("is-wide", width > 1.3 * height);
    }

    clear() {
        for (const canvas of Object.values(this.canvases)) {
            canvas.getContext("2d", { alpha: false }).clearRect(0, 0, canvas.width, canvas.height);
        }
    }

    async toggleFullScreen() {
        if (document.fullscreenElement) await document.exitFullscreen();
        else await this.#stage.requestFullscreen();
    }

    /** Shows the result in a small window above all others, or closes it. */
    async togglePictureInPicture() {
        if (document.pictureInPictureElement) {
            await document.exitPictureInPicture();
            return;
        }
        if (!this.#window) {
            this.#window = document.createElement("video");
            this.#window.muted = true;
            this.#window.srcObject = this.canvases.output.captureStream();
        }
        await this.#window.play();
        await this.#window.requestPictureInPicture();
    }
}
