// A worker that fits pictures to the model's size and encodes them, away from the page's thread.

const jpegQuality = 0.9;
const canvas = new OffscreenCanvas(1, 1);
const context = canvas.getContext("2d", { alpha: false });

onmessage = async ({ data: { bitmap, width, height, fit } }) => {
    try {
        // A new size also clears the canvas: the bars of `pad` are black.
        canvas.width = width;
        canvas.height = height;
        context.imageSmoothingQuality = "high";
        context.drawImage(bitmap, ...placement(bitmap, width, height, fit));
        bitmap.close();
        const blob = await canvas.convertToBlob({ type: "image/jpeg", quality: jpegQuality });
        const bytes = await blob.arrayBuffer();
        const picture = canvas.transferToImageBitmap();
        postMessage({ bytes, picture }, [bytes, picture]);
    } catch (error) {
        postMessage({ error: error.message });
    }
};

/** Returns the rectangle that the whole picture covers: beyond the edges for `crop`, within them for `pad`. */
function placement(bitmap, width, height, fit) {
    if (fit === "stretch") return [0, 0, width, height];
    const scales = [width / bitmap.width, height / bitmap.height];
    const scale = fit === "pad" ? Math.min(...scales) : Math.max(...scales);
    const [w, h] = [bitmap.width * scale, bitmap.height * scale];
    return [(width - w) / 2, (height - h) / 2, w, h];
}
