import SwanSystem
import Torch

/// A level of Wan 2.2's autoencoder: layers with a parallel shortcut without weights.
struct WanVAEShortcutLevel: WanVAELayer {
    let layers: [any WanVAELayer]
    let shortcut: any WanVAELayer

    func callAsFunction(_ x: Tensor, _ caches: inout FeatureCaches) throws(SwanError) -> Tensor {
        var y = x
        for layer in layers { y = try layer(y, &caches) }
        return try sum(y, shortcut(x, &caches))
    }
}

/// Averages groups of channels after halving the frames (`time`), rows and columns (`space`).
///
/// Channels are grouped in the order channel, frame, row, column.
struct WanVAEAverageDown: WanVAELayer {
    let outputs, time, space: Int

    func callAsFunction(_ x: Tensor, _ caches: inout FeatureCaches) throws(SwanError) -> Tensor {
        let missing = (time - x.size(1) % time) % time
        let whole = missing == 0 ? x : try x.padded([0, 0, 0, 0, 0, 0, missing, 0])
        let (b, f, h, w) = (x.size(0), whole.size(1) / time, x.size(2) / space, x.size(3) / space)
        let c = x.size(4)
        return
            try whole
            .reshaped(b, f, time, h, space, w, space, c)
            .permuted(0, 1, 3, 5, 7, 2, 4, 6)  // [B, F, H, W, C, t, r, s]
            .reshaped(b, f, h, w, outputs, c * time * space * space / outputs)
            .mean([-1])
    }
}

/// Repeats channels and rearranges them into twice the frames (`time`), rows and columns (`space`):
/// the counterpart of the averaging.
struct WanVAEDuplicateUp: WanVAELayer {
    let outputs, time, space: Int

    func callAsFunction(_ x: Tensor, _ caches: inout FeatureCaches) throws(SwanError) -> Tensor {
        let (b, f, h, w) = (x.size(0), x.size(1), x.size(2), x.size(3))
        let repeats = outputs * time * space * space / x.size(4)
        let y =
            try x.repeatedInterleaved(repeats, dim: -1)
            .reshaped(b, f, h, w, outputs, time, space, space)
            .permuted(0, 1, 5, 2, 6, 3, 7, 4)  // [B, F, t, H, r, W, s, O]
            .reshaped(b, f * time, h * space, w * space, outputs)
        // The video's first frame remains one frame.
        return caches.isStart ? try y.sliced(1, from: time - 1) : y
    }
}
